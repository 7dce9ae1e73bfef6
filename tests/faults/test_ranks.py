"""Several processes on one workspace: they end, whatever is there, and none outlives another."""

import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests import tiny, tiny_language
from tests.cli.runs import QUICK, artifact_kinds, with_overrides
from tests.conftest import Result
from tests.faults.kills import weights
from tests.processes import distillkit, torchrun

WHOLE = ["data", "evaluation", "student", "student", "targets", "teacher", *["tokens"] * 3]
OFTEN = ["trainer.checkpoint_seconds=0", "trainer.epochs=4"]
MINUTE = 60.0


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny.write_reviews(tmp_path_factory.mktemp("texts"), 120, 60)


@pytest.fixture(scope="module")
def undisturbed(
    body: Path, texts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Result]]:
    """The folder of a run of two processes on an empty workspace, and how each ended."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "temporary").mkdir()
    words = with_overrides(tiny.small(body, *texts, folder / "workspace"), *QUICK, *OFTEN)
    return folder, distillkit("train", *words, cwd=folder, TMPDIR=str(folder / "temporary")).end()


def test_two_processes_make_all_on_an_empty_workspace(
    undisturbed: tuple[Path, list[Result]],
) -> None:
    folder, (first, second) = undisturbed
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert artifact_kinds(folder / "workspace") == sorted([*WHOLE, "transfer"])
    assert (second.out, second.err) == ("", "")
    assert "The student keeps" in first.out
    assert "expected  cannot be told of several processes; `distillkit plan`" in first.err
    assert "Writing model shards" not in first.err
    assert not [line for line, count in Counter(first.err.splitlines()).items() if count > 1]
    assert not list((folder / "temporary").iterdir())
    assert len(list(folder.glob("outputs/run/*/report.md"))) == 1
    assert len(list(folder.glob("outputs/*/*"))) == 1
    assert not list(folder.glob("workspace/.partial/*"))


def test_a_process_that_is_killed_takes_the_other_along_and_the_run_goes_on(
    undisturbed: tuple[Path, list[Result]], body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, _ = undisturbed
    shutil.copytree(
        folder / "workspace", tmp_path / "workspace", ignore=shutil.ignore_patterns("student-*")
    )
    words = with_overrides(
        tiny.small(body, *texts, tmp_path / "workspace"), *QUICK, *OFTEN, "control=false"
    )
    run = distillkit("train", *words, cwd=tmp_path)
    assert run.kill_when(1, tmp_path, "workspace/.partial/student-*/checkpoint-0000000[2-9]*")
    pid, begun = run.children[1].pid, time.monotonic()
    first, second = run.end(MINUTE)
    assert time.monotonic() - begun < MINUTE
    assert (first.code, second.code) == (75, -signal.SIGKILL), first.err
    said = [line for line in first.err.splitlines() if line.startswith("distillkit:")]
    assert len(said) == 1
    assert f"rank 1 (process {pid} of " in said[0]
    assert "Traceback" not in first.err
    again = distillkit("train", *words, cwd=tmp_path).end()
    assert [it.code for it in again] == [0, 0], again[0].err
    assert weights(tmp_path / "workspace").items() <= weights(folder / "workspace").items()
    assert len(weights(tmp_path / "workspace")) == 2  # the teacher and the student


def test_a_refusal_is_told_once(tmp_path: Path) -> None:
    first, second = distillkit("train", "loss.temperature=-1", cwd=tmp_path).end()
    assert (first.code, second.code) == (2, 2)
    assert "distillkit: loss.temperature = -1" in first.err
    assert first.err.count("distillkit:") == 1
    assert (second.out, second.err) == ("", "")
    assert not (tmp_path / "outputs").exists()


def test_each_stage_is_a_command_of_two_as_well(
    undisturbed: tuple[Path, list[Result]], body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    """From an empty workspace on; the student's by the README's words.

    What two train together has other bits than what one trains.
    """
    folder, _ = undisturbed
    words = with_overrides(tiny.small(body, *texts, tmp_path / "workspace"), *QUICK, *OFTEN)
    assert [it.code for it in distillkit("generate-targets", *words, cwd=tmp_path).end()] == [0, 0]
    assert {"teacher", "targets"} < set(artifact_kinds(tmp_path / "workspace"))
    run = torchrun("train-student", *words, cwd=tmp_path)
    try:
        out, err = run.communicate(timeout=300)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 0, err
    assert out.count("student: ") == 1
    first, second = distillkit("evaluate", *words, cwd=tmp_path).end()
    assert (first.code, second.code) == (0, 0), first.err
    assert "student" in first.out and (second.out, second.err) == ("", "")
    assert len(weights(tmp_path / "workspace")) == 2  # the teacher and the student
    assert weights(tmp_path / "workspace").items() <= weights(folder / "workspace").items()


def test_a_language_model_of_two_is_made_on_an_empty_workspace(tmp_path: Path) -> None:
    model = tiny_language.write_model(tmp_path / "model")
    documents = tiny_language.write_documents(tmp_path, 60)
    words = tiny_language.small(model, documents, tmp_path / "workspace")
    first, second = distillkit("train", *words, cwd=tmp_path).end()
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert {"targets", "student", "evaluation"} <= set(artifact_kinds(tmp_path / "workspace"))
    assert (second.out, second.err) == ("", "")
