"""A package outside distillkit has one of each kind, used by name and trust in a whole run."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from distillkit.artifacts.digests import file_sha256
from distillkit.data import Corpus
from distillkit.models.saved import Loaded, SavedModel
from distillkit.stages.student import make_student
from distillkit.stages.teacher import TeacherModel
from distillkit.targets import TargetStore
from distillkit.targets.codecs.registry import register
from distillkit.tasks import Classification
from distillkit.token_table import TokenTable
from distillkit.types import LabelSpace, SoftTargets, SparseTargets
from tests import tiny
from tests.faults.kills import kill_when, weights

HERE = Path(__file__).parent
NAME = "distillkit_extension_example"
CALIBRATION = 2.0
LATE = 600  # seconds of a run, on a busy machine


def words(body: Path, workspace: Path) -> list[str]:
    """A run in which everything that can be a stranger's is one."""
    return [
        f"trusted=[{NAME}.]",
        f"data._target_={NAME}.data.Reviews",
        "data.count=200",
        f"teacher._target_={NAME}.teacher.Calibrated",
        f"teacher.body={body}",
        f"teacher.calibration={CALIBRATION}",
        "teacher.epochs=1",
        "teacher.lr=1e-3",
        "teacher.check=off",
        "teacher.head=random",
        f"student._target_={NAME}.student.WarmStart",
        "student.width=16",
        f"task._target_={NAME}.task.BalancedClassification",
        "task.max_length=24",
        f"loss._target_={NAME}.loss.Hellinger",
        "loss.hard_weight=0.5",
        f"optimizer._target_={NAME}.optimizer.Lion",
        "optimizer.lr=3e-3",
        "targets=stored",
        f"targets.codec._target_={NAME}.codec.Likeliest",
        "targets.codec.floor=-40.0",
        "targets.precision=float32",
        "targets.batch_tokens=512",
        "targets.shard_tokens=1024",
        "trainer.epochs=2",
        "trainer.batch_size=16",
        "trainer.checkpoint_seconds=0",
        f"evaluation.metrics.brier._target_={NAME}.metric.Brier",
        "evaluation.metrics.brier.scale=0.5",
        "evaluation.latency_examples=2",
        "evaluation.throughput_batches=1",
        "evaluation.resamples=20",
        f"workspace={workspace}",
    ]


def path() -> str:
    """PYTHONPATH with the stranger's package."""
    return os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(scope="module")
def package() -> Iterator[Any]:
    """The modules of the package, imported as the run imports them."""

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"{NAME}.{name}")

    sys.path.insert(0, str(HERE))
    yield module
    sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, its workspace `w` and its teacher's body `body`."""
    made = tmp_path_factory.mktemp("extension")
    tiny.write_model(made / "body")
    done = tiny.run(
        "train", *words(made / "body", made / "w"), cwd=made, timeout=LATE, PYTHONPATH=path()
    )
    assert done.returncode == 0, done.stderr
    return made


def artifact(folder: Path, kind: str) -> Path:
    """The folder of the one artifact of this kind."""
    (found,) = (folder / "w").glob(f"{kind}-*")
    return found


def fields(folder: Path) -> dict[str, Any]:
    """What names an artifact."""
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())["inputs"]
    return found


def results(folder: Path) -> dict[str, Any]:
    """The run's results.json."""
    (found,) = folder.glob("outputs/*/*/results.json")
    read: dict[str, Any] = json.loads(found.read_text())
    return read


def corpus(folder: Path) -> Corpus:
    """The run's text."""
    return Corpus.open(artifact(folder, "data"), None)


def logits_of(loaded: Loaded, texts: list[str]) -> Tensor:
    """A model's logits [texts, classes], of one text at a time: there is no padding."""
    with torch.no_grad():
        rows = [loaded.model(**loaded.tokenizer(it, return_tensors="pt")).logits for it in texts]
    logits = torch.cat(rows)
    return logits if loaded.order is None else logits[:, loaded.order]


