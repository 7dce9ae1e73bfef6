"""Locks of the kernel, and the files that stand in for them."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from distillkit.artifacts import locks
from distillkit.artifacts.locks import Holder, hold, myself

HOLD = """
import sys, time
from distillkit.artifacts import locks
from pathlib import Path
if sys.argv[2] == "soft":
    import errno, fcntl, os
    def without(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    fcntl.flock = without
say = lambda text: print(text, flush=True)
with locks.hold(Path(sys.argv[1]), mode=0o664, group=-1, waiting=say, tell=say):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@contextmanager
def child(path: Path, kind: str, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a lock for so long."""
    words = [sys.executable, "-c", HOLD, str(path), kind, str(seconds)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


class Told(list[str]):
    """Who was waited for, and what was told."""

    def hold(self, path: Path) -> Any:
        return hold(path, mode=0o664, group=-1, waiting=self.append, tell=self.append)


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A disk without locks."""

    def without(*_: Any) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", without)
    monkeypatch.setattr(locks, "_folders_without_locks", set())
    return os.strerror(request.param)


@pytest.mark.parametrize("kind", ["kernel", "soft"])
def test_one_waits_for_the_other_and_says_for_whom(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with child(path, kind, 0.5) as first:
        lines = [line(first) for _ in range(2 if kind == "soft" else 1)]
        assert lines[-1] == "held"
        with child(path, kind, 0) as second:
            if kind == "soft":
                assert "this disk has no locks" in line(second)
            assert line(second).startswith(f"process {first.pid} of {myself().user} on ")
            assert first.poll() is None
            assert line(second) == "held"
            assert first.wait() == second.wait() == 0
    assert not list(tmp_path.glob("*.soft"))


@pytest.mark.parametrize("kind", ["kernel", "soft"])
def test_a_killed_holder_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with child(path, kind, 60) as first:
        while line(first) != "held":
            pass
        with child(path, kind, 0) as second:
            if kind == "soft":
                line(second)
            assert f"process {first.pid} " in line(second)
            first.send_signal(signal.SIGKILL)
            first.wait()
            assert line(second) == "held"
            assert second.wait() == 0
    assert not list(tmp_path.glob("*.soft"))


def test_a_disk_without_locks_is_told_of_once(no_locks: str, tmp_path: Path) -> None:
    told = Told()
    for name in "ab":
        with told.hold(tmp_path / name):
            assert json.loads((tmp_path / f"{name}.soft").read_text()) == asdict(myself())
        assert not (tmp_path / f"{name}.soft").exists()
    (said,) = told
    assert said.startswith(f"{tmp_path}: this disk has no locks ({no_locks}); ")


def other(**changes: Any) -> Holder:
    return replace(myself(), **changes)


GONE = {
    "a process that is gone": lambda: other(pid=2**22 + 1),
    "an earlier one with this number": lambda: other(started="1"),
    "before the machine was started anew": lambda: other(
        machine=f"{locks.machine().rpartition(' ')[0]} other"
    ),
}


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("holder", GONE.values(), ids=GONE)
def test_a_soft_lock_of_a_dead_process_is_taken(
    holder: Callable[[], Holder], tmp_path: Path
) -> None:
    soft = tmp_path / "a.soft"
    soft.write_text(json.dumps(asdict(holder())))
    with Told().hold(tmp_path / "a"):
        assert json.loads(soft.read_text()) == asdict(myself())
    assert not soft.exists()


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize(
    "holder",
    [
        other(host="node7", pid=1),
        other(pid=2**22 + 1, machine=f"pid:[1] {locks.machine().rpartition(' ')[2]}"),
    ],
    ids=["another machine", "another container"],
)
def test_one_of_another_machine_is_waited_for_and_its_file_named(
    holder: Holder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, told = tmp_path / "a.soft", Told()
    soft.write_text(json.dumps(asdict(holder)))
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            soft.unlink()  # as the line says

    monkeypatch.setattr(time, "sleep", nap)
    with told.hold(tmp_path / "a"):
        assert len(naps) == 3
    assert told[-1] == (
        f"process {holder.pid} of {holder.user} on {holder.host}; if that one is gone, remove "
        f"{soft}"
    )
    assert len(told) == 2


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("content", ["", "{", '{"pid": 3}', "[]"])
def test_a_soft_lock_without_a_name_is_taken_after_a_while(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.soft").write_text(content)
    monkeypatch.setattr(locks, "_EMPTY", 0.3)
    began = time.monotonic()
    with Told().hold(tmp_path / "a"):
        assert time.monotonic() - began > 0.3


@pytest.mark.usefixtures("no_locks")
def test_a_pipe_in_place_of_a_soft_lock_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "a.soft")
    monkeypatch.setattr(locks, "_EMPTY", 0.3)
    with Told().hold(tmp_path / "a"):
        assert json.loads((tmp_path / "a.soft").read_text()) == asdict(myself())


def test_a_lock_of_another_kind_of_error_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output"), Told().hold(tmp_path / "a"):
        pass


def test_the_file_of_a_lock_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with Told().hold(path):
        path.unlink()
        with Told().hold(path):  # another file: the first one's holder can no longer be seen
            assert path.is_file()
    assert path.read_text() == ""


COUNT = """
import sys
from pathlib import Path
exec(sys.argv[3])
from distillkit.artifacts import locks
number = Path(sys.argv[1])
for _ in range(30):
    with locks.hold(Path(sys.argv[2]), mode=0o664, group=-1, waiting=id, tell=id):
        number.write_text(str(int(number.read_text()) + 1))
"""
SOFT = """
import errno, fcntl, os
def without(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
fcntl.flock = without
from distillkit.artifacts import locks
locks._POLL = 0.001
"""


@pytest.mark.parametrize(
    "before", ["from distillkit.artifacts import locks; locks._POLL = 0.001", SOFT]
)
def test_four_processes_are_never_inside_at_once(before: str, tmp_path: Path) -> None:
    """A soft lock of a dead process is there at the start: one alone removes it."""
    number = tmp_path / "number"
    number.write_text("0")
    (tmp_path / "a.soft").write_text(json.dumps(asdict(other(pid=2**22 + 1))))
    words = [sys.executable, "-c", COUNT, str(number), str(tmp_path / "a"), before]
    runs = [subprocess.Popen(words) for _ in range(4)]
    assert [process.wait(60) for process in runs] == [0] * 4
    assert number.read_text() == "120"


def test_a_holder_is_told_by_number_user_and_machine() -> None:
    assert str(myself()) == f"process {os.getpid()} of {myself().user} on {socket.gethostname()}"
    assert not myself().is_gone()
