"""One workspace of two real users: who makes, who takes over, who only reads."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import QUICK, with_overrides
from tests.faults.kills import kill_when, weights
from tests.faults.users import GROUP, User, commons, user, why_not

MAKE = """
import os, sys
from pathlib import Path
from distillkit.artifacts.workspace import Workspace, atomic
from distillkit.errors import WorkspaceError
root, die, resumable = Path(sys.argv[1]), sys.argv[2] == "die", sys.argv[3] == "resumable"
def make(folder):
    print(sorted(p.name for p in folder.rglob("*")))
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "log").open("a").write("x")
    with atomic(folder / "done") as temporary:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600))  # as safetensors does
    if die:
        os.close(os.open(folder / "half", os.O_WRONLY | os.O_CREAT, 0o600))
        os._exit(9)
    (folder / "weights").write_text("w")
    (folder / "weights").chmod(0o600)
    return {}
workspace = Workspace(root)
workspace.check_writable()
try:
    found = workspace.obtain("data", {"a": 1}, make, resumable=resumable)
    print((found.path / "weights").read_text())
except WorkspaceError as error:
    print(error)
"""
A, B, C = 65534, 12345, 12346


@pytest.fixture
def folder() -> Iterator[Path]:
    with commons() as folder:
        reason = why_not(folder)
        if reason:
            pytest.skip(reason)
        yield folder


def workspace(folder: Path, mode: int, *, group: int = GROUP) -> Path:
    """A workspace of root's with a group and a mode."""
    root = folder / "workspace"
    root.mkdir()
    os.chown(root, 0, group)
    root.chmod(mode)
    return root


def obtain(who: User, root: Path, *, dies: bool = False, resumable: bool = True) -> list[str]:
    """Have a user make the artifact, or find it; return what is said."""
    how = ["die" if dies else "ends", "resumable" if resumable else "anew"]
    done = who.call([sys.executable, "-c", MAKE, str(root), *how])
    assert done.returncode == (9 if dies else 0), done.stderr
    assert "Traceback" not in done.stderr
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def modes(root: Path) -> dict[str, set[str]]:
    """The modes of the folders and of the files below a folder, in octal."""
    found: dict[str, set[str]] = {"folders": set(), "files": set()}
    for path in root.rglob("*"):
        kind = "folders" if path.is_dir() else "files"
        found[kind].add(oct(stat.S_IMODE(path.lstat().st_mode)))
    return found


@pytest.mark.parametrize("mode", [0o770, 0o2770, 0o775], ids=oct)
@pytest.mark.parametrize("resumable", [True, False])
def test_who_shares_the_group_takes_over_what_anothers_killed_run_left(
    mode: int, resumable: bool, folder: Path
) -> None:
    root = workspace(folder, mode)
    first, second = user(folder, A, GROUP, umask=0o077), user(folder, B, GROUP)
    obtain(first, root, dies=True)
    assert {path.lstat().st_gid for path in root.rglob("*")} == {GROUP}
    left = "['deep', 'done', 'log']" if resumable else "[]"
    assert obtain(second, root, resumable=resumable) == [left, "w"]
    assert {path.lstat().st_gid for path in root.rglob("*")} == {GROUP}
    found = modes(next(root.glob("data-*")))
    assert found == {"folders": {oct(mode & 0o777 | stat.S_ISGID)}, "files": {oct(mode & 0o666)}}
    assert modes(root)["files"] == {oct(mode & 0o666)}
    assert obtain(first, root) == ["w"]