def opened(folder: Path, kind: str) -> Loaded:
    """The one model of a kind, as transformers has it."""
    saved = SavedModel(str(artifact(folder, kind) / "model"), kind)
    return Classification(max_length=24).load(saved, corpus(folder).labels)


def balanced(logits: Tensor, labels: np.ndarray) -> float:
    """The mean of the classes' recalls, by hand."""
    right = logits.argmax(dim=-1).numpy() == labels
    return float(np.mean([right[labels == c].mean() for c in np.unique(labels)]))


def brier(logits: Tensor, labels: np.ndarray) -> float:
    """Half the squared distance: of two classes, (1 - p of the label)^2."""
    p = logits.double().softmax(dim=-1).numpy()[np.arange(len(labels)), labels]
    return float(((1 - p) ** 2).mean())


def test_metric_and_task_have_their_figures_in_results_and_report(folder: Path) -> None:
    test = corpus(folder).split("test")
    assert test.labels is not None
    teacher = logits_of(opened(folder, "teacher"), test.texts) / CALIBRATION
    found = results(folder)
    assert found["headline"] == "balanced_accuracy"
    row = found["rows"]["teacher"]
    assert row["brier"] == pytest.approx(brier(teacher, test.labels), rel=1e-4)
    assert row["balanced_accuracy"] == pytest.approx(balanced(teacher, test.labels))
    (report,) = folder.glob("outputs/*/*/report.md")
    (head,) = [line for line in report.read_text().splitlines() if line.startswith("|  | accuracy")]
    assert "| Brier |" in head
    assert "| balanced accuracy |" in head
    assert {"brier", "balanced_accuracy"} <= found["comparison"]["columns_minus_control"].keys()


def test_the_students_figures_are_of_the_saved_student(folder: Path) -> None:
    (saved,) = folder.glob("outputs/*/*/student")
    test, labels = corpus(folder).split("test"), corpus(folder).labels
    assert test.labels is not None
    student = Classification(max_length=24).load(SavedModel(str(saved), "student"), labels)
    assert student.model.config.hidden_size == 16
    row = results(folder)["rows"]["student"]
    logits = logits_of(student, test.texts)
    assert row["brier"] == pytest.approx(brier(logits, test.labels), rel=1e-4)
    assert row["balanced_accuracy"] == pytest.approx(balanced(logits, test.labels))


def test_the_data_is_what_the_rule_makes(folder: Path) -> None:
    counts = {name: len(corpus(folder).split(name)) for name in ("train", "validation", "test")}
    assert counts == {"train": 140, "validation": 20, "test": 40}
    bad = {"bad", "poor", "dull"}
    train = corpus(folder).split("train")
    assert train.labels is not None
    for text, label in zip(train.texts, train.labels, strict=True):
        assert bool(bad & set(text.split())) == (label == 0)


def test_the_store_holds_the_likeliest_class_of_the_calibrated_teacher(
    folder: Path, package: Any
) -> None:
    register(package("codec").Likeliest)
    store = TargetStore.open(artifact(folder, "targets"))
    train = corpus(folder).split("train")
    kept = store.read(store.rows(train.keys))
    assert isinstance(kept, SparseTargets)
    log_p = (logits_of(opened(folder, "teacher"), train.texts) / CALIBRATION).log_softmax(dim=-1)
    best = log_p.max(dim=-1)
    torch.testing.assert_close(kept.log_probs[:, 0], best.values, rtol=1e-4, atol=1e-5)
    assert torch.equal(kept.ids[:, 0], best.indices)
    assert store.manifest.codec["floor"] == -40.0


