"""Tidying a workspace up where several users share it, and where the disk has no locks."""

import errno
import fcntl
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from distillkit import locks
from distillkit.artifacts import Workspace
from tests.cli.runs import refused
from tests.conftest import Distillkit
from tests.faults.users import GROUP, commons, user, why_not

RUN = """
import sys, time
from pathlib import Path
from distillkit.artifacts import Workspace
from distillkit.commands.run_records import RunRecord
workspace = Workspace(Path(sys.argv[1]))
def make(folder):
    (folder / "x").write_text("1")
    return {}
found = workspace.obtain("data", {"a": 1}, make)
record = RunRecord(workspace.root, "slow")
record.note(found.name, made=False)
print(found.name, flush=True)
time.sleep(float(sys.argv[2]))
"""
A, B, C = 65534, 12345, 12346


@pytest.mark.parametrize(
    "mode",
    [0o775, *(pytest.param(mode, marks=pytest.mark.slow) for mode in (0o2770, 0o1777))],
    ids=oct,
)
def test_what_one_user_uses_another_does_not_remove(mode: int) -> None:
    with commons() as folder:
        if reason := why_not(folder):
            pytest.skip(reason)
        root = folder / "workspace"
        root.mkdir()
        os.chown(root, 0, GROUP)
        root.chmod(mode)
        command = [sys.executable, "-c", RUN, str(root)]
        first, second, third = (user(folder, it, GROUP, umask=0o077) for it in (A, B, C))
        with first.start([*command, "0"]) as before:
            assert before.wait() == 0, before.stderr
        with second.start([*command, "100"]) as process:
            assert process.stdout
            name = process.stdout.readline().strip()
            removed = third.run("workspace", "remove", name, "--yes", f"workspace={root}")
            assert "a run that is under way uses it (slow)" in removed.stderr
            listed = third.run("workspace", "list", f"workspace={root}")
            assert "1 runs under way" in listed.stdout
            process.kill()
        for name in (".runs", ".locks"):
            found = (root / name).stat()
            wanted = mode & 0o777 | (mode & stat.S_ISVTX or stat.S_ISGID)
            assert (found.st_gid, oct(stat.S_IMODE(found.st_mode))) == (GROUP, oct(wanted))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_of_the_disk_soft_ones_keep_what_is_being_made(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distillkit: Distillkit
) -> None:
    def without(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", without)
    monkeypatch.setattr(locks, "_told", set())
    root = tmp_path / "workspace"
    root.mkdir()
    found = Workspace(root).obtain("data", {"a": 1}, lambda folder: {})
    words = ("workspace", "remove", found.name, "--yes", f"workspace={root}")
    soft = root / ".locks" / f"{found.name}.lock.soft"
    with locks.held(
        soft.with_suffix(""), mode=0o644, group=-1, waiting=lambda who: None, tell=lambda line: None
    ):
        assert soft.is_file()
        refused(distillkit(*words), f"{found.name}: another command makes or removes it just now")
        assert found.path.is_dir()
    assert distillkit(*words).code == 0
    assert not found.path.exists()
    assert not soft.exists()
