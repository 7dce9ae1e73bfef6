"""Every kind of file in a complete workspace, damaged in every way: named, never used, made again.

The whole is `pytest -m slow tests/faults/test_damage.py`; by default each kind of file is damaged
in one way on the command line, and in all ways below it.
"""

import json
import shutil
from pathlib import Path

import pytest

from distillkit.artifacts.digests import Verifier
from distillkit.artifacts.workspace import Artifact, Workspace
from tests.cli.conftest import finished  # noqa: F401
from tests.cli.runs import Finished, run, with_overrides
from tests.conftest import Result
from tests.faults.damages import DAMAGES, damaged, kinds_of_files


@pytest.fixture(scope="module")
def copy(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:  # noqa: F811
    """A complete workspace to be written to; what an earlier test made stays in it."""
    return copied(finished, tmp_path_factory.mktemp("copy"))


@pytest.fixture
def fresh(finished: Finished, tmp_path: Path) -> Finished:  # noqa: F811
    """A complete workspace of one run."""
    return copied(finished, tmp_path)


def copied(finished: Finished, folder: Path) -> Finished:  # noqa: F811
    shutil.copytree(finished.workspace, folder / "workspace")
    words = with_overrides(finished.words, f"workspace={folder / 'workspace'}")
    return Finished(words, folder / "workspace", folder, finished.result)


def whose(path: Path, workspace: Path) -> Artifact:
    """The artifact that a file belongs to."""
    name = path.relative_to(workspace).parts[0]
    kind, _, digest = name.rpartition("-")
    return Artifact(kind, digest, workspace / name)


def contents(workspace: Path) -> dict[str, dict[str, str]]:
    """The sha256 of what each artifact holds, but for what was measured or dated."""
    found = {}
    for path in workspace.glob("*/manifest.json"):
        if path.parent.name.startswith("evaluation"):
            continue
        files = json.loads(path.read_text())["files"]
        found[path.parent.name] = {name: file["sha256"] for name, file in files.items()}
    return found


def words_of(copy: Finished, kind: str) -> list[str]:
    """The words of a run that uses an artifact: tokens are for a student that is yet to be made."""
    return (
        with_overrides(copy.words, "optimizer.lr=1e-3") if kind.startswith("tokens") else copy.words
    )


def judged(result: Result, path: Path, workspace: Path) -> str:
    """How a command met a damaged file: "named", or what went wrong."""
    artifact = whose(path, workspace)
    said = result.err + result.out
    if "Traceback" in said:
        return f"traceback: {said[-500:]}"
    name = path.relative_to(artifact.path).as_posix()
    if f"{artifact.path}: damaged: {name}: " not in result.err:
        return f"not named: {said[-500:]}"
    if result.code == 0:
        # only what has no manifest any more counts as not there, and was made again
        return "named" if name == "manifest.json" and path.is_file() else "used"
    ours = [line for line in result.err.splitlines() if line.startswith("distillkit: ")]
    return "named" if result.code == 2 and len(ours) == 1 else f"exit {result.code}: {said[-500:]}"


def test_every_damage_to_every_kind_of_file_is_found(copy: Finished) -> None:
    kinds = kinds_of_files(copy.workspace)
    assert {name.partition("/")[0] for name in kinds} == {
        *("data", "transfer", "tokens", "teacher", "targets", "student", "evaluation")
    }
    unseen = []
    for kind, (path, other) in kinds.items():
        artifact = whose(path, copy.workspace)
        for how, damage in DAMAGES.items():
            with damaged(path, other, damage):
                found = not artifact.damage(Verifier("always"))
                is_gone = Workspace(copy.workspace).find(artifact.kind, {}) is None
            if found and not (path.name == "manifest.json" and is_gone):
                unseen.append(f"{kind}, {how}")
        assert not artifact.damage(Verifier("always"))
    print(f"{len(kinds)} kinds of files x {len(DAMAGES)} damages: {len(unseen)} unseen")  # noqa: T201
    assert not unseen, unseen


SOME = {
    "tokens/ids.npy": "a third",
    "teacher/model/model.safetensors": "last byte",
    "targets/shard-N.arrow": "one byte less",
    "student/model/model.safetensors": "half",
    "evaluation/predictions.csv": "another's",
}


@pytest.mark.parametrize("kind", SOME)
def test_a_damaged_file_ends_a_run_with_one_line(copy: Finished, kind: str) -> None:
    path, other = kinds_of_files(copy.workspace)[kind]
    outputs = set(copy.folder.glob("outputs/*/*"))
    with damaged(path, other, DAMAGES[SOME[kind]]):
        result = run(copy.folder, "train", *words_of(copy, kind))
    assert judged(result, path, copy.workspace) == "named"
    assert "; the same command with --repair makes it again" in result.err
    assert set(copy.folder.glob("outputs/*/*")) == outputs


@pytest.mark.slow
def test_every_damage_to_every_kind_of_file_ends_a_run_with_one_line(copy: Finished) -> None:
    kinds = kinds_of_files(copy.workspace)
    verdicts: dict[str, list[str]] = {}
    for kind, (path, other) in kinds.items():
        for how in ("a third", "half", "gone"):
            if kind.endswith("manifest.json") and how == "gone":
                continue  # made again: below
            damage = DAMAGES[how]
            with damaged(path, other, damage):
                result = run(copy.folder, "train", *words_of(copy, kind))
            verdicts.setdefault(judged(result, path, copy.workspace), []).append(f"{kind}, {how}")
    counts = {verdict: len(cases) for verdict, cases in verdicts.items()}
    print(f"{len(kinds)} kinds of files x 3 damages: {counts}")  # noqa: T201
    assert set(verdicts) == {"named"}, {k: v for k, v in verdicts.items() if k != "named"}


def repaired(copy: Finished, names: list[str]) -> None:
    """Damage the artifacts of some kinds, repair them, and find the same bits."""
    before = contents(copy.workspace)
    kinds = kinds_of_files(copy.workspace)
    for name in names:
        path, other = kinds[name]
        DAMAGES["a third"](path, other)
    kind = "tokens" if names[0].startswith("tokens") else ""
    result = run(copy.folder, "train", "--repair", *words_of(copy, kind))
    assert result.code == 0, result.err
    for name in names:
        path, _ = kinds[name]
        artifact = whose(path, copy.workspace)
        line = f"{artifact.path}: damaged: {path.relative_to(artifact.path)}: "
        assert result.err.count(line) == 1, result.err
    assert before.items() <= contents(copy.workspace).items()
    again = run(copy.folder, "train", *copy.words)
    assert again.code == 0, again.err
    assert "damaged" not in again.err.replace(str(copy.folder), "")
    assert "all is there already" in again.err


def test_what_is_damaged_is_made_again_with_the_same_bits(copy: Finished) -> None:
    repaired(
        copy,
        [
            "data/manifest.json",
            "transfer/transfer/dataset_info.json",
            "teacher/model/model.safetensors",
            "targets/targets.json",
            "student/model/config.json",
            "evaluation/predictions.csv",
        ],
    )


@pytest.mark.slow
def test_every_artifact_is_made_again_with_the_same_bits(copy: Finished) -> None:
    firsts: dict[str, str] = {}
    for name in kinds_of_files(copy.workspace):
        if not name.endswith("manifest.json"):
            firsts.setdefault(name.partition("/")[0], name)
    for name in firsts.values():
        repaired(copy, [name])


def test_an_artifact_without_its_manifest_is_made_again(copy: Finished) -> None:
    before = contents(copy.workspace)
    path, _ = kinds_of_files(copy.workspace)["student/manifest.json"]
    path.unlink()
    result = run(copy.folder, "train", *copy.words)
    assert judged(result, path, copy.workspace) == "named"
    assert contents(copy.workspace) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "kind", "way_out"),
    [
        ("train-student", "student", "the same command with --repair"),
        ("generate-targets", "targets", "the same command with --repair"),
        ("evaluate", "evaluation", "the same command with --repair"),
        ("evaluate", "student", "`distillkit train` with the same arguments and --repair"),
        ("evaluate", "teacher", "`distillkit train` with the same arguments and --repair"),
        ("plan", "tokens", "the same command with --repair"),
    ],
)
def test_what_a_message_advises_mends_it(
    command: str, kind: str, way_out: str, fresh: Finished
) -> None:
    copy, before = fresh, contents(fresh.workspace)
    path = next(path for path in copy.workspace.glob(f"{kind}-*/manifest.json"))
    if kind == "student":  # not its control
        said = run(copy.folder, "train-student", *copy.words).out
        path = copy.workspace / Path(said.split()[-1]).parent.name / "manifest.json"
    DAMAGES["half"](path, path)
    result = run(copy.folder, command, *copy.words)
    assert judged(result, path, copy.workspace) == "named"
    assert way_out in result.err
    advised = "train" if "`distillkit train`" in result.err else command
    if advised != command:
        refused = run(copy.folder, command, "--repair", *copy.words)
        assert judged(refused, path, copy.workspace) == "named"
        assert refused.code == 2
    mended = run(copy.folder, advised, "--repair", *copy.words)
    assert mended.code == 0, mended.err
    assert run(copy.folder, command, *copy.words).code == 0
    assert contents(copy.workspace) == before