def test_each_artifact_is_named_by_class_and_content_of_the_strangers_files(
    folder: Path,
) -> None:
    def code(module: str, name: str) -> dict[str, Any]:
        digest = file_sha256(HERE / NAME / f"{module}.py")
        return {"class": f"{NAME}.{module}.{name}", "sources": [digest]}

    assert fields(artifact(folder, "data"))["code"] == code("data", "Reviews")
    targets = fields(artifact(folder, "targets"))
    codec = code("codec", "Likeliest")
    assert targets["codec"] == {"name": "likeliest", "floor": -40.0, **codec}
    assert targets["task_code"] == code("task", "BalancedClassification")
    teacher = targets["origin"]["teacher"]["teacher"]
    assert code("teacher", "Calibrated").items() <= teacher.items()
    assert teacher["calibration"] == CALIBRATION
    students = [fields(it) for it in (folder / "w").glob("student-*")]
    for found in students:
        assert found["student"] == {"width": 16, "layers": 1, **code("student", "WarmStart")}
        assert found["code"][f"{NAME}.optimizer.Lion"] == code("optimizer", "Lion")
    of_loss = [found["code"].get(f"{NAME}.loss.Hellinger") for found in students]
    assert sorted(map(bool, of_loss)) == [False, True]  # the control's is the labels' own
    evaluation = fields(artifact(folder, "evaluation"))
    assert evaluation["metrics"] == {"brier": {"_target_": f"{NAME}.metric.Brier", "scale": 0.5}}
    assert evaluation["code"] == {f"{NAME}.metric.Brier": code("metric", "Brier")}


def test_the_same_run_again_makes_nothing(folder: Path, tmp_path: Path) -> None:
    before = {it.name for it in (folder / "w").glob("[!.]*")}
    done = tiny.run(
        "train",
        *words(folder / "body", folder / "w"),
        cwd=tmp_path,
        timeout=LATE,
        PYTHONPATH=path(),
    )
    assert done.returncode == 0, done.stderr
    assert {it.name for it in (folder / "w").glob("[!.]*")} == before


