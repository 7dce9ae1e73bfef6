"""`distillkit workspace`: it names what lies in a workspace in any state, and removes no halves."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distillkit.artifacts import removal, run_records
from distillkit.artifacts.holdings import look
from distillkit.artifacts.versions import VERSIONS
from distillkit.artifacts.workspace import Artifact, Workspace
from tests.cli.runs import assert_refused
from tests.conftest import Distillkit
from tests.faults.kills import made_elsewhere

TEXT = {"version": 7, "kind": "TextData", "sources": {"train": "file:" + 64 * "a"}}


def make(workspace: Workspace, kind: str, inputs: dict[str, Any], size: int = 1000) -> Artifact:
    def content(folder: Path) -> dict[str, Any]:
        (folder / "model").mkdir()
        (folder / "model" / "weights.bin").write_bytes(os.urandom(size))
        return {"examples": 12}

    return workspace.obtain(kind, inputs, content)


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Artifact]:
    """A workspace with text, a teacher, targets, a student and an evaluation that nothing names."""
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    data = make(workspace, "data", TEXT)
    teacher = make(
        workspace,
        "teacher",
        {"version": VERSIONS["teacher"], "data": data.fingerprint, "seed": 1},
        3000,
    )
    origin = {"teacher": {"fingerprint": teacher.fingerprint}, "data": {"labelled": TEXT}}
    codec = {"name": "dense"}
    inputs = {"version": VERSIONS["targets"], "origin": origin, "codec": codec}
    targets = make(workspace, "targets", inputs)
    loss = {"_target_": "distillkit.losses.ForwardKL"}
    student = make(
        workspace,
        "student",
        {
            "version": VERSIONS["student"],
            "targets": targets.fingerprint,
            "data": [data.fingerprint],
            "loss": loss,
        },
    )
    rows = {"student": student.fingerprint, "teacher": teacher.fingerprint}
    inputs = {"version": VERSIONS["evaluation"], "models": rows, "data": data.fingerprint}
    evaluation = make(workspace, "evaluation", inputs)
    every = (data, teacher, targets, student, evaluation)
    return {artifact.kind: artifact for artifact in every}


@pytest.fixture
def root(made: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DISTILLKIT_WORKSPACE", str(tmp_path / "workspace"))
    return tmp_path / "workspace"


def names(root: Path) -> set[str]:
    """The artifacts that a run would find."""
    return {path.parent.name for path in root.glob("*/manifest.json")}


def record(root: Path, *artifacts: Artifact, days: float = 0, **content: Any) -> Path:
    """A record of a run that ended so many days ago."""
    (root / ".runs").mkdir(exist_ok=True)
    path = root / ".runs" / f"{len(list((root / '.runs').iterdir()))}.json"
    ended = {"run": "mine", "ended": "then", "made": [it.name for it in artifacts], "used": []}
    path.write_text(json.dumps(ended | content))
    os.utime(path, (time.time() - days * 86_400,) * 2)
    return path


# list and size


def test_it_lists_what_is_there_what_made_it_and_what_needs_it(
    distillkit: Distillkit, made: dict[str, Artifact], root: Path
) -> None:
    record(root, made["teacher"])
    done = distillkit("workspace", "list")
    assert (done.code, done.err) == (0, "")
    rows = {line.split()[1]: line for line in done.out.splitlines() if line.startswith("│")}
    assert set(rows) >= {artifact.name for artifact in made.values()}
    said = {kind: rows[artifact.name] for kind, artifact in made.items()}
    assert "TextData, file aaaaaaa" in said["data"]
    assert "evaluation, student, targets" in said["data"]
    assert " mine " in said["teacher"]
    assert "needed by evaluation, targets" in said["teacher"]
    assert "ForwardKL, 12 examples" in said["student"]
    assert "nothing needs it" in said["evaluation"]
    assert "5 artifacts, " in done.out
    assert "1 that nothing needs (remove --unused)" in done.out


def test_sizes_are_those_of_the_files(
    distillkit: Distillkit, made: dict[str, Artifact], root: Path
) -> None:
    done = distillkit("workspace", "size", f"workspace={root}")
    assert done.code == 0, done.err
    size = sum(path.stat().st_size for path in root.rglob("*-*/**/*") if path.is_file())
    (line,) = (line for line in done.out.splitlines() if "in all" in line)
    assert f"{size / 1e3:,.1f} kB" in line
    (line,) = (line for line in done.out.splitlines() if "teacher" in line)
    assert "3." in line


# verify


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "manifest", "torn", "extra", "renamed"])
def test_what_is_damaged_is_named_and_can_be_removed(
    distillkit: Distillkit, made: dict[str, Artifact], root: Path, damage: str
) -> None:
    student = made["student"].path
    file, manifest = student / "model" / "weights.bin", student / "manifest.json"
    if damage == "flip":
        content = bytearray(file.read_bytes())
        content[500] ^= 1
        file.write_bytes(content)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "gone":
        file.unlink()
    elif damage == "manifest":
        manifest.write_text(manifest.read_text().replace("ForwardKL", "ReverseKL"))
    elif damage == "torn":
        manifest.write_text(manifest.read_text()[:-20])
    elif damage == "extra":
        (student / "more.bin").write_text("x")
    else:
        student = student.rename(root / f"student-{16 * '0'}")
    line = assert_refused(
        distillkit("workspace", "verify"), "1 of 5 artifacts are damaged", student.name
    )
    assert "--repair" in line
    if damage != "flip":  # which only reading shows
        assert "1 damaged (remove --damaged)" in distillkit("workspace", "list").out
    done = distillkit("workspace", "remove", "--damaged", "--yes")
    assert done.code == 0, done.err
    assert "1 removed" in done.out
    assert names(root) == {it.name for it in made.values()} - {made["student"].name}
    assert distillkit("workspace", "verify").out.endswith("all 4 artifacts are whole\n")


# remove


def test_what_nothing_needs_goes_layer_by_layer(
    distillkit: Distillkit, made: dict[str, Artifact], root: Path
) -> None:
    gone = []
    while names(root):
        before = names(root)
        assert distillkit("workspace", "remove", "--unused", "--yes").code == 0
        gone.append({name.partition("-")[0] for name in before - names(root)})
    assert gone == [{"evaluation"}, {"student"}, {"targets"}, {"teacher"}, {"data"}]
    assert not list((root / ".locks").iterdir())
    assert not (root / ".trash").exists()
    said = distillkit("workspace", "remove", "--unused", "--yes").out
    assert said.endswith("nothing to remove\n")


def test_what_a_recent_run_names_stays(
    distillkit: Distillkit, made: dict[str, Artifact], root: Path, tmp_path: Path
) -> None:
    record(root, made["evaluation"], days=29)
    distillkit("workspace", "remove", "--unused", "--yes")
    assert len(names(root)) == 5
    distillkit("workspace", "remove", "--unused", "--yes", "--days", "28")
    assert len(names(root)) == 4
    here = os.uname().nodename
    record(root, made["student"], host=here, output=str(tmp_path))
    distillkit("workspace", "remove", "--unused", "--yes")
    assert len(names(root)) == 4
    shutil.rmtree(root / ".runs")
    record(root, made["student"], host=here, output=str(tmp_path / "gone"))
    distillkit("workspace", "remove", "--unused", "--yes")
    assert len(names(root)) == 3


def test_that_others_need_it_is_said_before_it_goes(
    distillkit: Distillkit, made: dict[str, Artifact], root: Path
) -> None:
    name = made["teacher"].name
    done = distillkit("workspace", "remove", name)
    assert_refused(done, "--yes removes all of these")
    assert f"{name}: " in done.err
    assert f"needed by {made['evaluation'].name}, {made['targets'].name}, which stay" in done.err
    assert name in names(root)
    done = distillkit("workspace", "remove", name[:-4], "--yes")
    assert done.code == 0, done.err
    assert len(names(root)) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["remove"], "needs a NAME, --unused, --partial, --damaged or --earlier"),
        (["remove", "nothing-0", "--yes"], "nothing-0: not in "),
        (["remove", "", "--yes"], ": not in "),
        (["remove", "..", "--yes"], "..: not in "),
        (["remove", "/", "--yes"], "/: not in "),
        (["remove", ".partial/..", "--yes"], ".partial/..: not in "),
        (["remove", "foreign", "--yes"], "foreign: is not distillkit's own"),
        (["remove", "--unused", "--days", "x"], "--days x: must be a number of days"),
        (["remove", "--unused", "--days", "nan"], "--days nan: must be a number of days"),
        (["list", "student-0"], "student-0: takes workspace=FOLDER"),
        (["list", "workspace="], "workspace=: needs a folder after it"),
        (["list", "workspace=nowhere"], "workspace = nowhere: no such folder"),
        (["list", "workspace=file"], "workspace = file: is a file"),
        (["verify", "nothing-0"], "nothing-0: not in "),
        (["size", "other=1"], "other=1: takes workspace=FOLDER"),
        (["tidy"], "invalid choice"),
        ([], "the following arguments are required: ACTION"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    distillkit: Distillkit,
    made: dict[str, Artifact],
    root: Path,
    tmp_path: Path,
    words: list[str],
    said: str,
) -> None:
    (root / "foreign").mkdir()
    (tmp_path / "file").write_text("")
    assert_refused(distillkit("workspace", *words), said)
    assert len(names(root)) == 5
    assert (root / "foreign").is_dir()


def test_what_killed_runs_left_is_named_with_its_age_and_removed(
    distillkit: Distillkit, made: dict[str, Artifact], root: Path
) -> None:
    begun = root / ".partial" / f"student-{16 * '1'}"
    (begun / "checkpoint-3").mkdir(parents=True)
    (begun / "checkpoint-3" / "weights.bin").write_bytes(bytes(5000))
    for path in (begun / "checkpoint-3" / "weights.bin", begun / "checkpoint-3", begun):
        os.utime(path, (time.time() - 3 * 86_400,) * 2)
    (root / ".trash" / "teacher-x").mkdir(parents=True)
    (root / ".probe-17").write_text("x")
    said = distillkit("workspace", "list").out
    assert f".partial/{begun.name}: 5.0 kB, 3 d old, begun; a run goes on here" in said
    assert ".trash/teacher-x: " in said
    assert "1 begun (remove --partial)" in said
    done = distillkit("workspace", "remove", "--partial", "--yes")
    assert "3 removed, 5.0 kB" in done.out, done.err
    assert not begun.exists() and not (root / ".trash").exists()
    assert len(names(root)) == 5


def test_what_a_running_command_makes_or_uses_stays(
    distillkit: Distillkit, made: dict[str, Artifact], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation, student = made["evaluation"], made["student"]
    with made_elsewhere(root / ".locks" / f"{evaluation.name}.lock"):
        assert_refused(
            distillkit("workspace", "remove", evaluation.name, "--yes"), "makes or removes it"
        )
        done = distillkit("workspace", "remove", "--unused", "--yes")
        assert "nothing to remove" in done.out
    under_way = run_records.RunRecord(root, "[/]\x1b[1m now")
    under_way.note(student.name, is_new=False)
    said = distillkit("workspace", "list").out
    assert r"in use by [/]\x1b[1m now" in said
    assert "1 runs under way" in said
    assert_refused(
        distillkit("workspace", "remove", student.name, "--yes"), "under way uses it ([/]"
    )
    under_way.close()
    run_records.close_all()
    assert distillkit("workspace", "remove", student.name, "--yes").code == 0


HELD = """
import sys, time
from pathlib import Path
from distillkit.artifacts.run_records import RunRecord
record = RunRecord(Path(sys.argv[1]), "killed")
record.note(sys.argv[2], is_new=False)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_killed_run_holds_nothing(
    distillkit: Distillkit, made: dict[str, Artifact], root: Path
) -> None:
    name = made["student"].name
    with subprocess.Popen(
        [sys.executable, "-c", HELD, root, name], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout and child.stdout.readline() == "ready\n"
        assert_refused(
            distillkit("workspace", "remove", name, "--yes"), "under way uses it (killed)"
        )
        child.kill()
    assert distillkit("workspace", "remove", name, "--yes").code == 0


def test_a_removal_that_is_killed_leaves_no_half(
    made: dict[str, Artifact], root: Path, monkeypatch: pytest.MonkeyPatch, distillkit: Distillkit
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(removal, "_delete", killed)
    assert distillkit("workspace", "remove", made["student"].name, "--yes").code == 130
    monkeypatch.undo()
    assert made["student"].name not in names(root)
    assert not made["student"].path.exists()
    assert [path.name[:7] for path in (root / ".trash").iterdir()] == ["student"]
    done = distillkit("workspace", "remove", "--partial", "--yes", f"workspace={root}")
    assert "1 removed" in done.out
    assert not (root / ".trash").exists()


def test_the_words_of_a_killed_removal_go_on_where_it_was(
    distillkit: Distillkit,
    made: dict[str, Artifact],
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was removed before the kill is gone already; what was not goes now."""
    words = ["workspace", "remove", made["student"].name, f"{made['targets'].name}/", "--yes"]
    killed = removal.remove
    calls: list[str] = []

    def once(root: Path, holding: Any) -> bool:
        calls.append(holding.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return killed(root, holding)

    with monkeypatch.context() as patched:
        patched.setattr("distillkit.cli.commands.workspace.remove", once)
        assert distillkit(*words).code == 130
    first, second = calls
    assert names(root) & {first, second} == {second}
    done = distillkit(*words)
    assert done.code == 0, done.err
    assert f"{first}: is gone already" in done.err
    assert "1 removed" in done.out
    assert not names(root) & {first, second}
    done = distillkit(*words)
    assert (done.code, done.err.count("is gone already")) == (0, 2)
    assert "nothing to remove" in done.out
    refused = distillkit("workspace", "remove", f"student-{16 * '0'}", "--yes")
    assert_refused(refused, "not in")  # of which nobody knows


def test_two_removals_at_once_remove_each_thing_once(made: dict[str, Artifact], root: Path) -> None:
    workspace = Workspace(root)
    for seed in range(30):
        make(workspace, "tokens", {"seed": seed})
    held = [it for it in look(root, days=30).entries if it.kind == "tokens"]
    counts: list[int] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            counts.append(sum(removal.remove(root, it) for it in held))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(counts) == 30
    assert len(names(root)) == 5


# workspaces in any state


@pytest.fixture
def odd(made: dict[str, Artifact], root: Path, tmp_path: Path) -> Iterator[Path]:
    """A workspace with all that does not belong into one."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "manifest.json").write_text("{}")
    (outside / "precious").write_text("x")
    (root / f"student-{16 * 'a'}").symlink_to(outside)
    (root / f"student-{16 * 'b'}").symlink_to(root / "nowhere")
    (root / f"student-{16 * 'c'}").mkdir()
    (root / f"student-{16 * 'd'}").write_text("a file")
    (root / "a [bold]\x1b[31mfolder\u202e").mkdir()
    (root / b"\xff\xfe".decode("utf-8", "surrogateescape")).write_text("x")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")
    for number, content in enumerate(
        [
            "[]",
            "null",
            '{"kind": 3}',
            "[" * 100_000,
            '{"kind": "data", "fingerprint": [], "inputs": [], "facts": 7, "version": "x"}',
            '{"inputs": {"seed": [], "models": 3, "loss": 1}, "created": 9, "version": 99}',
            "\ud800",
        ]
    ):
        folder = root / f"data-{number:016d}"
        folder.mkdir()
        (folder / "manifest.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    (root / f"data-{16 * 'e'}" / "manifest.json").mkdir(parents=True)
    (root / f"data-{16 * 'f'}").mkdir()
    os.mkfifo(root / f"data-{16 * 'f'}" / "manifest.json")
    (root / ".partial" / "odd").symlink_to(outside)
    (root / "assets").symlink_to(outside)
    (root / ".runs").mkdir()
    for number, content in enumerate(["[]", "{", '{"made": {}, "used": [1], "ended": null}']):
        (root / ".runs" / f"{number}.json").write_text(content)
    yield outside


def test_whatever_lies_in_it_is_named_and_nothing_outside_is_touched(
    distillkit: Distillkit, odd: Path, root: Path, made: dict[str, Artifact]
) -> None:
    for action in ("list", "size"):
        done = distillkit("workspace", action)
        assert done.code == 0, done.err
        assert not {"\x1b", "\u202e"} & set(done.out)
    said = distillkit("workspace", "list").out
    assert r"a [bold]\x1b[31mfolder\u202e: " in said
    assert "a link to " in said
    line = assert_refused(distillkit("workspace", "verify"), "artifacts are damaged")
    assert "Traceback" not in line
    done = distillkit("workspace", "remove", "--damaged", "--partial", "--yes")
    assert done.code == 0, done.err
    done = distillkit("workspace", "remove", "--unused", "--yes", "--days", "0")
    assert done.code == 0, done.err
    assert (odd / "precious").read_text() == "x"
    assert (odd / "manifest.json").exists()
    assert (root / "pipe").exists()
    assert (root / "loop").is_symlink()
    assert names(root) & {it.name for it in made.values()}
    assert distillkit("workspace", "verify").code == 0


@pytest.mark.parametrize("action", ["list", "size", "verify"])
def test_an_empty_workspace_holds_nothing(
    distillkit: Distillkit, tmp_path: Path, action: str
) -> None:
    (tmp_path / ".distillkit").mkdir()
    assert distillkit("workspace", action).code == 0


def test_a_workspace_may_be_one_that_is_only_read(
    distillkit: Distillkit, made: dict[str, Artifact], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(root.rglob("*"))

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13), str(root))

    for name in ("mkdir", "write_text", "write_bytes", "rename", "replace", "unlink", "touch"):
        monkeypatch.setattr(Path, name, closed)
    for action in ("list", "size", "verify"):
        done = distillkit("workspace", action)
        assert done.code == 0, done.err
    line = assert_refused(distillkit("workspace", "remove", made["student"].name, "--yes"))
    assert "cannot be removed (Permission denied)" in line
    monkeypatch.undo()
    assert sorted(root.rglob("*")) == before


def test_a_manifest_of_a_million_fields_is_read_in_seconds(
    distillkit: Distillkit, root: Path
) -> None:
    inputs = {"models": {f"m{i}": {"x": [str(i)]} for i in range(200_000)}}
    folder = root / f"data-{16 * '0'}"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"inputs": inputs, "facts": {}}))
    began = time.process_time()
    assert distillkit("workspace", "list").code == 0
    assert time.process_time() - began < 30


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from distillkit.cli.commands import workspace; "
        "print(sorted({'torch', 'transformers', 'hydra', 'pyarrow', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("action", ["list", "verify", "remove", "size"])
def test_every_action_has_a_help_of_its_own(distillkit: Distillkit, action: str) -> None:
    done = distillkit("workspace", action, "--help")
    assert done.code == 0
    assert done.out.startswith(f"usage: distillkit workspace {action}")
    assert action in distillkit("workspace", "--help").out