def test_who_may_only_read_finds_what_is_there_and_is_refused_what_is_not(folder: Path) -> None:
    root = workspace(folder, 0o755, group=0)
    os.chown(root, A, A)
    stranger = user(folder, B)
    (said,) = obtain(stranger, root)
    assert said.startswith(f"workspace = {root}: Permission denied; set workspace=FOLDER")
    assert obtain(user(folder, A, umask=0o077), root) == ["[]", "w"]
    before = sorted(root.rglob("*"))
    assert obtain(stranger, root) == ["w"]
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("closed", ["", "manifest.json", "weights", "deep"])
def test_an_artifact_that_is_closed_is_named(closed: str, folder: Path) -> None:
    root = workspace(folder, 0o775)
    obtain(user(folder, A, GROUP), root)
    (artifact,) = root.glob("data-*")
    (artifact / closed).chmod(0)
    stranger = user(folder, B)
    before = sorted(root.rglob("*"))
    (line,) = obtain(stranger, root)
    name = {"": "manifest.json", "deep": "deep/log"}.get(closed, closed)
    if closed == "weights":
        assert line.startswith(f"{artifact}: damaged: weights: cannot be read (Permission denied)")
    else:
        assert line == (
            f"{artifact / name}: cannot be read (Permission denied); ask whoever made it to let "
            "others read the workspace"
        )
    assert sorted(root.rglob("*")) == before


def test_where_all_may_write_and_none_may_remove_each_has_his_own(folder: Path) -> None:
    """The modes of /tmp: what one left unfinished is not another's to go on with."""
    root = workspace(folder, 0o1777, group=0)
    first, second = user(folder, A, umask=0o077), user(folder, B, umask=0o077)
    obtain(first, root, dies=True)
    (said,) = obtain(second, root)
    assert said.startswith(f"{next(root.glob('.partial/data-*'))}: of a run of ")
    assert "has not ended well, and closed to others; " in said
    assert "set workspace=FOLDER" in said
    assert obtain(first, root)[-1] == "w"
    assert obtain(second, root) == ["w"]
    assert modes(next(root.glob("data-*"))) == {"folders": {"0o755"}, "files": {"0o644"}}
    for name in (".locks", ".partial"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o1777


def test_one_waits_for_another_user_by_name(folder: Path) -> None:
    root = workspace(folder, 0o770)
    first, second = user(folder, A, GROUP), user(folder, B, GROUP)
    slow = MAKE.replace("def make(folder):", "def make(folder):\n    import time; time.sleep(1.5)")
    with first.start([sys.executable, "-c", slow, str(root), "ends", "anew"]) as process:
        while not list(root.glob(".partial/data-*")):
            assert process.poll() is None
        said = obtain(second, root)
        assert process.wait() == 0
    assert said[0] == "w"
    assert f"process {process.pid} of nobody on " in said[1] or f" of {A} on " in said[1]
    assert said[1].endswith("is making it; waiting")


@pytest.mark.slow
def test_a_run_that_one_began_and_another_ends_is_read_by_a_third(folder: Path) -> None:
    """The bits are those of an undisturbed run, and the outputs go where the reader may write."""
    body, texts = tiny.write_model(folder / "body"), tiny.write_reviews(folder, 120, 60)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    root = workspace(folder, 0o775)
    words = with_overrides(tiny.small(body, *texts, root), *QUICK, "trainer.epochs=4")
    first, second = user(folder, A, GROUP, umask=0o077), user(folder, B, GROUP)
    sign = "workspace/.partial/student-*/checkpoint-0000003*"
    often = [*words, "trainer.checkpoint_seconds=0"]
    assert kill_when(often, folder, sign, start=first.start), "the run ended before its student did"
    again = second.run("train", *words)
    assert again.returncode == 0, again.stderr
    own = user(folder, C + 1)
    alone = own.run("train", *with_overrides(words, f"workspace={own.home / 'alone'}"))
    assert alone.returncode == 0, alone.stderr
    assert weights(root) == weights(own.home / "alone")
    for made in [*root.glob("*-*"), root / ".locks"]:
        assert modes(made) == {"folders": modes(made)["folders"] & {"0o2775"}, "files": {"0o664"}}
    before = sorted(root.rglob("*"))
    reader = user(folder, C)
    read = reader.run("train", *words)
    assert read.returncode == 0, read.stderr
    assert "all is there already" in read.stderr
    assert sorted(root.rglob("*")) == before
    (report,) = reader.home.glob("outputs/run/*/report.md")
    assert (report.parent / "student" / "model.safetensors").stat().st_uid == C
