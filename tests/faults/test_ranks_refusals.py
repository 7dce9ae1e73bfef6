"""Two processes of which one cannot go on: both end, with one status and one word of it.

pytest -m slow tests/faults/test_ranks_refusals.py
"""

import socket
import sys
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import QUICK, artifact_kinds, with_overrides
from tests.conftest import Result
from tests.processes import Ranks, distillkit

pytestmark = pytest.mark.slow

NOTHING_LEARNT = ["teacher.head=random", "teacher.max_steps=1", "teacher.lr=1e-9"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny.write_reviews(tmp_path_factory.mktemp("texts"), 200, 60)


def told_once(ended: list[Result], code: int) -> str:
    """That all end with this status, and one line of the first says why; that line."""
    first, *others = ended
    assert [it.code for it in ended] == [code] * len(ended), "\n".join(it.err for it in ended)
    (line,) = [line for line in first.err.splitlines() if line.startswith("distillkit:")]
    assert "Traceback" not in first.err
    assert [it.out + it.err for it in others] == [""] * len(others)
    return line


def test_a_teacher_that_learnt_nothing_stops_all(
    body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    words = with_overrides(
        tiny.small(body, *texts, tmp_path / "w"),
        *QUICK,
        *NOTHING_LEARNT,
        "teacher.check=stop",
        "data.validation_fraction=0.3",
    )
    line = told_once(distillkit("train", *words, cwd=tmp_path).end(), 2)
    assert line.startswith("distillkit: teacher: on ") and "commonest label" in line
    assert "teacher" in artifact_kinds(tmp_path / "w") and "targets" not in artifact_kinds(
        tmp_path / "w"
    )


def test_a_teacher_behind_the_control_that_all_trained_stops_all(
    body: Path, tmp_path: Path
) -> None:
    words = with_overrides(
        tiny.small(body, *tiny.write_reviews(tmp_path, 400, 60), tmp_path / "w"),
        *QUICK,
        "teacher.check=stop",
        "data.validation_fraction=0.4",
        "teacher.max_steps=1",
        "teacher.lr=1e-9",
        "trainer.epochs=12",
        "optimizer.lr=1e-2",
    )
    line = told_once(distillkit("train", *words, cwd=tmp_path).end(), 2)
    assert "that of the same student on hard labels alone (the control) 0.9" in line
    assert "student" in artifact_kinds(tmp_path / "w") and "targets" not in artifact_kinds(
        tmp_path / "w"
    )


PATCHED = """
import sys
from distillkit.cli.main import main
from distillkit.errors import WorkspaceError
from distillkit.ranks.team import Team

def take_part(job):
    raise {error}

follow = Team.follow
Team.follow = lambda team, _: follow(team, take_part)
sys.argv = ["distillkit", *sys.argv[1:]]
main()
"""


def second_raises(error: str, words: list[str], folder: Path) -> list[Result]:
    """How two processes end where the second one alone raises this at its first training."""
    patched = [sys.executable, "-c", PATCHED.format(error=error), "train", *words]
    return Ranks(tiny.command("train", *words), folder, last=patched).end()


def test_what_the_second_refuses_ends_the_first_that_tells_of_it(
    body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    words = with_overrides(tiny.small(body, *texts, tmp_path / "w"), *QUICK)
    line = told_once(second_raises("WorkspaceError('no such disk')", words, tmp_path), 2)
    assert line.startswith("distillkit: rank 1 on ") and line.endswith(": no such disk")


def test_a_fault_of_the_second_is_told_by_it_and_ends_the_first(
    body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    words = with_overrides(tiny.small(body, *texts, tmp_path / "w"), *QUICK)
    first, second = second_raises("KeyError('a fault')", words, tmp_path)
    assert (first.code, second.code) == (1, 1), first.err + second.err
    assert "distillkit:" not in first.err and "Traceback" not in first.err
    begin, *_, end = second.err.strip().splitlines()
    assert begin.startswith("distillkit: rank 1 (process ") and begin.endswith(" failed:")
    assert end == "KeyError: 'a fault'"


def test_processes_that_see_another_workspace_end_before_the_work(
    body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    """The workspace lies below the current folder, and the second has another one."""
    (tmp_path / "other").mkdir()
    words = with_overrides(tiny.small(body, *texts, tmp_path), *QUICK)
    words = with_overrides(words, "workspace=/proc/self/cwd/w")
    command = tiny.command("train", *words)
    elsewhere = ["sh", "-c", 'cd other && exec "$@"', "sh", *command]
    line = told_once(Ranks(command, tmp_path, last=elsewhere).end(), 2)
    host = socket.gethostname()
    assert line == (
        f"distillkit: rank 1 on {host}: workspace = /proc/self/cwd/w: is another folder on {host} "
        f"than for rank 0 on {host}; set workspace=FOLDER to one on a disk that all share"
    )
    assert not list(tmp_path.glob("w/data-*"))
    assert not list(tmp_path.glob("w/.probe-*"))
