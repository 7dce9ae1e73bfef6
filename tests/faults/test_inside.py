"""Outputs inside of an artifact would be damage: refused before the work, and nothing is left."""

import os
from pathlib import Path

import pytest

from distillkit.artifacts.digests import Verifier
from distillkit.artifacts.inside import artifact_around
from distillkit.artifacts.workspace import Artifact, Workspace
from tests.cli.conftest import finished  # noqa: F401
from tests.cli.runs import Finished, assert_refused, run
from tests.faults.test_damage import fresh  # noqa: F401


def student(done: Finished) -> Artifact:
    path = sorted(done.workspace.glob("student-*"))[0]
    kind, _, digest = path.name.rpartition("-")
    return Artifact(kind, digest, path)


def below(folder: Path) -> set[Path]:
    """All below a folder, but for notes of what was read, and an empty folder of ours."""
    return {it for it in folder.rglob("*") if not {".verified", ".partial"} & {*it.parts}}


@pytest.mark.parametrize(
    "words",
    [
        ("hydra.run.dir={student}",),
        ("hydra.run.dir={student}/model/x",),
        ("hydra.run.dir={workspace}/.partial/x",),
        ("hydra.run.dir={workspace}/.locks",),
        ("'hydra.run.dir=${{workspace.path}}/{name}/x'",),
        ("-m", "hydra.sweep.dir={student}", "loss.temperature=1,2"),
        ("-m", "hydra.sweep.dir={student}/x/y", "loss.temperature=1,2"),
        ("-m", "'hydra.sweep.dir=${{workspace.path}}/{name}'", "loss.temperature=1,2"),
    ],
)
def test_a_folder_for_reports_in_an_artifact_is_refused(
    words: tuple[str, ...],
    fresh: Finished,  # noqa: F811
) -> None:
    artifact = student(fresh)
    named = {"student": artifact.path, "workspace": fresh.workspace, "name": artifact.path.name}
    given = [word.format(**named).strip("'") for word in words]
    before = below(fresh.folder)
    done = run(fresh.folder, "train", *fresh.words, "optimizer.lr=0.5", *given)
    line = assert_refused(done, "of a workspace, where nothing else is written")
    assert line.split(" = ")[0] in ("distillkit: hydra.run.dir", "distillkit: hydra.sweep.dir")
    assert "student:" not in done.err
    assert below(fresh.folder) == before
    assert not artifact.damage(Verifier("always"))


@pytest.mark.parametrize("mode", [[], ["-m", "loss.temperature=1,2"]], ids=["run", "sweep"])
def test_nor_is_a_report_written_from_within_an_artifact(
    mode: list[str],
    fresh: Finished,  # noqa: F811
) -> None:
    artifact = student(fresh)
    before = below(fresh.folder)
    line = assert_refused(run(artifact.path, "train", *fresh.words, *mode), str(artifact.path))
    assert f"outputs{os.sep}run" in line
    assert below(fresh.folder) == before


def test_a_name_for_an_artifact_that_is_yet_to_be_made_is_refused(
    fresh: Finished,  # noqa: F811
) -> None:
    place = fresh.workspace / f"student-{16 * '0'}" / "report"
    line = assert_refused(run(fresh.folder, "train", *fresh.words, f"hydra.run.dir={place}"))
    assert f"hydra.run.dir = {place.relative_to(fresh.folder)}: lies in {place.parent}" in line
    assert not place.parent.exists()


def test_a_workspace_in_an_artifact_is_refused(fresh: Finished) -> None:  # noqa: F811
    artifact = student(fresh)
    words = [word for word in fresh.words if not word.startswith("workspace=")]
    for place in (artifact.path, artifact.path / "model" / "w"):
        done = run(fresh.folder, "train", *words, f"workspace={place}")
        assert_refused(done, f"workspace = {place}: lies in the artifact {artifact.path}")
    assert not artifact.damage(Verifier("always"))


@pytest.mark.parametrize(
    "words", ["convert {store}/new {store} targets=top_k targets.codec.k=1", "export {store} {new}"]
)
def test_a_store_is_not_written_into_an_artifact(words: str, fresh: Finished) -> None:  # noqa: F811
    store = fresh.artifact("targets")
    new = fresh.artifact("evaluation") / "new.parquet"
    before = below(fresh.workspace)
    done = run(fresh.folder, "targets", *words.format(store=store, new=new).split())
    assert_refused(done, "of a workspace, where nothing else is written")
    assert below(fresh.workspace) == before


def test_outputs_beside_artifacts_and_what_only_has_such_a_name_are_taken(tmp_path: Path) -> None:
    made = Workspace(tmp_path).obtain("data", {"a": 1}, lambda folder: {})
    assert artifact_around(tmp_path / "outputs" / "x", tmp_path) is None
    assert artifact_around(tmp_path / "recipe-0123456789abcdef" / "x") is None
    assert artifact_around(made.path / "x") == made.path
    (tmp_path / "link").symlink_to(made.path)
    assert artifact_around(tmp_path / "link" / "x") == made.path
    (tmp_path / "loop").symlink_to("loop")
    assert artifact_around(tmp_path / "loop" / "x") is None
