"""Parts of an artifact that is being made: one process at a time has each."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from distillkit.artifacts import beats, locks
from distillkit.artifacts.claims import FOLDER, Claims
from distillkit.artifacts.locks import myself

TAKE = """
import sys, time
from pathlib import Path
from distillkit.artifacts.claims import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take("a"), flush=True)
time.sleep(60)
"""


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[Claims]:
    claims = Claims(tmp_path)
    claims.open()
    yield claims
    claims.close()


@contextmanager
def other_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has claimed part a."""
    words = [sys.executable, "-c", TAKE, str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "True\n"
            yield process
        finally:
            process.kill()


def elsewhere(path: Path, **changes: Any) -> None:
    """A claim of a process of another machine."""
    holder = replace(myself(), host="node7", **changes)
    path.write_text(json.dumps(asdict(holder)))


def test_a_part_is_one_process_s_until_that_dies(claims: Claims, tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        assert not claims.take("a")
        assert claims.take("b")
        assert claims.others() == [tmp_path / FOLDER / "a"]
        assert claims.neighbours() == {process.pid}
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert claims.others() == []
        assert claims.take("a")
    claims.close()
    assert not list((tmp_path / FOLDER).iterdir())


def test_two_objects_of_one_process_do_not_have_the_same_part(
    claims: Claims, tmp_path: Path
) -> None:
    second = Claims(tmp_path)
    assert claims.take("a")
    assert not second.take("a")
    claims.release("a")
    assert second.take("a")
    second.close()


def test_without_the_folder_nothing_can_be_claimed(tmp_path: Path) -> None:
    """The work is over, or nobody leads it yet."""
    with pytest.raises(FileNotFoundError):
        Claims(tmp_path).take("a")
    assert Claims(tmp_path).others() == []


def test_another_machine_s_part_is_taken_once_its_holder_is_silent(
    claims: Claims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although no lock of it is seen here, as on a disk whose locks are each machine's own."""
    path = tmp_path / FOLDER / "a"
    elsewhere(path)
    now = [100.0]
    monkeypatch.setattr(beats.time, "monotonic", lambda: now[0])
    for _ in range(30):
        now[0] += beats.EVERY
        os.utime(path, (now[0], now[0]))  # it lives
        assert not claims.take("a")
    for _ in range(int(beats.SILENT / beats.EVERY) - 1):
        now[0] += beats.EVERY
        assert not claims.take("a")
    now[0] += beats.EVERY
    assert claims.take("a")
    assert locks.holder_of(path) == myself()


def test_a_process_that_was_stopped_itself_finds_nobody_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(beats.time, "monotonic", lambda: now[0])
    (tmp_path / "a").touch()
    assert not beats.is_silent(tmp_path / "a")
    now[0] += 1e6
    assert not beats.is_silent(tmp_path / "a")


def test_who_holds_a_part_gives_signs_of_life(
    claims: Claims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beats, "EVERY", 0.02)
    monkeypatch.setattr(beats, "_thread", None)  # a new one, as quick
    assert claims.take("a")
    path = tmp_path / FOLDER / "a"
    os.utime(path, (1, 1))
    for _ in range(500):
        if path.stat().st_mtime > 1:
            break
        beats.threading.Event().wait(0.01)
    assert path.stat().st_mtime > 1


@pytest.mark.parametrize("beats_before", [True, False])
def test_a_soft_lock_of_another_machine_is_removed_only_if_its_holder_used_to_touch_it(
    beats_before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of an earlier version has no signs of life, and is waited for."""
    soft = tmp_path / "a.soft"
    elsewhere(soft)
    soft.write_bytes(soft.read_bytes() + b"\n" * beats_before)
    now = [100.0]
    monkeypatch.setattr(beats.time, "monotonic", lambda: now[0])
    for _ in range(int(beats.SILENT / beats.EVERY)):
        assert locks.is_held(tmp_path / "a")
        now[0] += beats.EVERY
    assert locks.is_held(tmp_path / "a") is not beats_before


def test_a_claim_that_is_given_up_while_another_looks_is_no_error(
    claims: Claims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is there when it is to be made, and gone when it is to be opened."""
    path, opened = tmp_path / FOLDER / "a", os.open
    path.touch()

    def opening(name: Any, flags: int, *mode: int) -> int:
        if name == path and not flags & os.O_CREAT:
            path.unlink(missing_ok=True)
        return opened(name, flags, *mode)

    monkeypatch.setattr(locks.os, "open", opening)
    assert claims.take("a")
