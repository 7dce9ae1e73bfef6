"""What a killed run left of an artifact: another's, altered, or closed to who would go on there."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distillkit.artifacts.workspace import Workspace, write_json
from distillkit.errors import WorkspaceError
from distillkit.targets.shard_queue import PLAN
from tests.cli.conftest import finished  # noqa: F401
from tests.cli.runs import Finished, assert_refused, run
from tests.conftest import Distillkit
from tests.faults.test_damage import contents, fresh  # noqa: F401
from tests.faults.users import commons, user, why_not

INPUTS = {"a": 1}


def unfinished(run: Finished, kind: str) -> Path:
    """An artifact as a run leaves it that is killed just before it is whole; what needs it goes."""
    path = run.artifact(kind)
    half = run.workspace / ".partial" / path.name
    half.parent.mkdir(exist_ok=True)
    path.rename(half)
    (half / "manifest.json").unlink()
    for needing in [*run.workspace.glob("student-*"), *run.workspace.glob("evaluation-*")]:
        shutil.rmtree(needing)
    return half


def exchanged(half: Path) -> None:
    """The shards of a store in each other's place, and its manifest with them."""
    one, two = (half / f"shard-0000{number}.arrow" for number in range(2))
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    record = json.loads((half / "targets.json").read_text())
    first, second, *others = record["shards"]
    names = {"file": second["file"]}, {"file": first["file"]}
    record["shards"] = [second | names[1], first | names[0], *others]
    (half / "targets.json").write_text(json.dumps(record))


@pytest.mark.parametrize("damage", [exchanged, lambda half: None], ids=["altered", "copied"])
def test_a_store_that_only_its_own_manifest_vouches_for_is_made_again(
    damage: Callable[[Path], None],
    fresh: Finished,  # noqa: F811
) -> None:
    expected = contents(fresh.workspace)
    half = unfinished(fresh, "targets")
    damage(half)
    shards = len([*half.glob("shard-*")])
    write_json(half / PLAN, {"batch_tokens": 512, "shards": shards})
    done = run(fresh.folder, "train", *fresh.words)
    assert done.code == 0, done.err
    assert f"{half}: damaged: shard-00000.arrow: no size and sha256" in done.err
    assert contents(fresh.workspace) == expected


def test_shards_of_other_batches_are_made_again_with_a_word(fresh: Finished) -> None:  # noqa: F811
    expected = contents(fresh.workspace)
    half = unfinished(fresh, "targets")
    done = run(fresh.folder, "train", *fresh.words)
    assert done.code == 0, done.err
    assert f"{half}: the shards of a killed run are not those of this run's batches" in done.err
    assert contents(fresh.workspace) == expected


PUT: dict[str, Callable[[Path], object]] = {
    "file": Path.touch,
    "pipe": os.mkfifo,
    "link": lambda path: path.symlink_to("nowhere"),
}


def make(folder: Path) -> dict[str, str]:
    (folder / "x").write_text("1")
    return {}


def follow(advice: str) -> None:
    """Do what a message advises in brackets."""
    found = re.search(r"\(((?:rm|chmod) [^)]*)\)", advice)
    assert found, advice
    assert os.system(found[1]) == 0


@pytest.mark.parametrize("name", [".locks", ".partial"])
@pytest.mark.parametrize("put", PUT)
def test_what_stands_in_place_of_a_folder_is_named_with_a_way_out(
    put: str, name: str, tmp_path: Path
) -> None:
    PUT[put](tmp_path / name)
    with pytest.raises(WorkspaceError) as refused:
        Workspace(tmp_path).obtain("data", INPUTS, make)
    assert str(refused.value).startswith(f"{tmp_path / name}: is no folder")
    follow(str(refused.value))
    assert (Workspace(tmp_path).obtain("data", INPUTS, make).path / "x").read_text() == "1"


@pytest.mark.parametrize("name", [".locks", ".trash"])
def test_a_removal_names_what_stands_in_place_of_a_folder(
    name: str, distillkit: Distillkit, tmp_path: Path
) -> None:
    root = tmp_path / "workspace"
    root.mkdir()
    made = Workspace(root).obtain("data", INPUTS, make)
    shutil.rmtree(root / ".locks")
    (root / name).touch()
    words = ("workspace", "remove", made.name, "--yes", f"workspace={root}")
    line = assert_refused(distillkit(*words), f"{root / name}: is no folder")
    assert made.path.is_dir()
    follow(line)
    assert distillkit(*words).code == 0
    assert not made.path.exists()


MAKE = """
import sys
from pathlib import Path
from distillkit.artifacts.workspace import Workspace
from distillkit.errors import WorkspaceError
def make(folder):
    (folder / "x").write_text("1")
    return {}
workspace = Workspace(Path(sys.argv[1]))
workspace.check_writable()
try:
    print(workspace.obtain("data", {"a": 1}, make).name)
except WorkspaceError as error:
    print(error)
"""
OWNER, OTHER = 12345, 12346


@pytest.fixture
def shared() -> Iterator[Path]:
    """A workspace that two users may write to."""
    with commons() as folder:
        if reason := why_not(folder):
            pytest.skip(reason)
        (folder / "workspace").mkdir()
        (folder / "workspace").chmod(0o777)
        yield folder / "workspace"


@pytest.mark.parametrize("mode", [0, 0o500], ids=oct)
@pytest.mark.parametrize("name", [".locks", ".partial"])
def test_a_closed_folder_is_named_with_a_way_out_for_each_user(
    name: str, mode: int, shared: Path
) -> None:
    owner, other = (user(shared.parent, number) for number in (OWNER, OTHER))
    closed = shared / name
    closed.mkdir()
    os.chown(closed, OWNER, OWNER)
    closed.chmod(mode)
    command = [sys.executable, "-c", MAKE, str(shared)]
    for who, way in ((owner, f"chmod u+rwx '{closed}'"), (other, f"ask {OWNER}")):
        done = who.call(command)
        (line,) = done.stdout.splitlines()
        assert line.startswith(f"{closed}: is closed to this user; have it opened ({way})"), line
    follow(owner.call(command).stdout)
    assert owner.call(command).stdout.startswith("data-")


@pytest.mark.parametrize("mode", [0o500, 0o700], ids=oct)
def test_what_another_user_read_and_closed_is_read_again(mode: int, shared: Path) -> None:
    """Notes of what was found whole spare time; nothing hangs on them."""
    owner, other = (user(shared.parent, number) for number in (OWNER, OTHER))
    command = [sys.executable, "-c", MAKE, str(shared)]
    made = [who.call(command).stdout for who in (owner, owner)]
    (shared / ".verified").mkdir(exist_ok=True)
    os.chown(shared / ".verified", OWNER, OWNER)
    (shared / ".verified").chmod(mode)
    assert [other.call(command).stdout, *made] == 3 * [made[0]]
    assert made[0].startswith("data-")
