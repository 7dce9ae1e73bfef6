"""What a workspace keeps beside artifacts is shared, too; locks where disks have none."""

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from distillkit.artifacts.digests import session
from distillkit.artifacts.locks import myself
from distillkit.artifacts.workspace import Artifact, Workspace
from tests.cli.runs import assert_refused
from tests.conftest import Distillkit
from tests.faults.kills import made_elsewhere
from tests.faults.users import GROUP, User, commons, user, why_not

USE = """
import sys, time
from pathlib import Path
from distillkit.artifacts.workspace import Workspace
from distillkit.artifacts import removal, run_records
from distillkit.artifacts.holdings import look
root = Path(sys.argv[1])
def make(folder):
    (folder / "weights").write_text("w")
    return {}
workspace = Workspace(root)
found = workspace.obtain("data", {"a": 1}, make)
time.sleep(0.1)  # what has just been written is not remembered as read
Workspace(root).find("data", {"a": 1})
record = run_records.RunRecord(root, sys.argv[2])
record.note(found.name, is_new=False)
print([it.name for it in run_records.read_all(root) if it.is_under_way])
run_records.close_all()
print(sorted(it.name for it in run_records.read_all(root)))
workspace.obtain("tokens", {"of": sys.argv[2]}, make)
(it,) = (it for it in look(root, days=30).entries if it.kind == "tokens")
if len(sys.argv) == 3:
    print(removal.remove(root, it))
else:
    removal._delete = lambda path: None
    removal.remove(root, it)
"""
A, B = 65534, 12345


@pytest.fixture
def folder() -> Iterator[Path]:
    with commons() as folder:
        reason = why_not(folder)
        if reason:
            pytest.skip(reason)
        yield folder