def targets(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """`distillkit targets …` where the stranger's package can be imported."""
    return tiny.run("targets", *words, cwd=folder, timeout=LATE, PYTHONPATH=path())


def test_tools_read_the_store_of_a_codec_that_the_command_line_trusts(
    folder: Path, tmp_path: Path
) -> None:
    store, trust = str(artifact(folder, "targets")), f"trusted=[{NAME}.]"
    seen = targets(tmp_path, "inspect", store, trust)
    assert seen.returncode == 0, seen.stderr
    assert "likeliest" in seen.stdout
    assert targets(tmp_path, "verify", store, trust).returncode == 0
    assert targets(tmp_path, "export", store, "out.parquet", trust).returncode == 0
    rows = pq.read_table(tmp_path / "out.parquet")
    assert rows.num_rows == len(corpus(folder).split("train"))
    assert all(len(ids) == 1 for ids in rows["ids"].to_pylist())
    assert targets(tmp_path, "merge", "both", store, store, trust).returncode == 0
    assert "all 2 shards are whole" in targets(tmp_path, "verify", "both", trust).stdout


@pytest.mark.parametrize("words", [[], ["trusted=[elsewhere.]"]])
def test_tools_import_no_codec_that_the_command_line_does_not_trust(
    folder: Path, tmp_path: Path, words: list[str]
) -> None:
    for action in ("inspect", "verify"):
        done = targets(tmp_path, action, str(artifact(folder, "targets")), *words)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert f"kept by {NAME}.codec.Likeliest, a class from outside distillkit" in line
        assert "`distillkit targets` with 'trusted=[…]'" in line


def test_a_provider_from_outside_answers_in_the_loop(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "w", tmp_path / "w")
    given = [it for it in words(folder / "body", tmp_path / "w") if not it.startswith("targets")]
    own = [f"targets._target_={NAME}.provider.Smoothed", "targets.share=0.2"]
    done = tiny.run("train", *given, *own, cwd=tmp_path, timeout=LATE, PYTHONPATH=path())
    assert done.returncode == 0, done.stderr
    fingerprints = {fields(it)["targets"] for it in (tmp_path / "w").glob("student-*")}
    assert len(fingerprints - {fields(it)["targets"] for it in (folder / "w").glob("student-*")})
    assert results(tmp_path)["rows"]["student"]["brier"] < 0.5
    assert len([*(tmp_path / "w").glob("targets-*")]) == 1  # the other run's: nothing is stored


@pytest.mark.parametrize(
    "sign",
    [
        "w/.partial/student-*/checkpoint-*",
        pytest.param("w/.partial/targets-*/shard-00000*.arrow", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_with_the_same_weights(folder: Path, tmp_path: Path, sign: str) -> None:
    shutil.copytree(folder / "body", tmp_path / "body")

    def start(command: list[str]) -> "subprocess.Popen[Any]":
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=tiny.env(PYTHONPATH=path()),
            start_new_session=True,
        )

    mine = words(tmp_path / "body", tmp_path / "w")
    assert kill_when(mine, tmp_path, sign, start=start), "the run ended before it was killed"
    done = tiny.run("train", *mine, cwd=tmp_path, timeout=LATE, PYTHONPATH=path())
    assert done.returncode == 0, done.stderr
    assert weights(tmp_path / "w") == weights(folder / "w")


def test_a_loss_that_the_codec_cannot_serve_is_refused_before_the_teacher(
    folder: Path, tmp_path: Path
) -> None:
    mine = [it for it in words(folder / "body", tmp_path / "w") if not it.startswith("loss.")]
    done = tiny.run("train", *mine, "loss=logit_mse", cwd=tmp_path, timeout=LATE, PYTHONPATH=path())
    assert done.returncode == 2
    assert "LogitMSE compares all logits, and the store holds a few entries" in done.stderr
    assert not [*(tmp_path / "w").glob("t*-*")]


def test_nothing_is_imported_that_the_command_line_does_not_trust(
    folder: Path, tmp_path: Path
) -> None:
    mine = [it for it in words(folder / "body", tmp_path / "w") if not it.startswith("trusted")]
    done = tiny.run("train", *mine, cwd=tmp_path, timeout=LATE, PYTHONPATH=path())
    assert done.returncode == 2
    assert done.stderr.count("is outside the classes that may stand here") == 8


# the parts by themselves


def test_the_loss_is_the_squared_hellinger_distance(package: Any) -> None:
    loss = package("loss").Hellinger()
    p, q = torch.tensor([0.9, 0.1]).log(), torch.tensor([0.5, 0.5]).log()
    expected = 1 - (0.45**0.5 + 0.05**0.5)  # 1 - the Bhattacharyya coefficient
    assert float(loss.by_class(p, q).sum()) == pytest.approx(expected)


def test_the_optimizer_moves_by_the_sign_of_the_mean(package: Any) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    weight.grad = torch.tensor([3.0, -0.1])
    package("optimizer").Lion([weight], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.data, torch.tensor([1 * 0.95 - 0.1, -2 * 0.95 + 0.1]))


def test_the_student_starts_from_columns_of_the_teachers_embeddings(
    package: Any, tmp_path: Path
) -> None:
    def no_table() -> TokenTable:
        raise AssertionError

    folder = str(tiny.write_model(tmp_path / "teacher", labels=("bad", "good")))
    task, labels = Classification(max_length=24), LabelSpace(("bad", "good"))
    teacher = TeacherModel(SavedModel(folder, "teacher.path"), {})
    student, _ = make_student(
        package("student").WarmStart(8),
        task,
        labels,
        lambda: teacher,
        no_table,
        no_table,
        folder=folder,
        seed=0,
    )
    table = teacher.load(task, labels).model.get_input_embeddings().weight
    assert torch.equal(student.get_input_embeddings().weight, table[:, :8])


def test_the_provider_mixes_in_the_uniform_distribution(package: Any) -> None:
    def teacher(_: Any) -> tuple[SoftTargets, None]:
        return SoftTargets(torch.tensor([[0.9, 0.1]]).log()), None

    found, _ = package("provider").SmoothedTeacher(teacher, 0.2)(None)
    torch.testing.assert_close(found.logits.exp(), torch.tensor([[0.82, 0.18]]))
