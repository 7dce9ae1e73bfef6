"""Runs that are really killed (SIGKILL) and started again with the same command."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import QUICK, run, with_overrides
from tests.faults.kills import kill_when, weights

SLOW = ["trainer.checkpoint_seconds=0", "teacher.epochs=1", "trainer.epochs=2", "control=false"]


@pytest.fixture(scope="module")
def undisturbed(
    body: Path, reviews: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The sha256 of the weights of a run that nobody disturbed: kind -> digest."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = tiny.run("train", *tiny.small(body, *reviews, folder / "workspace"), *SLOW, cwd=folder)
    assert done.returncode == 0, done.stderr
    return weights(folder / "workspace")


STAGES = {
    "data": "workspace/.partial/data-*/train",
    "teacher": "workspace/.partial/teacher-*/checkpoint-*",
    "targets": "workspace/.partial/targets-*/shard-*.arrow",
    "student": "workspace/.partial/student-*/checkpoint-0000003*",
}


def test_a_student_killed_in_training_ends_with_the_weights_of_an_undisturbed_one(
    body: Path, tmp_path: Path
) -> None:
    """What lies before the student is there already, and only the killed run is a process."""
    texts = tiny.write_reviews(tmp_path, 120, 60)
    alone, words = (
        with_overrides(tiny.small(body, *texts, tmp_path / name), *QUICK, *SLOW, "trainer.epochs=4")
        for name in ("alone", "workspace")
    )
    assert run(tmp_path, "train", *alone).code == 0
    ended = weights(tmp_path / "alone")
    shutil.copytree(
        tmp_path / "alone", tmp_path / "workspace", ignore=shutil.ignore_patterns("student-*")
    )
    assert kill_when(words, tmp_path, STAGES["student"]), "the run ended before its student did"
    assert len(weights(tmp_path / "workspace")) == len(ended) - 1
    assert list(tmp_path.glob(STAGES["student"]))
    assert run(tmp_path, "train", *words).code == 0
    assert weights(tmp_path / "workspace") == ended
    assert not list(tmp_path.glob("workspace/.partial/*"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    stage: str,
    undisturbed: dict[str, str],
    body: Path,
    reviews: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    words = [*tiny.small(body, *reviews, tmp_path / "workspace"), *SLOW]
    assert kill_when(words, tmp_path, STAGES[stage]), f"the run ended before its {stage} stage"
    assert weights(tmp_path / "workspace") != undisturbed
    again = tiny.run("train", *words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert weights(tmp_path / "workspace") == undisturbed
    assert not list(tmp_path.glob("workspace/.partial/*"))


PHASES = [
    "phases={layers:['loss=hidden_mse'],joint:['loss.hard_weight=0.5']}",
    "trainer.epochs=2",
    "control=false",
    "trainer.checkpoint_seconds=0",
]


@pytest.mark.slow
def test_a_run_that_is_killed_inside_each_of_its_phases_goes_on_there(
    body: Path, reviews: tuple[Path, Path], tmp_path: Path
) -> None:
    """The projections of the first phase are the loss's own: its checkpoint has them too."""
    words = [w for w in tiny.small(body, *reviews, tmp_path / "w") if not w.startswith("targets.")]
    alone = [*words[:-2], f"workspace={tmp_path / 'alone'}", words[-1], *PHASES]
    done = tiny.run("train", *alone, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words += PHASES
    assert kill_when(words, tmp_path, "w/.partial/student-*/checkpoint-0000003*")
    first = list(tmp_path.glob("w/.partial/student-*"))
    assert kill_when(words, tmp_path, "w/student-*")  # the first phase is over
    again = tiny.run("train", *words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "student, layers" not in again.stderr
    assert (tmp_path / "w" / first[0].name).is_dir()
    assert weights(tmp_path / "w") == weights(tmp_path / "alone")


STATES = [
    "loss=patience",
    "loss.layers=[[1,1],[1,2]]",
    "loss.projection=shared",
    "control=false",
    "targets.shard_tokens=300",
]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["", "first/"], ids=["logits", "states"])
def test_a_teacher_that_is_killed_between_logits_and_states_goes_on_there(
    part: str, body: Path, reviews: tuple[Path, Path], tmp_path: Path
) -> None:
    """A shard of either may be there without the other's."""
    alone, words = (
        [*tiny.small(body, *reviews, tmp_path / name), *STATES] for name in ("alone", "w")
    )
    done = tiny.run("train", *alone, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert kill_when(words, tmp_path, f"w/.partial/targets-*/{part}shard-00002*.arrow")
    again = tiny.run("train", *words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert weights(tmp_path / "w") == weights(tmp_path / "alone")
    (store,) = tmp_path.glob("w/targets-*")
    verified = tiny.run("targets", "verify", str(store), cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr


@pytest.mark.slow
def test_two_runs_that_make_the_same_artifacts_both_end_well(
    undisturbed: dict[str, str], body: Path, reviews: tuple[Path, Path], tmp_path: Path
) -> None:
    words = [*tiny.small(body, *reviews, tmp_path / "workspace"), *SLOW]
    runs = [
        subprocess.Popen(
            tiny.command("train", *words),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=tiny.env(),
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in runs]
    assert [process.returncode for process in runs] == [0, 0], said
    assert weights(tmp_path / "workspace") == undisturbed
    assert any("waiting" in text for text in said)
    assert len(list(tmp_path.glob("outputs/run/*/report.md"))) == 2