def use(who: User, root: Path, name: str, *more: str) -> list[str]:
    """Have a user run something over a workspace, and tidy up in it."""
    done = who.call([sys.executable, "-c", USE, str(root), name, *more])
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("mode", [0o770, 0o2775, 0o1777], ids=oct)
def test_runs_of_two_users_are_recorded_and_both_tidy_up(mode: int, folder: Path) -> None:
    root = folder / "workspace"
    root.mkdir()
    os.chown(root, 0, GROUP)
    root.chmod(mode)
    first, second = user(folder, A, GROUP, umask=0o077), user(folder, B, GROUP, umask=0o077)
    assert use(first, root, "first", "left")[:2] == ["['first']", "['first']"]
    (left,) = (root / ".trash").iterdir()
    assert use(first, root, "first")[2] == "True"
    assert use(second, root, "second") == ["['second']", "['first', 'first', 'second']", "True"]
    own = mode & ~0o022 if mode & stat.S_ISVTX else mode
    top = mode | (stat.S_ISGID if own & 0o020 else 0)
    read = root / ".verified" / session()
    for made in (root / ".runs", root / ".trash", root / ".locks", root / ".verified", read):
        found = made.stat()
        assert (made.name, oct(stat.S_IMODE(found.st_mode)), found.st_gid) == (
            *(made.name, oct(top)),
            GROUP,
        )
    files = [*(root / ".runs").iterdir(), *read.iterdir()]
    assert len(files) >= 4
    assert {oct(stat.S_IMODE(it.stat().st_mode)) for it in files} == {oct(own & 0o666)}
    assert {it.stat().st_gid for it in files} == {GROUP}
    assert left.exists()
    for home in (first.home, second.home):  # nobody had to fall back on a folder of his own
        assert not list(home.rglob("verified"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of three artifacts that nothing needs."""
    root = tmp_path / "workspace"
    root.mkdir()
    monkeypatch.setenv("DISTILLKIT_WORKSPACE", str(root))
    for number in range(3):
        make(root, number)
    return root


def make(root: Path, number: int) -> Artifact:
    def content(folder: Path) -> dict[str, Any]:
        (folder / "weights").write_text("w")
        return {}

    return Workspace(root).obtain("tokens", {"number": number}, content)


def test_locks_that_nobody_holds_are_named_and_removed(distillkit: Distillkit, root: Path) -> None:
    locks = sorted((root / ".locks").iterdir())
    assert len(locks) == 3
    os.mkfifo(root / ".locks" / "pipe.lock")
    (root / ".locks" / "link.lock").symlink_to(locks[0])
    with made_elsewhere(locks[0]):
        assert "; 2 files of locks that nobody holds (remove --unused)" in (
            distillkit("workspace", "list").out
        )
        done = distillkit("workspace", "remove", "--unused", "--yes")
        assert "2 removed" in done.out and "; 2 files of locks that nobody held" in done.out
        assert locks[0].exists() and not locks[1].exists()
    assert "1 files of locks that nobody holds" in distillkit("workspace", "list").out


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", without)


@pytest.mark.usefixtures("no_locks")
def test_where_a_disk_has_no_locks_what_another_makes_stays(
    distillkit: Distillkit, root: Path
) -> None:
    made = make(root, 0)
    soft = root / ".locks" / f"{made.name}.lock.soft"
    soft.write_text(json.dumps(asdict(replace(myself(), host="node7"))))
    line = assert_refused(
        distillkit("workspace", "remove", made.name, "--yes"), "makes or removes it"
    )
    assert line.endswith("; wait until it has ended, or stop it")
    done = distillkit("workspace", "remove", "--unused", "--yes")
    assert "2 removed" in done.out, done.err
    assert made.path.exists() and soft.exists()
    soft.write_text(json.dumps(asdict(replace(myself(), pid=2**22 + 1))))  # of a process that died
    assert distillkit("workspace", "remove", made.name, "--yes").code == 0
    assert not made.path.exists() and not soft.exists()


KILLED = """
import os, sys
from pathlib import Path
from distillkit.artifacts import workspace as artifacts
from distillkit.pipeline.obtain import SCRATCH
def make(folder):
    for name in ("checkpoint-0000003", "new-checkpoint"):
        (folder / name).mkdir()
        (folder / name / "learner.safetensors").write_text("x")
    for name in ("best-3.safetensors", "probe.json", "plan.json", "weights"):
        (folder / name).write_text("x")
    return {}
if sys.argv[2] == "begun":
    artifacts.permissions.shutil.rmtree = lambda path: os._exit(9)
else:
    artifacts.commit = lambda *_: os._exit(9)
artifacts.Workspace(sys.argv[1]).obtain("student", {"a": 1}, make, resumable=True, scratch=SCRATCH)
"""


@pytest.mark.parametrize("moment", ["begun", "over"])
def test_a_run_killed_as_it_cleaned_up_is_not_damaged_and_is_ended(
    moment: str, distillkit: Distillkit, root: Path
) -> None:
    """What a killed run goes on from is removed before the artifact has its name."""
    assert subprocess.run([sys.executable, "-c", KILLED, str(root), moment]).returncode == 9
    (begun,) = (root / ".partial").iterdir()
    assert (begun / "manifest.json").is_file()
    assert (begun / "checkpoint-0000003").exists() == (moment == "begun")
    said = distillkit("workspace", "list").out
    assert "damaged" not in said and "1 begun (remove --partial)" in said
    assert distillkit("workspace", "verify").code == 0
    assert "nothing to remove" in distillkit("workspace", "remove", "--damaged", "--yes").out
    again = KILLED[: KILLED.index("if sys.argv")] + KILLED[KILLED.index("artifacts.Workspace(") :]
    again = again.replace("def make(folder):", "def make(folder):\n    raise AssertionError")
    subprocess.run([sys.executable, "-c", again, str(root), moment], check=True)
    (made,) = root.glob("student-*")
    assert {it.name for it in made.iterdir()} == {"manifest.json", "weights"}
    assert distillkit("workspace", "verify").code == 0
