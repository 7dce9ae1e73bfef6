"""A workspace that is removed, or becomes a file, while a command works in it: one line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from distillkit.artifacts.workspace import Workspace, write_json
from distillkit.errors import ModelError, WorkspaceError
from distillkit.targets import TargetWriter
from distillkit.training.checkpoint import Checkpoints
from tests.cli.conftest import finished  # noqa: F401
from tests.cli.runs import Finished, assert_refused, run, with_overrides
from tests.faults.campaign import content

INPUTS = {"a": 1}


def removed(root: Path) -> None:
    shutil.rmtree(root)


def a_file(root: Path) -> None:
    shutil.rmtree(root)
    root.touch()


WORK: dict[str, Callable[[Path], object]] = {
    "json": lambda folder: write_json(folder / "a.json", {}),
    "weights": lambda folder: save_file({"a": torch.zeros(1)}, folder / "a.safetensors"),
    "best weights": lambda folder: load_file(folder / "b.safetensors"),
    "nothing": lambda folder: None,  # what was made before is not there
}


@pytest.mark.parametrize("vanish", [removed, a_file])
@pytest.mark.parametrize("work", WORK)
def test_what_fails_then_is_told_by_the_folder(
    work: str, vanish: Callable[[Path], None], tmp_path: Path
) -> None:
    root = tmp_path / "workspace"

    def make(folder: Path) -> dict[str, Any]:
        vanish(root)
        WORK[work](folder)
        return {}

    root.mkdir()
    with pytest.raises(WorkspaceError, match=f"^{root}: was removed, or is not reached any more"):
        Workspace(root).obtain("data", INPUTS, make)


@pytest.mark.parametrize("part", [".partial", "whole"])
def test_what_is_gone_is_named_as_far_as_it_is(part: str, tmp_path: Path) -> None:
    def make(folder: Path) -> dict[str, Any]:
        gone = folder.parent if part == ".partial" else folder
        shutil.rmtree(gone)
        raise OSError("a library's words")

    workspace = Workspace(tmp_path)
    named = tmp_path / ".partial"
    if part == "whole":
        named = workspace.partial("data", INPUTS)
    with pytest.raises(WorkspaceError, match=f"^{named}: was removed"):
        workspace.obtain("data", INPUTS, make)


def test_a_folder_that_was_made_anew_meanwhile_is_no_whole_artifact(tmp_path: Path) -> None:
    """What was written before the removal is not there, though nothing fails."""

    def make(folder: Path) -> dict[str, Any]:
        (folder / "first").touch()
        folder.rename(tmp_path / "away")
        folder.mkdir()
        (folder / "second").touch()
        return {}

    workspace = Workspace(tmp_path)
    with pytest.raises(WorkspaceError, match="was removed"):
        workspace.obtain("data", INPUTS, make)
    assert workspace.find("data", INPUTS) is None


def test_what_fails_in_a_folder_that_is_there_is_told_as_it_is(tmp_path: Path) -> None:
    errors: list[Exception] = [ModelError("no model"), KeyError("a fault of ours")]
    for error in errors:

        def make(folder: Path, error: Exception = error) -> dict[str, Any]:
            raise error

        with pytest.raises(type(error), match=error.args[0]):
            Workspace(tmp_path).obtain("data", INPUTS, make)


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (Checkpoints, "save"),
        pytest.param(Checkpoints, "load_best", marks=pytest.mark.slow),
        pytest.param(TargetWriter, "_write", marks=pytest.mark.slow),
    ],
)
def test_a_run_whose_workspace_vanishes_ends_with_one_line_and_is_made_anew(
    owner: type,
    method: str,
    finished: Finished,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "workspace"
    words = with_overrides(
        finished.words, f"workspace={root}", "control=false", "trainer.checkpoint_seconds=0"
    )
    whole = getattr(owner, method)

    def after(*given: Any, **named: Any) -> Any:
        shutil.rmtree(root, ignore_errors=True)
        return whole(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, after)
        assert_refused(run(tmp_path, "train", *words), ": was removed, or is not reached any more")
    again = run(tmp_path, "train", *words)
    assert again.code == 0, again.err
    found, expected = content(root), content(finished.workspace)
    same = {name for name in found if not name.startswith("evaluation")}
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}