def test_never_looks_at_sizes_alone_and_always_reads_what_was_read(copy: Finished) -> None:
    path, other = kinds_of_files(copy.workspace)["evaluation/predictions.csv"]
    with damaged(path, other, DAMAGES["a third"]):
        assert run(copy.folder, "train", "workspace.verify=never", *copy.words).code == 0
        result = run(copy.folder, "train", "workspace.verify=always", *copy.words)
        assert judged(result, path, copy.workspace) == "named"
    with damaged(path, other, DAMAGES["half"]):
        result = run(copy.folder, "train", "workspace.verify=never", *copy.words)
        assert judged(result, path, copy.workspace) == "named"


@pytest.mark.slow
def test_damage_that_is_not_looked_for_ends_in_no_traceback(copy: Finished) -> None:
    """With verify=never a flip may be used, as the user chose; what cannot be read is one line."""
    kinds = {k: v for k, v in kinds_of_files(copy.workspace).items() if "manifest" not in k}
    faults = []
    for number, (kind, (path, other)) in enumerate(kinds.items()):
        for how in ("first byte", "a third"):
            words = with_overrides(
                copy.words, f"optimizer.lr={1e-3 + number * 1e-6}", "control=false"
            )
            with damaged(path, other, DAMAGES[how]):
                try:
                    result = run(copy.folder, "train", "workspace.verify=never", *words)
                except Exception as error:
                    faults.append(f"{kind}, {how}: {type(error).__name__}: {error}")
                    continue
            if result.code not in (0, 2) or "Traceback" in result.err:
                faults.append(f"{kind}, {how}: {result.err[-300:]}")
            if result.code == 0:
                break
    assert not faults, "\n".join(faults)
