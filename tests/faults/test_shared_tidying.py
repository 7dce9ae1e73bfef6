"""Tidying up where several users share a workspace, where links are in it, and without locks."""

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distillkit.artifacts import locks
from distillkit.artifacts.run_records import read_all
from distillkit.artifacts.workspace import Workspace
from tests.cli.runs import assert_refused
from tests.conftest import Distillkit
from tests.faults.users import GROUP, commons, user, why_not

RUN = """
import sys, time
from pathlib import Path
from distillkit.artifacts.workspace import Workspace
from distillkit.artifacts.run_records import RunRecord
workspace = Workspace(Path(sys.argv[1]))
def make(folder):
    (folder / "x").write_text("1")
    return {}
found = workspace.obtain("data", {"a": 1}, make)
record = RunRecord(workspace.root, "slow")
record.note(found.name, is_new=False)
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
    monkeypatch.setattr(locks, "_folders_without_locks", set())
    root = tmp_path / "workspace"
    root.mkdir()
    found = Workspace(root).obtain("data", {"a": 1}, lambda folder: {})
    words = ("workspace", "remove", found.name, "--yes", f"workspace={root}")
    soft = root / ".locks" / f"{found.name}.lock.soft"
    with locks.hold(
        soft.with_suffix(""), mode=0o644, group=-1, waiting=lambda who: None, tell=lambda line: None
    ):
        assert soft.is_file()
        assert_refused(
            distillkit(*words), f"{found.name}: another command makes or removes it just now"
        )
        assert found.path.is_dir()
    assert distillkit(*words).code == 0
    assert not found.path.exists()
    assert not soft.exists()


def content(folder: Path) -> dict[str, Any]:
    (folder / "x").write_text("1")
    return {}


def test_a_damaged_artifact_behind_a_link_is_made_again_and_what_it_led_to_stays(
    tmp_path: Path,
) -> None:
    root, elsewhere = tmp_path / "workspace", tmp_path / "elsewhere"
    root.mkdir()
    found = Workspace(root).obtain("data", {"a": 1}, content)
    found.path.rename(elsewhere)
    found.path.symlink_to(elsewhere)
    assert Workspace(root).find("data", {"a": 1}) == found
    (elsewhere / "x").write_text("2")
    again = Workspace(root, repair=True).obtain("data", {"a": 1}, content)
    assert (again.path / "x").read_text() == "1"
    assert not again.path.is_symlink()
    assert (elsewhere / "x").read_text() == "2"
    again.path.rename(tmp_path / "gone")
    again.path.symlink_to(tmp_path / "nowhere")
    assert (Workspace(root).obtain("data", {"a": 1}, content).path / "x").read_text() == "1"


@pytest.mark.parametrize("resumable", [True, False])
def test_a_link_in_place_of_what_was_begun_is_not_worked_behind(
    resumable: bool, tmp_path: Path
) -> None:
    root, elsewhere = tmp_path / "workspace", tmp_path / "elsewhere"
    (root / ".partial").mkdir(parents=True)
    (elsewhere / "checkpoint-1").mkdir(parents=True)
    (elsewhere / ".notes.tmp").write_text("mine")
    before = sorted(elsewhere.rglob("*"))
    workspace = Workspace(root)
    workspace.partial("data", {"a": 1}).symlink_to(elsewhere)
    made = workspace.obtain(
        "data", {"a": 1}, content, resumable=resumable, scratch=["checkpoint-*"]
    )
    assert not made.path.is_symlink()
    assert not made.damage(workspace.verifier)
    assert sorted(elsewhere.rglob("*")) == before


JUNK: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path.name),
    "folder": Path.mkdir,
    "nested": lambda path: path.write_text(100_000 * "["),
    "noise": lambda path: path.write_bytes(bytes(range(256))),
    "list": lambda path: path.write_text("[1]"),
    "names": lambda path: path.write_text(
        '{"made": [1, {}, "../x"], "used": 3, "output": "a\\u0000"}'
    ),
}


def test_what_is_no_record_of_a_run_is_passed_over_and_not_waited_for(
    tmp_path: Path, distillkit: Distillkit
) -> None:
    root = tmp_path / "workspace"
    (root / ".runs").mkdir(parents=True)
    made = Workspace(root).obtain("data", {"a": 1}, content)
    for number, (name, put) in enumerate(JUNK.items()):
        put(root / ".runs" / f"20260101-00000{number}-{name}.json")
        os.mkfifo(root / ".runs" / f"20260101-00000{number}-{name}.lock")
    (whole,) = [record for record in read_all(root) if record.artifacts]
    assert whole.artifacts == {"../x"}
    listed = distillkit("workspace", "list", f"workspace={root}")
    assert (listed.code, made.name in listed.out) == (0, True), listed
    removed = distillkit("workspace", "remove", "--unused", "--yes", f"workspace={root}")
    assert removed.code == 0 and not made.path.exists()
