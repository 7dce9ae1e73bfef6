"""Runs of language models that are really killed (SIGKILL) and started again."""

from pathlib import Path

import pytest

from tests import tiny, tiny_language
from tests.faults.kills import kill_when, weights

pytestmark = pytest.mark.slow

OFTEN = [
    "targets.shard_tokens=256",
    "targets.batch_tokens=128",
    "trainer.checkpoint_seconds=0",
    "trainer.epochs=4",
    "control=false",
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A teacher and its documents."""
    folder = tmp_path_factory.mktemp("models")
    return tiny_language.write_model(folder), tiny_language.write_documents(folder, 60)


@pytest.fixture(scope="module")
def undisturbed(
    models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The sha256 of the weights of a run that nobody disturbed: kind -> digest."""
    folder = tmp_path_factory.mktemp("undisturbed")
    words = tiny_language.small(*models, folder / "workspace", *OFTEN)
    done = tiny.run("train", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return weights(folder / "workspace")


STAGES = {
    "capture": "workspace/.partial/targets-*/shard-00002.arrow",
    "student": "workspace/.partial/student-*/checkpoint-0000003*",
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    stage: str, undisturbed: dict[str, str], models: tuple[Path, Path], tmp_path: Path
) -> None:
    words = tiny_language.small(*models, tmp_path / "workspace", *OFTEN)
    assert kill_when(words, tmp_path, STAGES[stage]), f"the run ended before its {stage} stage"
    assert weights(tmp_path / "workspace") != undisturbed
    again = tiny.run("train", *words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert weights(tmp_path / "workspace") == undisturbed
    if stage == "capture":
        assert "targets: going on after" in again.stderr
    assert not list(tmp_path.glob("workspace/.partial/*"))
