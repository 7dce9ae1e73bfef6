"""`tracker=…`: what a tracker has is what metrics.jsonl has, figure by figure."""

import importlib.util
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.cli.runs import QUICK, assert_refused, report, results, with_overrides
from tests.conftest import Distillkit

Figures = dict[tuple[str, int], float]


def of_file(folder: Path) -> Figures:
    """{(model/name, step): value} of metrics.jsonl."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    named = ((row.pop("model"), row.pop("step"), row) for row in rows)
    return {(f"{model}/{k}", step): v for model, step, row in named for k, v in row.items()}


def of_tensorboard(folder: Path) -> Figures:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = folder.rglob("events.out.tfevents.*")
    read = EventAccumulator(str(events.parent), size_guidance={"scalars": 0})
    read.Reload()
    return {(tag, it.step): it.value for tag in read.Tags()["scalars"] for it in read.Scalars(tag)}


def of_mlflow(folder: Path) -> Figures:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = [r for e in client.search_experiments() for r in client.search_runs([e.experiment_id])]
    every = (client.get_metric_history(run.info.run_id, key) for key in run.data.metrics)
    return {(it.key, it.step): it.value for history in every for it in history}


def of_wandb(folder: Path) -> Figures:
    """The figures of its own file, each at its model's own step."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found: Figures = {}
    for content in of_log(path.read_bytes()[7:]):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        if record.WhichOneof("record_type") == "history":
            keyed = ((it.key or "/".join(it.nested_key), it) for it in record.history.item)
            row = {key: json.loads(it.value_json) for key, it in keyed}
            step = next(int(value) for key, value in row.items() if key.endswith("/step"))
            named = {k: v for k, v in row.items() if k[0] != "_" and not k.endswith("/step")}
            found |= {(key, step): value for key, value in named.items()}
    return found


def of_trackio(folder: Path) -> Figures:
    import sqlite3

    (path,) = folder.glob("*.db")
    with sqlite3.connect(path) as database:
        (last,) = database.execute("select run_id from metrics order by id desc").fetchone()
        rows = database.execute("select step, metrics from metrics where run_id = ?", [last])
        return {(key, step): value for step, row in rows for key, value in json.loads(row).items()}


def of_log(data: bytes) -> Iterator[bytes]:
    """The records of LevelDB's format of logs, whose blocks begin 7 bytes before the data."""
    at, record = 0, b""
    while at + 7 <= len(data):
        left = 32_768 - (at + 7) % 32_768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


@pytest.fixture
def few(body: Path, tmp_path: Path) -> list[str]:
    texts = tiny.write_reviews(tmp_path, 80, 30)
    return with_overrides(tiny.small(body, *texts, tmp_path / "workspace"), *QUICK)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("tensorboard", of_tensorboard),
        ("mlflow", of_mlflow),
        ("wandb", of_wandb),
        ("trackio", of_trackio),
    ],
)
def test_a_tracker_has_what_metrics_jsonl_has(
    distillkit: Distillkit, few: list[str], tmp_path: Path, name: str, read: Any
) -> None:
    pytest.importorskip(name)
    before = dict(os.environ)
    for _ in ("trained", "there already"):
        result = distillkit("train", *few, "trainer.log_every=1", f"tracker={name}")
        assert result.code == 0, result.err
        folder = report(tmp_path)
        expected = of_file(folder)
        assert {key.partition("/")[0] for key, _ in expected} == {"student", "control", "teacher"}
        assert any(key == "student/validation_accuracy" for key, _ in expected)
        assert "* " not in result.out  # what trackers print is not what was asked for
        said = result.err.strip().splitlines()[-1]
        assert said.startswith(f"tracker: {name}, in ")
        own = Path(said.partition(", in ")[2])
        assert own == folder / "tracker" or name == "trackio"  # a process's runs in one folder
        found = read(own)
        rows = results(tmp_path)["rows"].items()
        scores = {
            (f"evaluation/{row}/{column}", 0): value
            for row, columns in rows
            for column, value in columns.items()
            if isinstance(value, (int, float))
        }
        assert ("evaluation/student/accuracy", 0) in scores
        expected |= scores
        assert found.keys() == expected.keys()
        assert [found[key] for key in expected] == pytest.approx([*expected.values()], rel=1e-6)
    assert dict(os.environ) == before | {k: v for k, v in os.environ.items() if k not in before}
    assert not [key for key in os.environ if key.startswith("MLFLOW") and key not in before]
    assert not {path.name for path in tmp_path.iterdir()} & {"mlruns", "mlflow.db", "wandb"}


def test_the_tracker_changes_no_artifact(
    distillkit: Distillkit, few: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    assert distillkit("train-student", *few, "--cfg", "job").out.count("tracker: none") == 1
    assert distillkit("train", *few).code == 0
    names = sorted(path.name for path in (tmp_path / "workspace").glob("[a-z]*"))
    assert distillkit("train", *few, "tracker=tensorboard").code == 0
    assert sorted(path.name for path in (tmp_path / "workspace").glob("[a-z]*")) == names


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio", "tensorboard"])
def test_a_tracker_that_is_not_installed_names_its_extra(
    distillkit: Distillkit, few: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def hidden(package: str, *rest: Any) -> Any:
        return None if package == name else found(package, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    line = assert_refused(distillkit("train", *few, f"tracker={name}"), f"tracker = {name}: needs")
    assert f"`pip install 'distillkit[{name}]'`" in line
    assert not Path("workspace").exists() or not list(Path("workspace").glob("data-*"))


def test_there_is_no_other_tracker(distillkit: Distillkit, few: list[str]) -> None:
    assert_refused(distillkit("train", *few, "tracker=comet"), "tracker = comet: must be 'none'")


def test_a_tracker_that_fails_ends_no_training(tmp_path: Path, capsys: Any) -> None:
    from distillkit.training import tracking

    pytest.importorskip("tensorboard")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    with tracking.tracked("tensorboard", "run", tmp_path, {}):
        assert tracking._current is not None
        tracking.log_rows("student", [{"step": 1, "loss": 2.0}])
        tracking._current._accelerator.log = fail
        tracking.log_rows("student", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])
        tracking.log_rows("student", [{"step": 3, "loss": 1.0}])
    assert capsys.readouterr().err.count("it logs no more (no space left)") == 1
