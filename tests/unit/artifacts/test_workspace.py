"""The workspace: made once, found after, whole or not there, refused in one line."""

import errno
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distillkit.artifacts import workspace as artifacts
from distillkit.artifacts.digests import Verifier, file_sha256, sealed
from distillkit.artifacts.workspace import (
    Workspace,
    atomic,
    fingerprint,
    first_difference,
    write_json,
)
from distillkit.errors import WorkspaceError
from tests import tiny

INPUTS = {"lr": 5e-5, "data": {"text": "word"}}


def maker(calls: list[Path], facts: dict[str, Any] | None = None) -> Callable[[Path], Any]:
    def make(folder: Path) -> dict[str, Any]:
        calls.append(folder)
        (folder / "content").write_text("all of it")
        return facts or {}

    return make


def broken(folder: Path) -> dict[str, Any]:
    (folder / "half").write_text("half of it")
    raise RuntimeError("the power went out")


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def child(code: str, *words: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=tiny.env(),
        **options,
    )


def until(true: Callable[[], bool], *, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


# names


def test_a_fingerprint_is_the_hash_of_canonical_json() -> None:
    expected = hashlib.sha256('{"a":[1,"ä"],"b":null}'.encode()).hexdigest()[:16]
    assert fingerprint({"b": None, "a": [1, "ä"]}) == expected


@pytest.mark.parametrize("other", [{"a": 1, "b": 3}, {"a": 1}, {"a": 1, "b": 2, "c": None}])
def test_other_inputs_have_another_fingerprint(other: dict[str, Any]) -> None:
    assert fingerprint(other) != fingerprint({"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("expected", "found", "difference"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, ("a", 1, 2)),
        ({"a": {"x": {"y": 1}}}, {"a": {"x": {"y": 2}}}, ("a.x.y", 1, 2)),
        ({"a": 1}, {"a": 1, "b": 2}, ("b", None, 2)),
        ({"a": [1, 2]}, {"a": [1, 3]}, ("a", [1, 2], [1, 3])),
        ({"a": {"x": 1}}, {"a": None}, ("a", {"x": 1}, None)),
    ],
)
def test_first_difference_names_the_field(expected: Any, found: Any, difference: Any) -> None:
    assert first_difference(expected, found) == difference


# one artifact


def test_an_artifact_is_made_once_and_found_after(tmp_path: Path) -> None:
    workspace, calls = Workspace(tmp_path), []
    assert workspace.find("data", INPUTS) is None
    made = workspace.obtain("data", INPUTS, maker(calls))
    again = workspace.obtain("data", INPUTS, maker(calls))
    assert len(calls) == 1
    assert made == again == workspace.find("data", INPUTS)
    assert made.path == tmp_path / made.name
    assert names(made.path) == {"content", "manifest.json"}
    assert not workspace.partial("data", INPUTS).exists()


def test_another_kind_or_other_inputs_are_another_artifact(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.obtain("data", INPUTS, maker([]))
    assert workspace.find("teacher", INPUTS) is None
    assert workspace.find("data", INPUTS | {"lr": 1e-5}) is None


def test_a_manifest_says_what_made_it_and_what_was_found_out(tmp_path: Path) -> None:
    made = Workspace(tmp_path).obtain("data", INPUTS, maker([], {"counts": {"train": 3}}))
    manifest = made.manifest()
    assert made.facts() == manifest["facts"] == {"counts": {"train": 3}}
    assert (manifest["kind"], manifest["fingerprint"]) == ("data", fingerprint(INPUTS))
    assert manifest["inputs"] == INPUTS


def test_a_workspace_may_be_relative_or_under_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Workspace("here").root == tmp_path / "here"
    assert Workspace("~/there").root == tmp_path / "home" / "there"


# a make that did not end well


@pytest.mark.parametrize("resumable", [True, False])
def test_a_failed_make_leaves_no_artifact_and_is_made_after(
    tmp_path: Path, resumable: bool
) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(RuntimeError, match="power"):
        workspace.obtain("data", INPUTS, broken, resumable=resumable)
    assert workspace.find("data", INPUTS) is None
    assert not list(tmp_path.glob("data-*"))
    made = workspace.obtain("data", INPUTS, maker([]), resumable=resumable)
    assert names(made.path) == {"content", "manifest.json"} | ({"half"} if resumable else set())


KILLED = """
import sys, time
from pathlib import Path
from distillkit.artifacts.workspace import Workspace, atomic, write_json
def make(folder):
    write_json(folder / "shard", {"whole": True})
    with atomic(folder / "next") as temporary:
        temporary.write_text("ha")
        print("ready", flush=True)
        time.sleep(60)
Workspace(sys.argv[1]).obtain("data", {}, make, resumable=True)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Workspace:
    """A workspace in which a run was killed while it made `data`, in the middle of a file."""
    process = child(KILLED, tmp_path)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    return Workspace(tmp_path)


def test_a_killed_run_leaves_no_artifact_and_no_lock(killed: Workspace) -> None:
    assert killed.find("data", {}) is None
    found: list[set[str]] = []

    def make(folder: Path) -> dict[str, Any]:
        found.append(names(folder))
        return {}

    killed.obtain("data", {}, make, resumable=True)
    assert "shard" in found[0]
    assert "next" not in found[0]


def test_what_is_not_resumable_begins_empty_after_a_kill(killed: Workspace) -> None:
    found: list[set[str]] = []

    def make(folder: Path) -> dict[str, Any]:
        found.append(names(folder))
        return {}

    killed.obtain("data", {}, make)
    assert found == [set()]


def test_the_half_file_of_a_killed_run_does_not_enter_the_artifact(killed: Workspace) -> None:
    made = killed.obtain("data", {}, maker([]), resumable=True)
    assert names(made.path) == {"shard", "content", "manifest.json"}


def test_a_folder_without_manifest_is_no_artifact_and_is_made_again(tmp_path: Path) -> None:
    """As an interrupted `rm -r` leaves it."""
    workspace, calls = Workspace(tmp_path), []
    made = workspace.obtain("data", INPUTS, maker(calls))
    (made.path / "manifest.json").unlink()
    assert workspace.find("data", INPUTS) is None
    workspace.obtain("data", INPUTS, maker(calls))
    assert len(calls) == 2
    assert workspace.find("data", INPUTS) == made


# several processes

BOTH = """
import sys, time
from pathlib import Path
from distillkit.artifacts.workspace import Workspace
log, go = Path(sys.argv[2]), Path(sys.argv[3])
def make(folder):
    with log.open("a") as file:
        file.write("made\\n")
    end = time.monotonic() + 30
    while not go.exists() and time.monotonic() < end:
        time.sleep(0.01)
    (folder / "content").write_text("all of it")
    return {"rows": 1}
print(Workspace(sys.argv[1]).obtain("data", {}, make).manifest()["facts"])
"""


def test_of_two_processes_one_makes_and_the_other_waits(tmp_path: Path) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    with child(BOTH, tmp_path, log, go) as first:
        until(log.exists)
        with child(BOTH, tmp_path, log, go) as second:
            assert second.stderr is not None
            line = second.stderr.readline()
            assert f"process {first.pid} of " in line
            assert line.endswith("is making it; waiting\n")
            go.touch()
            said = [process.communicate(timeout=30) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert [out for out, _ in said] == ["{'rows': 1}\n"] * 2
    assert [err for _, err in said] == ["", ""]
    assert log.read_text() == "made\n"


def test_who_waits_makes_it_when_the_maker_is_killed(tmp_path: Path) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    with child(BOTH, tmp_path, log, go) as first:
        until(log.exists)
        with child(BOTH, tmp_path, log, go) as second:
            assert second.stderr is not None
            second.stderr.readline()
            first.kill()
            go.touch()
            out, _ = second.communicate(timeout=30)
    assert (second.returncode, out) == (0, "{'rows': 1}\n")
    assert log.read_text() == "made\n" * 2


def test_what_another_process_of_the_run_has_made_is_awaited(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(WorkspaceError) as caught:
        workspace.await_artifact("data", INPUTS, seconds=0)
    for part in (f"workspace = {tmp_path}", socket.gethostname(), "all machines share"):
        assert part in str(caught.value)
    made = workspace.obtain("data", INPUTS, maker([]))
    assert workspace.await_artifact("data", INPUTS, seconds=0) == made


# what the disk refuses


def file_in_the_way(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("no folder")
    return tmp_path / "file"


@pytest.mark.parametrize("below", [(), ("workspace",), ("deep", "down")])
def test_a_workspace_at_or_below_a_file_is_refused_by_name(tmp_path: Path, below: Any) -> None:
    root = file_in_the_way(tmp_path).joinpath(*below)
    with pytest.raises(WorkspaceError) as caught:
        Workspace(root).check_writable()
    assert f"workspace = {root}" in str(caught.value)
    assert "DISTILLKIT_WORKSPACE" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_obtain_refuses_such_a_workspace_too(tmp_path: Path) -> None:
    calls: list[Path] = []
    with pytest.raises(WorkspaceError, match="workspace = "):
        Workspace(file_in_the_way(tmp_path) / "below").obtain("data", INPUTS, maker(calls))
    assert not calls


def test_a_writable_workspace_passes_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    Workspace(tmp_path / "new").check_writable()
    assert names(tmp_path / "new") == set()


FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]
CLOSED = [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR]


@pytest.mark.parametrize(
    ("number", "way_out"), [(n, "is full") for n in FULL] + [(n, "can be written") for n in CLOSED]
)
def test_a_full_or_closed_disk_becomes_one_line(tmp_path: Path, number: int, way_out: str) -> None:
    one_line = rf"\Aworkspace = {tmp_path}: .*{way_out}"
    with pytest.raises(WorkspaceError, match=one_line), Workspace(tmp_path).guard():
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [*FULL[::2], errno.EROFS, errno.EACCES])
def test_an_os_error_told_in_words_becomes_one_line(tmp_path: Path, number: int) -> None:
    with pytest.raises(WorkspaceError, match=os.strerror(number)), Workspace(tmp_path).guard():
        raise ValueError(f"I/O error: {os.strerror(number)} (os error {number})")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "No such file"),
        ValueError("I/O error (os error 2)"),
        KeyError("text"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_pass_as_they_are(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, Workspace(tmp_path).guard():
        raise error
    assert caught.value is error


def test_a_closed_file_elsewhere_is_not_blamed_on_the_workspace(tmp_path: Path) -> None:
    with pytest.raises(Exception) as caught, Workspace(tmp_path / "workspace").guard():
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/reviews.csv")
    assert "set workspace=" not in str(caught.value)
    assert "/elsewhere/reviews.csv" in str(caught.value)


LIMITED = """
import json, resource, sys
from pathlib import Path
import numpy as np, pyarrow, torch
from datasets import Dataset, disable_progress_bars
from safetensors.torch import save_file
from distillkit.artifacts.workspace import Workspace, write_json
from distillkit.token_table import TokenTable
from distillkit.artifacts.digests import file_sha256, sealed
from distillkit.errors import WorkspaceError
from distillkit.types import Outputs
from distillkit.targets import Dense, TargetWriter
disable_progress_bars()
MANY = 50_000
flat = np.zeros(MANY)
table = TokenTable(flat, np.array([0, MANY]), None, np.zeros(1, "S16"), flat[:1], flat[:1])
keys = np.zeros(MANY, "S16")
def write_targets(out):
    with TargetWriter(out, Dense()) as writer:
        writer.describe(Outputs(torch.zeros(1, 1)))
        logits = flat[:, None].astype(np.float32)
        writer.write(0, keys, np.ones(MANY, int), {"logits": logits})
writers = {
    "json": lambda out: write_json(out / "a.json", "x" * MANY),
    "tokens": lambda out: table.save(out),
    "targets": lambda out: write_targets(out),
    "weights": lambda out: save_file({"a": torch.zeros(MANY)}, out / "a.safetensors"),
    "corpus": lambda out: Dataset.from_dict({"a": flat}).save_to_disk(str(out / "train")),
}
workspace, said = Workspace(sys.argv[1]), {}
sys.dont_write_bytecode = True  # a compiled file would be cut short, and then be used
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for name, write in writers.items():
    try:
        workspace.obtain(name, {}, write)
        said[name] = "nothing was refused"
    except Exception as error:
        said[name] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """What each writer says where no file may grow beyond 20,000 bytes."""
    root = tmp_path_factory.mktemp("limited")
    with child(LIMITED, root) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return root, json.loads(out)


@pytest.mark.parametrize("writer", ["json", "tokens", "targets", "weights", "corpus"])
def test_a_full_disk_is_told_in_one_line_whoever_writes(
    limited: tuple[Path, dict[str, str]], writer: str
) -> None:
    root, said = limited
    assert said[writer].startswith(f"WorkspaceError: workspace = {root}: ")
    assert "free some space" in said[writer]
    assert "\n" not in said[writer]
    assert not list(root.glob(f"{writer}-*"))


# files that are whole or not there


def test_atomic_replaces_the_old_file_by_the_whole_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_atomic_keeps_the_old_file_when_the_block_fails(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(type(error)), atomic(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == {"file"}


def test_atomic_leaves_nothing_when_the_block_wrote_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "file"):
        pass
    assert names(tmp_path) == set()


def test_json_is_read_back_and_what_is_no_json_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"name": "Zoë", "of": [1, None]})
    assert artifacts.read_json(path) == {"name": "Zoë", "of": [1, None]}
    with pytest.raises(TypeError):
        write_json(path, {"name": object()})
    assert artifacts.read_json(path)["name"] == "Zoë"
    assert names(tmp_path) == {"a.json"}


# damage


def flip(path: Path, place: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped": (lambda p: flip(p / "content"), "content: altered (its sha256 is not the one"),
    "cut": (lambda p: cut(p / "content"), "content: 5 bytes, not 9"),
    "gone": (lambda p: (p / "content").unlink(), "content: missing"),
    "emptied": (lambda p: (p / "content").write_text(""), "content: 0 bytes, not 9"),
    "extra": (lambda p: (p / "more.bin").write_text("x"), "more.bin: is not in its manifest.json"),
    "folder": (
        lambda p: ((p / "content").unlink(), (p / "content").mkdir()),
        "content: is a folder, not a file",
    ),
    "pipe": (
        lambda p: ((p / "content").unlink(), os.mkfifo(p / "content")),
        "content: is a pipe, not a file",
    ),
    "link to itself": (
        lambda p: ((p / "content").unlink(), (p / "content").symlink_to("content")),
        "content: is a link that leads back to itself, not a file",
    ),
    "link to nothing": (
        lambda p: ((p / "content").unlink(), (p / "content").symlink_to("gone")),
        "content: is a link to gone, where nothing is",
    ),
    "manifest folder": (
        lambda p: ((p / "manifest.json").unlink(), (p / "manifest.json").mkdir()),
        "manifest.json: is a folder, not a file",
    ),
    "manifest pipe": (
        lambda p: ((p / "manifest.json").unlink(), os.mkfifo(p / "manifest.json")),
        "manifest.json: is a pipe, not a file",
    ),
    "manifest link": (
        lambda p: ((p / "manifest.json").unlink(), (p / "manifest.json").symlink_to("gone")),
        "manifest.json: is a link to gone, where nothing is",
    ),
    "manifest cut": (lambda p: cut(p / "manifest.json"), "manifest.json: JSONDecodeError"),
    "manifest emptied": (
        lambda p: (p / "manifest.json").write_text(""),
        "manifest.json: JSONDecodeError",
    ),
    "manifest a list": (
        lambda p: (p / "manifest.json").write_text("[]"),
        "manifest.json: is no JSON object",
    ),
    "manifest of nothing": (
        lambda p: (p / "manifest.json").write_text("{}"),
        "manifest.json: lacks some of kind, fingerprint, inputs and facts",
    ),
    "manifest no text": (
        lambda p: (p / "manifest.json").write_bytes(b"\xff\xfe{}"),
        "manifest.json: UnicodeDecodeError",
    ),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_artifact_is_refused_by_name(tmp_path: Path, how: str) -> None:
    made = Workspace(tmp_path).obtain("data", INPUTS, maker([]))
    damage, line = DAMAGES[how]
    damage(made.path)
    for found in (
        lambda: Workspace(tmp_path).find("data", INPUTS),
        lambda: Workspace(tmp_path).obtain("data", INPUTS, maker([])),
    ):
        with pytest.raises(WorkspaceError) as caught:
            found()
        assert str(caught.value).startswith(f"{made.path}: damaged: {line}")
        assert "--repair" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_artifact_is_made_again_where_its_kind_may_be(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Workspace(tmp_path).obtain("data", INPUTS, maker([]))
    damage, line = DAMAGES[how]
    damage(whole.path)
    workspace, calls = Workspace(tmp_path, repair=True), []
    assert workspace.find("data", INPUTS) is None
    assert workspace.find("data", INPUTS) is None
    made = workspace.obtain("data", INPUTS, maker(calls))
    assert len(calls) == 1
    assert made == whole == Workspace(tmp_path).find("data", INPUTS)
    assert names(made.path) == {"content", "manifest.json"}
    assert (made.path / "content").read_text() == "all of it"
    said = capsys.readouterr().err
    assert said.count("it is made again") == 1
    assert f"{made.path}: damaged: {line}" in said


@pytest.mark.parametrize("repair", [False, True])
def test_what_another_command_makes_is_left_as_it_is(tmp_path: Path, repair: bool) -> None:
    made = Workspace(tmp_path).obtain("teacher", INPUTS, maker([]))
    flip(made.path / "content")
    workspace, calls = Workspace(tmp_path, repair=repair, others=["teacher"]), []
    with pytest.raises(WorkspaceError, match="`distillkit train` with the same arguments and --r"):
        workspace.obtain("teacher", INPUTS, maker(calls))
    assert not calls


def test_no_bit_of_a_manifest_changes_unseen(tmp_path: Path) -> None:
    """A change of white space alone leaves the record as it is."""
    made = Workspace(tmp_path).obtain("data", INPUTS, maker([], {"score": 0.25}))
    path = made.path / "manifest.json"
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            try:
                same = json.loads(changed) == json.loads(content)
            except ValueError:
                same = False
            assert same or made.damage(Workspace(tmp_path).verifier), (place, bit)


def test_a_pipe_in_place_of_a_manifest_is_damage_and_nobody_waits_for_it(tmp_path: Path) -> None:
    made = Workspace(tmp_path).obtain("data", INPUTS, maker([]))
    (made.path / "manifest.json").unlink()
    os.mkfifo(made.path / "manifest.json")
    assert made.damage(Verifier("always")) == ["manifest.json: is a pipe, not a file"]


def test_what_is_no_folder_in_place_of_an_artifact_is_named_and_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Workspace(tmp_path).obtain("data", INPUTS, maker([]))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_text("mine")
    for put in (Path.touch, os.mkfifo, lambda path: path.symlink_to(tmp_path / "elsewhere")):
        shutil.rmtree(made.path)
        put(made.path)
        again = Workspace(tmp_path).obtain("data", INPUTS, maker([]))
        assert f"{made.path}: damaged: manifest.json: missing" in capsys.readouterr().err
        assert not again.path.is_symlink() and not again.damage(Verifier("always"))
    assert (tmp_path / "elsewhere" / "mine").read_text() == "mine"


def test_the_manifest_of_another_artifact_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    made = workspace.obtain("data", INPUTS, maker([]))
    other = workspace.obtain("data", {"lr": 1}, maker([]))
    (made.path / "manifest.json").write_bytes((other.path / "manifest.json").read_bytes())
    with pytest.raises(WorkspaceError, match=f"manifest.json: is that of {other.name}"):
        Workspace(tmp_path).find("data", INPUTS)


def test_a_sealed_manifest_of_other_inputs_is_refused(tmp_path: Path) -> None:
    made = Workspace(tmp_path).obtain("data", INPUTS, maker([]))
    record = made.manifest() | {"inputs": {"lr": 1}}
    write_json(made.path / "manifest.json", sealed(record))
    with pytest.raises(WorkspaceError, match="its inputs do not give its fingerprint"):
        Workspace(tmp_path).find("data", INPUTS)


def test_a_newer_manifest_is_not_called_damaged(tmp_path: Path) -> None:
    made = Workspace(tmp_path).obtain("data", INPUTS, maker([]))
    write_json(made.path / "manifest.json", sealed(made.manifest() | {"version": 99}))
    for repair in (False, True):
        with pytest.raises(WorkspaceError, match="made by a newer distillkit"):
            Workspace(tmp_path, repair=repair).find("data", INPUTS)


def earlier(made: artifacts.Artifact) -> None:
    """Leave of a manifest what the first version wrote."""
    manifest = made.manifest()
    for key in ("version", "files", "digest"):
        del manifest[key]
    write_json(made.path / "manifest.json", manifest)


def test_what_an_earlier_version_made_is_taken_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Workspace(tmp_path).obtain("data", INPUTS, maker([]))
    earlier(made)
    workspace = Workspace(tmp_path)
    assert workspace.find("data", INPUTS) == workspace.find("data", INPUTS) == made
    said = capsys.readouterr().err
    assert said.count("made by an earlier version, which wrote no checksums") == 1


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_the_weights_that_an_earlier_version_made_are_verified(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    def model(folder: Path) -> dict[str, Any]:
        (folder / "model").mkdir()
        weights = folder / "model" / "model.safetensors"
        weights.write_text("weights")
        return {"weights_sha256": file_sha256(weights)}

    made = Workspace(tmp_path).obtain("student", INPUTS, model)
    earlier(made)
    assert Workspace(tmp_path).find("student", INPUTS) == made
    damage(made.path / "model" / "model.safetensors")
    with pytest.raises(WorkspaceError, match=r"damaged: model/model.safetensors: "):
        Workspace(tmp_path).find("student", INPUTS)


def test_a_key_that_is_a_number_gives_one_fingerprint_before_and_after_json() -> None:
    inputs = {"layers": {2: 1, 10: 2}}
    assert fingerprint(inputs) == fingerprint(json.loads(json.dumps(inputs)))


# a run that is killed while it commits


def training(calls: list[Path]) -> Callable[[Path], Any]:
    """A make that goes on from its checkpoint."""

    def make(folder: Path) -> dict[str, Any]:
        calls.append(folder)
        (folder / "checkpoint-1").mkdir(exist_ok=True)
        (folder / "checkpoint-1" / "learner").write_text("half of it")
        (folder / "content").write_text("all of it")
        return {"rows": 3}

    return make


def test_checkpoints_are_there_until_the_artifact_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the manifest cannot be written, nothing is lost; they are no part of the artifact."""
    workspace, real = Workspace(tmp_path), artifacts.write_json

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(artifacts, "write_json", full)
    words = {"resumable": True, "scratch": ("checkpoint-*",)}
    with pytest.raises(WorkspaceError, match="free some space"):
        workspace.obtain("student", INPUTS, training([]), **words)  # type: ignore[arg-type]
    partial = workspace.partial("student", INPUTS)
    assert (partial / "checkpoint-1" / "learner").is_file()
    monkeypatch.setattr(artifacts, "write_json", real)
    made = workspace.obtain("student", INPUTS, training([]), **words)  # type: ignore[arg-type]
    assert names(made.path) == {"content", "manifest.json"}
    assert list(made.manifest()["files"]) == ["content"]
    assert not list((tmp_path / ".partial").iterdir())


@pytest.mark.parametrize("is_damaged", [False, True])
def test_what_was_complete_when_a_run_was_killed_is_not_made_again(
    is_damaged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, real, calls = Workspace(tmp_path), artifacts.commit, []

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artifacts, "commit", killed)
    words = {"resumable": True, "scratch": ("checkpoint-*",)}
    with pytest.raises(KeyboardInterrupt):
        workspace.obtain("student", INPUTS, training(calls), **words)  # type: ignore[arg-type]
    assert workspace.find("student", INPUTS) is None
    monkeypatch.setattr(artifacts, "commit", real)
    if is_damaged:
        flip(workspace.partial("student", INPUTS) / "content")
    made = Workspace(tmp_path).obtain("student", INPUTS, training(calls), **words)  # type: ignore[arg-type]
    assert len(calls) == 1 + is_damaged
    assert (made.path / "content").read_text() == "all of it"
    assert names(made.path) == {"content", "manifest.json"}
