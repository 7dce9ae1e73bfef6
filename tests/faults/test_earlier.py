"""A workspace that an earlier version made: what no run will use is told, and can be removed."""

import json
from pathlib import Path

import pytest

from distillkit.artifacts import earlier, versions
from tests.cli.conftest import finished  # noqa: F401
from tests.cli.runs import Finished, run, with_overrides
from tests.faults.test_damage import contents, copied

LINE = "made by an earlier version and will not be used"


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Finished:  # noqa: F811
    earlier.tell_earlier.cache_clear()
    return copied(finished, tmp_path)


def raised(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """As the next version of distillkit is, in which a kind of artifact holds something else."""
    monkeypatch.setitem(versions.VERSIONS, kind, versions.VERSIONS[kind] + 1)


def test_each_artifact_has_the_version_that_the_table_has(finished: Finished) -> None:  # noqa: F811
    kinds = set()
    for path in finished.workspace.glob("*/manifest.json"):
        kind, inputs = path.parent.name.rpartition("-")[0], json.loads(path.read_text())["inputs"]
        assert inputs["version"] == versions.VERSIONS[kind]
        assert not versions.is_earlier(kind, inputs)
        assert versions.is_earlier(kind, inputs | {"version": inputs["version"] - 1})
        kinds.add(kind)
    assert kinds == {*("data", "transfer", "tokens", "teacher", "targets", "student", "evaluation")}
    assert not earlier.earlier_in(finished.workspace)


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("data of documents", {"kind": "Documents"}),
        ("data of conversations", {"kind": "Conversations"}),
        ("data", {"kind": "TextData", "task": "Classification"}),
        ("initial student", {"untrained": True}),
        ("student", {}),
        ("answers", {}),
        ("augmented", {}),
    ],
)
def test_kinds_with_several_versions_are_told_apart(kind: str, inputs: dict[str, object]) -> None:
    now, name = versions.VERSIONS[kind], kind.partition(" of ")[0].rpartition(" ")[2]
    assert not versions.is_earlier(name, inputs | {"version": now})
    assert versions.is_earlier(name, inputs | {"version": now - 1})
    assert versions.is_earlier(name, inputs)  # before there were versions


@pytest.mark.parametrize(
    ("kind", "used"), [("data", set()), ("student", {"data", "transfer", "tokens", "teacher"})]
)
def test_what_will_not_be_used_is_told_and_removed(
    kind: str, used: set[str], copy: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(copy.workspace)
    raised(monkeypatch, kind)
    first = run(copy.folder, "train", *with_overrides(copy.words, "control=false"))
    assert first.code == 0, first.err
    (line,) = [line for line in first.err.splitlines() if LINE in line]
    unused = earlier.earlier_in(copy.workspace)
    assert set(unused) < {path.parent.name for path in copy.workspace.glob("*/manifest.json")}
    assert {name.rpartition("-")[0] for name in unused}.isdisjoint(used)
    assert line.startswith(f"workspace = {copy.workspace}: {len(unused)} artifacts were made by")
    assert first.err.index(LINE) < first.err.index("student: 10 steps")
    again = run(copy.folder, "train", *with_overrides(copy.words, "control=false"))
    assert "all is there already" in again.err and LINE not in again.err
    named = run(copy.folder, "workspace", "list", f"workspace={copy.workspace}").out
    assert named.count("of an earlier version: no run") == len(unused)
    assert f"{len(unused)} of an earlier version (remove --earlier)" in named

    removed = run(
        copy.folder, *line.partition("`distillkit ")[2].partition("`")[0].split(), "--yes"
    )
    assert removed.code == 0, removed.err
    left = contents(copy.workspace)
    assert left.keys().isdisjoint(unused)
    assert {name for name in before if name not in unused} <= left.keys()
    assert not earlier.earlier_in(copy.workspace)
    whole = run(copy.folder, "workspace", "verify", f"workspace={copy.workspace}")
    assert whole.code == 0, whole.err
