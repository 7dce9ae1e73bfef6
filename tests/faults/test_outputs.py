"""Folders for reports that are full, closed or gone, and what a report is made of when damaged."""

import contextlib
import csv
import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.cli.runs import QUICK, assert_refused, run, with_overrides
from tests.conftest import Distillkit

WHOLE = {
    "config.yaml",
    "environment.json",
    "learning_curves.png",
    "metrics.jsonl",
    "predictions.csv",
    "quality_size.png",
    "reliability.png",
    "report.html",
    "report.md",
    "results.json",
    "student",
}


@pytest.fixture(scope="module")
def complete(body: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words of a run of which all is in its workspace: what is left is the report."""
    folder = tmp_path_factory.mktemp("complete")
    texts = tiny.write_reviews(folder, 120, 60)
    words = with_overrides(tiny.small(body, *texts, folder / "workspace"), *QUICK)
    done = run(folder, "train", *words)
    assert done.code == 0, done.err
    return words


@contextlib.contextmanager
def no_file_larger(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: a write fails as it does on a full disk."""
    before, compiles = resource.getrlimit(resource.RLIMIT_FSIZE), not sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a module's compiled file would be cut short, and then be used
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = not compiles


def left(folder: Path) -> list[str]:
    """Every file below the folder for reports."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# bytes of the largest file that is not written: the config, a picture, the weights
SIZES = [
    100,
    pytest.param(5_000, marks=pytest.mark.slow),
    pytest.param(20_000, marks=pytest.mark.slow),
    29_000,
]


@pytest.mark.parametrize("size", SIZES)
def test_a_full_disk_leaves_no_part_of_a_report(
    complete: list[str], tmp_path: Path, size: int
) -> None:
    with no_file_larger(size):
        done = run(tmp_path, "train", *complete)
    assert_refused(
        done, "hydra.run.dir = outputs/run/", "File too large (the disk or quota is full)"
    )
    assert left(tmp_path) == []
    again = run(tmp_path, "train", *complete)
    assert again.code == 0, again.err
    (folder,) = tmp_path.glob("outputs/run/*")
    assert {path.name for path in folder.iterdir()} == WHOLE


def test_a_copy_that_fills_the_disk_names_the_folder_it_was_for(
    complete: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel copies a file from one to the other, and says of neither that it was full."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "sendfile", full)
    done = run(tmp_path, "train", *complete)
    assert_refused(
        done, "hydra.run.dir = outputs/run/", "device (the disk or quota is full); free some"
    )
    assert left(tmp_path) == []


def test_a_full_disk_leaves_no_part_of_an_evaluation(complete: list[str], tmp_path: Path) -> None:
    with no_file_larger(4_000):
        done = run(tmp_path, "evaluate", *complete)
    assert_refused(done, "hydra.run.dir = outputs/run/", "the disk or quota is full")
    assert left(tmp_path) == []


def test_a_report_takes_the_place_of_an_earlier_one_or_leaves_it_whole(
    complete: list[str], tmp_path: Path
) -> None:
    words = [*complete, "hydra.run.dir=mine"]
    assert run(tmp_path, "train", *words).code == 0
    mine = tmp_path / "mine"
    (mine / "notes.txt").write_text("my own")
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
    with no_file_larger(29_000):
        assert_refused(run(tmp_path, "train", *words, "run_name=other"), "hydra.run.dir = mine")
    assert {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()} == before
    assert run(tmp_path, "train", *words, "run_name=other").code == 0
    assert {path.name for path in mine.iterdir()} == {*WHOLE, "notes.txt"}
    assert (mine / "report.md").read_text().startswith("# other: ")


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_a_closed_folder_for_reports_is_refused_before_the_work(
    complete: list[str], tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    done = run(tmp_path, "train", *complete, "hydra.run.dir=closed")
    assert_refused(
        done, "hydra.run.dir = closed: no report can be written there: Permission denied"
    )
    assert "evaluation" not in done.err


def test_a_folder_that_shows_to_be_closed_is_refused_before_the_work(
    complete: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.write_text

    def closed(path: Path, *content: str, **how: str) -> int:
        if path.name.startswith(".probe") and "outputs" in path.parts:
            raise OSError(30, os.strerror(30), str(path))
        return whole(path, *content, **how)

    monkeypatch.setattr(Path, "write_text", closed)
    done = run(tmp_path, "train", *with_overrides(complete, f"workspace={tmp_path / 'other'}"))
    assert_refused(
        done, "hydra.run.dir = outputs/run/", "Read-only file system; set hydra.run.dir=FOLDER"
    )
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("mode", [[], ["-m"]], ids=["run", "sweep"])
@pytest.mark.parametrize("word", ["run_name=" + 300 * "n", "run_name=a/" + 300 * "é"])
def test_a_name_that_is_too_long_is_refused_before_the_work(
    complete: list[str], tmp_path: Path, word: str, mode: list[str]
) -> None:
    words = with_overrides(complete, f"workspace={tmp_path / 'other'}")
    line = assert_refused(run(tmp_path, "train", *mode, *words, word), "File name too long")
    assert "choose a shorter run_name" in line
    assert len(line) < 600
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("word", ["workspace=" + 300 * "n", "workspace=" + 60 * f"{99 * 'n'}/"])
def test_a_workspace_of_a_name_that_is_too_long_is_refused_before_the_work(
    complete: list[str], tmp_path: Path, word: str
) -> None:
    line = assert_refused(
        run(tmp_path, "train", *with_overrides(complete, word)), "(File name too long); set work"
    )
    assert line.startswith("distillkit: workspace = /")
    assert len(line) < 600
    assert not list(tmp_path.rglob("*"))


def test_a_current_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    (here := tmp_path / "here").mkdir()
    code = "import os; from distillkit.cli.main import main; os.rmdir(os.getcwd()); main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "train"],
        cwd=here,
        env=tiny.env(PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "distillkit: the current folder: No such file or directory\n"


def test_a_folder_that_vanishes_under_way_is_made_again(
    complete: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distillkit.pipeline import run_folder as output

    whole = output.write_run

    def vanishing(*given: object) -> None:
        shutil.rmtree(tmp_path / "outputs")  # while the report is written
        whole(*given)

    monkeypatch.setattr(output, "write_run", vanishing)
    assert_refused(
        run(tmp_path, "train", *complete), "hydra.run.dir = outputs/run/", "No such file"
    )
    monkeypatch.setattr(output, "write_run", whole)
    checked = output.check_writable

    def gone_after(cfg: Any) -> None:
        checked(cfg)
        shutil.rmtree(tmp_path / "outputs")  # before the report is written

    monkeypatch.setattr(output, "check_writable", gone_after)
    assert run(tmp_path, "train", *complete).code == 0
    (folder,) = tmp_path.glob("outputs/run/*")
    assert {path.name for path in folder.iterdir()} == WHOLE


# foreign text


FOREIGN = "[/x] [bold]b\x1b[31m\r\u202e$x_{$ <b>|`"


def test_a_name_of_markup_and_escape_sequences_is_shown_as_it_is(
    complete: list[str], tmp_path: Path
) -> None:
    done = run(tmp_path, "train", *complete, f"run_name='{FOREIGN}'", "hydra.run.dir=out")
    assert done.code == 0, done.err
    for shown in (done.out, done.err):
        assert not {"\x1b", "\r", "\u202e"} & set(shown)
        assert r"[/x] [bold]b\x1b[31m\r\u202e$x_{$ <b>|`" in shown
    text = (tmp_path / "out" / "report.md").read_bytes().decode()
    assert not {"\x1b", "\r", "\u202e"} & set(text)
    title = text.splitlines()[0]
    assert title.startswith(r"# [/x] [bold]b\\x1b[31m\\r\\u202e\$x\_{\$ &lt;b>&#124;\`: ")
    card = (tmp_path / "out" / "student" / "README.md").read_bytes().decode()
    assert not {"\x1b", "\r", "\u202e"} & set(card)
    assert json.loads((tmp_path / "out" / "results.json").read_text())["recipe"] == FOREIGN


@pytest.mark.slow
def test_labels_that_are_formulas_are_text_in_the_predictions(body: Path, tmp_path: Path) -> None:
    names = {0: "=1+1", 1: "@good|[/b]\x1b[1m"}
    rows = [(text, names[label]) for text, label in tiny.labelled(120)]
    train = tiny.write_csv(tmp_path / "formulas.csv", ("text", "label"), rows)
    words = with_overrides(tiny.small(body, train, None, tmp_path / "workspace"), *QUICK)
    words = [word for word in words if not word.startswith("data.label_names=")]
    done = run(tmp_path, "train", *words)
    assert done.code == 0, done.err
    assert "\x1b" not in done.err + done.out
    (path,) = tmp_path.glob("outputs/run/*/predictions.csv")
    with path.open(newline="", encoding="utf-8") as file:
        found = {row["label"] for row in csv.DictReader(file)}
    assert found == {f"'{name}" for name in names.values()}


# a sweep with damaged results


DAMAGED = {
    "torn": '{"rows": {"student": {"accur',
    "empty": "",
    "list": "[1, 2]",
    "bytes": None,
    "deep": "[" * 100_000,
    "rows": '{"rows": [1], "headline": "accuracy"}',
    "row": '{"rows": {"student": 3}, "headline": "accuracy", "comparison": {}}',
    "score": '{"rows": {"student": {"accuracy": "x"}}, "headline": "accuracy", "comparison": {}}',
    "nan": '{"rows": {"student": {"accuracy": NaN}}, "headline": "accuracy", "comparison": {}}',
    "headline": '{"rows": {"student": {"accuracy": 1}}, "headline": ["x"], "comparison": {}}',
    "gain": '{"rows": {"student": {"f1": 1}}, "headline": "f1", "comparison": '
    '{"student_minus_control": {"difference": []}}}',
    "overrides": '{"rows": {"student": {"f1": 1}}, "headline": "f1", "comparison": {}, '
    '"overrides": {"a": {}}}',
    "column": '{"rows": {"student": {"f1": 1, "ece": "="}}, "headline": "f1", "comparison": {}}',
}


def test_damaged_results_are_named_and_the_others_ranked(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep"
    for name, score in (("0", 0.7), ("1", 0.9)):
        record = {"rows": {"student": {"accuracy": score}}, "headline": "accuracy"}
        (sweep / name).mkdir(parents=True)
        record |= {"comparison": {}, "overrides": {"seed": name, "loss": f"={name}"}}
        (sweep / name / "results.json").write_text(json.dumps(record))
    for name, content in DAMAGED.items():
        (sweep / name).mkdir()
        whole = b"\xff\xfe\x00" if content is None else content.encode()
        (sweep / name / "results.json").write_bytes(whole)
    done = distillkit("report", sweep)
    assert done.code == 0, done.err
    assert "2 runs, by student accuracy" in done.out
    warned = [line for line in done.err.splitlines() if line.startswith("warning: ")]
    assert len(warned) == len(DAMAGED)
    for name in DAMAGED:
        assert any(f"{sweep / name}/results.json: left out, " in line for line in warned)
    with (sweep / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["accuracy"], row["loss"]) for row in rows] == [
        ("1", "0.9000", "'=1"),
        ("0", "0.7000", "'=0"),
    ]


def test_a_leaderboard_is_whole_or_not_there(distillkit: Distillkit, tmp_path: Path) -> None:
    record = {"rows": {"student": {"accuracy": 0.5}}, "headline": "accuracy", "comparison": {}}
    (tmp_path / "results.json").write_text(json.dumps(record))
    with no_file_larger(1_000):
        done = distillkit("report", tmp_path)
    assert_refused(done, f"{tmp_path}: the leaderboard cannot be written there (File too large)")
    assert "1 run, by student accuracy" in done.out
    assert "leaderboard.png" not in left(tmp_path)
    assert not [name for name in left(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize(
    "words",
    [
        ["report", "{}"],
        ["targets", "inspect", "{}"],
        ["targets", "verify", "{}"],
        ["targets", "export", ".", "{}"],
        ["recipes", "--config-dir", "{}"],
    ],
)
@pytest.mark.parametrize("name", [300 * "x", "file/below", "nothing\x1b[31m"])
def test_a_path_that_cannot_be_is_one_line(
    distillkit: Distillkit, tmp_path: Path, words: list[str], name: str
) -> None:
    (tmp_path / "file").write_text("a file")
    line = assert_refused(distillkit(*(word.format(name) for word in words)))
    assert "\x1b" not in line
