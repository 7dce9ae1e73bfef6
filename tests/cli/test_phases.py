"""A run in phases: each is an artifact, and starts where the one before ends."""

import json
import re
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import QUICK, Finished, run, with_overrides

PHASES = "phases={layers:['loss=hidden_mse'],joint:['loss.hard_weight=0.5','trainer.epochs=2']}"


@pytest.fixture(scope="module")
def done(
    body: Path, reviews: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    folder = tmp_path_factory.mktemp("phases")
    words = [*tiny.small(body, *reviews, folder / "w"), *QUICK, "evaluation.resamples=5"]
    words = [word for word in words if not word.startswith("targets.")]
    return Finished(words, folder / "w", folder, run(folder, "train", *words, PHASES))


def students(done: Finished) -> dict[str, float]:
    return {path.name: path.stat().st_mtime for path in done.workspace.glob("student-*")}


def test_it_trains_each_and_says_what_each_did(done: Finished) -> None:
    assert done.result.code == 0, done.result.err
    assert "student, layers: " in done.result.err and "student, joint: " in done.result.err
    (path,) = done.folder.glob("outputs/*/*/results.json")
    told = json.loads(path.read_text())["phases"]
    assert [(p["name"], p["starts from"]) for p in told] == [
        ("layers", "new weights"),
        ("joint", "layers"),
    ]
    report = path.with_name("report.md").read_text()
    assert "- phase joint: starts from layers" in report
    steps = f"{sum(p['steps'] for p in told):,} steps"
    assert re.search(rf"the same student and seed, (\d+ of )?{steps} (\(until.*\) )?over", report)
    assert len(students(done)) == 3  # one a phase, and the control


def test_a_changed_last_phase_does_not_repeat_the_first(done: Finished) -> None:
    before = students(done)
    again = run(done.folder, "train", *done.words, PHASES, "phases.joint.loss.temperature=3")
    assert again.code == 0, again.err
    assert "student, layers" not in again.err
    after = students(done)
    assert len(after) == 4 and before.items() <= after.items()


@pytest.mark.slow
def test_the_second_phase_begins_with_the_weights_of_the_first(
    done: Finished, tmp_path: Path
) -> None:
    """With a learning rate of nothing they are what it ends with."""
    idle = "phases.joint.optimizer.lr=1e-30"
    again = run(done.folder, "train", *done.words, PHASES, idle, "optimizer.weight_decay=0")
    assert again.code == 0, again.err
    from safetensors.torch import load_file

    found = {
        path.name: load_file(path / "model" / "model.safetensors")
        for path in done.workspace.glob("student-*")
    }
    same = [
        (a, b)
        for a in found
        for b in found
        if a < b and all(found[a][n].allclose(found[b][n], atol=1e-9) for n in found[a])
    ]
    assert len(same) == 1


@pytest.mark.slow
def test_each_command_knows_the_phases(done: Finished) -> None:
    planned = run(done.folder, "plan", *done.words, PHASES)
    assert planned.code == 0, planned.err
    assert "phase layers" in planned.out and "phase joint" in planned.out
    trained = run(done.folder, "train-student", *done.words, PHASES)
    assert trained.code == 0, trained.err
    evaluated = run(done.folder, "evaluate", *done.words, PHASES)
    assert evaluated.code == 0, evaluated.err
    kept = run(done.folder, "generate-targets", *done.words, PHASES)
    assert kept.code == 0, kept.err


@pytest.mark.slow
def test_a_phase_that_is_not_there_is_named_before_anything_is_done(
    done: Finished, tmp_path: Path
) -> None:
    refused = run(tmp_path, "train", *done.words, "phases={a:[],b:['start=c']}")
    assert refused.code == 2
    assert refused.err == (
        "distillkit: phases.b: start = c: no such phase before it; it takes a, new\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_word_with_brackets_is_to_stand_in_quotes(done: Finished, tmp_path: Path) -> None:
    loss = "loss=hidden_mse"
    refused = run(tmp_path, "train", *done.words, f"phases={{a:[{loss},loss.layers=[[7,1]]]}}")
    assert refused.code == 2
    assert "a word with brackets stands in quotes, as {a:['loss.layers=[[7,1]]']}" in refused.err
    assert "sweep" not in refused.err
    quoted = run(tmp_path, "plan", *done.words, f"phases={{a:[{loss},'loss.layers=[[7,1]]']}}")
    assert "loss.layers = [7, 1]" in quoted.err  # read, and no such layer


def test_a_plan_has_what_the_phases_make_once(done: Finished, tmp_path: Path) -> None:
    """The control is the last phase's, the teacher the first one's work; steps are the run's."""
    words = with_overrides(done.words, f"workspace={tmp_path / 'workspace'}")
    result = run(tmp_path, "plan", *words, PHASES)
    assert result.code == 0, result.err
    first, last = result.out.split("phase joint")
    assert re.findall(r"^ +(control|evaluation) +", first, re.M) == []
    assert re.search(r"^ +teacher +to be made", first, re.M)
    assert re.search(r"^ +teacher +by an earlier phase +teacher-", last, re.M)
    told = json.loads(next(done.folder.glob("outputs/*/*/results.json")).read_text())
    planned = [
        int(re.search(r"training the student .* ([\d,]+) *$", text, re.M)[1])  # type: ignore[index]
        for text in (first, last)
    ]
    assert planned == [phase["steps"] for phase in told["phases"]]
    control = re.search(r"training the control .* ([\d,]+) *$", last, re.M)
    assert control and f" {control[1]} steps" in told["run"]["control"].replace(" of ", " steps ")
    assert "Steps and time are the most" in last
