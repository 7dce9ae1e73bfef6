"""Workspaces that are full, closed or altered; each ends in one line and exit code 2."""

import resource
import subprocess
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import run
from tests.conftest import Result


def one_line(done: Result) -> str:
    """The last line of stderr, after making sure that the run was refused without a traceback."""
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("distillkit:")]
    assert len(lines) == 1, done.err
    return lines[0]


def test_a_workspace_that_cannot_be_written_is_refused_at_once(
    body: Path, reviews: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    words = tiny.small(body, *reviews, tmp_path / "file" / "workspace")
    said = one_line(run(tmp_path, "train", *words))
    assert "workspace = " in said
    assert "DISTILLKIT_WORKSPACE" in said
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("word", ["workspace=", "workspace.path=", "workspace='  '"])
def test_a_workspace_of_no_name_is_refused_and_the_current_folder_stays_empty(
    body: Path, reviews: tuple[Path, Path], tmp_path: Path, word: str
) -> None:
    words = [w for w in tiny.small(body, *reviews, tmp_path) if not w.startswith("workspace")]
    said = one_line(run(tmp_path, "train", *words, word))
    assert said.startswith("distillkit: workspace.path = ")
    assert "needs a folder after it, as workspace=FOLDER" in said
    assert not list(tmp_path.iterdir())


def test_an_environment_that_names_no_workspace_leaves_the_usual_one(
    body: Path, reviews: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILLKIT_WORKSPACE", "")
    words = [w for w in tiny.small(body, *reviews, tmp_path) if not w.startswith("workspace")]
    done = run(tmp_path, "plan", *words)
    assert done.code == 0, done.err
    assert [path.name for path in tmp_path.iterdir()] == [".distillkit"]


@pytest.mark.parametrize("mode", [[], ["-m"]], ids=["run", "sweep"])
def test_a_folder_for_reports_that_cannot_be_made_is_refused_by_name(
    body: Path, reviews: tuple[Path, Path], tmp_path: Path, mode: list[str]
) -> None:
    (tmp_path / "outputs").write_text("a file")
    words = tiny.small(body, *reviews, tmp_path / "workspace")
    said = one_line(run(tmp_path, "train", *mode, *words))
    assert "hydra.run.dir: the run's folder outputs/run/" in said
    assert "cannot be made (Not a directory); set hydra.run.dir=FOLDER" in said
    assert not (tmp_path / "workspace").exists()


@pytest.mark.slow
@pytest.mark.parametrize("limit", [pytest.param(20_000, marks=pytest.mark.slow), 90_000])
def test_a_full_disk_stops_with_one_line_and_the_run_goes_on_when_there_is_room(
    limit: int, body: Path, reviews: tuple[Path, Path], tmp_path: Path
) -> None:
    words = tiny.small(body, *reviews, tmp_path / "workspace")

    def small_files() -> None:
        # no file may grow beyond this: the write fails as it does on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        tiny.command("train", *words),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=tiny.env() | {"PYTHONDONTWRITEBYTECODE": "1"},  # it would be cut short, and used
        preexec_fn=small_files,
        timeout=120,
    )
    assert "workspace = " in one_line(Result(done.returncode, done.stdout, done.stderr))
    again = run(tmp_path, "train", *words)
    assert again.code == 0, again.err


def test_an_altered_shard_is_found_before_training_starts(
    body: Path, reviews: tuple[Path, Path], tmp_path: Path
) -> None:
    words = tiny.small(body, *reviews, tmp_path / "workspace")
    made = run(tmp_path, "generate-targets", *words)
    assert made.code == 0, made.err
    shard = sorted(tmp_path.glob("workspace/targets-*/shard-*.arrow"))[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    said = one_line(run(tmp_path, "train-student", *words))
    assert shard.name in said
    assert not list(tmp_path.glob("workspace/.partial/student-*/checkpoint-*"))


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_stops_and_names_step_and_learning_rate(
    body: Path, reviews: tuple[Path, Path], tmp_path: Path
) -> None:
    words = tiny.small(body, *reviews, tmp_path / "workspace")
    explosive = ["optimizer=sgd", "optimizer.lr=1e30", "trainer.max_grad_norm=null"]
    done = run(tmp_path, "train", *words, *explosive, "trainer.checkpoint_seconds=0")
    said = one_line(done)
    assert "step" in said
    assert "learning rate" in said
    assert "last good checkpoint" in said
    assert list(tmp_path.glob("workspace/.partial/student-*/checkpoint-*"))
