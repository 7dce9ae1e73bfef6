"""Drafts of killed processes go; what somebody writes, or is no draft, stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distillkit.artifacts import leftovers
from distillkit.artifacts.leftovers import marked, remove_left

HOLD = """
import sys, time
from pathlib import Path
from distillkit.artifacts.leftovers import marked
with marked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def drafts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def aged(path: Path) -> None:
    os.utime(path, (time.time() - 60, time.time() - 60))


@pytest.mark.parametrize("is_folder", [True, False], ids=["folder", "file"])
def test_a_draft_goes_with_the_process_that_wrote_it(is_folder: bool, tmp_path: Path) -> None:
    draft = tmp_path / ".out.1.tmp"
    if is_folder:
        (draft / "deep").mkdir(parents=True)
        (draft / "deep" / "shard").write_text("half")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(draft)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        aged(draft)
        remove_left(tmp_path, ".out.", ".tmp")
        assert drafts(tmp_path) == [".out.1.tmp"]
        process.kill()
    aged(draft)
    remove_left(tmp_path, ".out.", ".tmp")
    assert drafts(tmp_path) == []


def test_what_is_young_linked_or_called_otherwise_stays(tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    aged(elsewhere)
    for name in (".out.1.tmp", ".other.1.tmp", ".out.2", ".out[1].3.tmp"):
        (tmp_path / name).touch()
    for name in (".other.1.tmp", ".out.2"):
        aged(tmp_path / name)
    (tmp_path / ".out.4.tmp").symlink_to(elsewhere)
    os.mkfifo(tmp_path / ".out.5.tmp")
    aged(tmp_path / ".out.5.tmp")
    before = drafts(tmp_path)
    remove_left(tmp_path, ".out.", ".tmp")
    remove_left(tmp_path, ".out[1].", ".tmp")
    assert drafts(tmp_path) == before
    aged(tmp_path / ".out[1].3.tmp")
    remove_left(tmp_path, ".out[1].", ".tmp")
    assert ".out[1].3.tmp" not in drafts(tmp_path)
    remove_left(tmp_path / "nowhere", ".out.", ".tmp")


def test_without_locks_everything_is_written_and_nothing_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(leftovers.fcntl, "flock", none)
    with marked(tmp_path / ".out.1.tmp"):
        aged(tmp_path / ".out.1.tmp")
        remove_left(tmp_path, ".out.", ".tmp")
    assert drafts(tmp_path) == [".out.1.tmp"]
