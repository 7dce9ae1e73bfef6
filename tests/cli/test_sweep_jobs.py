"""Jobs of a sweep that fail, are killed or wait; a sweep that goes on; a sweeper that chooses."""

import csv
import json
import os
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from distillkit.artifacts import locks, sweep_records
from distillkit.artifacts.sweep_records import JobRecord, begin, state_of
from distillkit.cli import launched
from distillkit.reporting.sweep_choice import front
from tests.cli.runs import assert_refused, with_overrides
from tests.conftest import Distillkit

WITH_OPTUNA = pytest.mark.skipif(find_spec("optuna") is None, reason="of the extra `sweep`")
ITS_WARNINGS = pytest.mark.filterwarnings("ignore")  # of Optuna 2 and what it stands on
OPTUNA = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "control=false"]


def rows(folder: Path) -> list[dict[str, str]]:
    (board,) = folder.glob("outputs/run/*-sweep/leaderboard.csv")
    with board.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_job_that_fails_is_a_row_and_the_same_command_goes_on(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    words = with_overrides(again, "trainer.batch_size=5000,16")
    failed = distillkit("train", "-m", *words)
    error = "trainer.batch_size = 5000: larger than the data"
    assert_refused(failed, f"job 1 of 2: trainer.batch_size=5000: {error}")
    done, lost = rows(tmp_path)
    assert (done["run"], done["error"], lost["run"], lost["accuracy"]) == ("1", "", "0", "failed")
    assert lost["error"].startswith(error) and lost["trainer.batch_size"] == "5000"
    assert "1 of 2 jobs are done, 1 failed" in failed.out
    (folder,) = tmp_path.glob("outputs/run/*-sweep")
    record = json.loads((folder / "sweep.json").read_text())
    assert record["jobs"]["lost"][0]["state"] == "failed" and record["chosen"] == []
    assert error in (folder / "report.html").read_text()
    once_more = distillkit("train", "-m", *words)
    assert (
        f"sweep: goes on in {folder.relative_to(tmp_path)}; 1 of 2 jobs are done" in once_more.err
    )
    assert [*tmp_path.glob("outputs/run/*-sweep")] == [folder]
    assert "steps in" not in once_more.err  # its student is found


@WITH_OPTUNA
@ITS_WARNINGS
def test_optuna_tunes_on_validation_and_goes_on_as_it_was(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    words = with_overrides(again, *OPTUNA, "loss.temperature=interval(1.0,8.0)")
    result = distillkit("train", "-m", *words)
    assert result.code == 0, result.err
    (folder,) = tmp_path.glob("outputs/run/*-sweep")
    scores = [json.loads((folder / n / "results.json").read_text())["validation"] for n in "01"]
    best = max(range(2), key=lambda n: scores[n])
    study = (folder / "optimization_results.yaml").read_text()
    assert f"best_value: {scores[best]}" in study
    assert json.loads((folder / "sweep.json").read_text())["objective"] == ["validation"]
    assert json.loads((folder / "sweep.json").read_text())["chosen"] == [str(best)]
    assert rows(tmp_path)[0]["run"] == str(best)
    assert f"The study tuned validation and chose run {best} (" in result.out
    tuned = [row["loss.temperature"] for row in rows(tmp_path)]
    # what a killed study left is found: the same seed asks for the same trials
    (folder / "1" / "results.json").unlink()
    (folder / "1" / "job.json").unlink()
    more = distillkit("train", "-m", *words)
    assert "1 of 2 jobs are done, 1 not begun" in more.err and "student: " not in more.err
    assert [row["loss.temperature"] for row in rows(tmp_path)] == tuned


@WITH_OPTUNA
@ITS_WARNINGS
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "loss.temperature = interval(1.0,8.0): an interval has no combinations to run"),
        (
            ["hydra/launcher=joblib", "hydra.launcher.n_jobs=0", *OPTUNA],
            "hydra.launcher.n_jobs = 0: no job would run",
        ),
        ([*OPTUNA, "seed=1", "seed=1,2"], "seed = 1,2: the command line also gives it one value"),
        (["sweep.objective=accuracy"], "sweep.objective = accuracy: may be validation, parameters"),
        (
            ["sweep.objective=[validation,validation]"],
            "sweep.objective: names each objective once",
        ),
        (
            [*OPTUNA, "hydra.sweeper.direction=minimize"],
            "hydra.sweeper.direction = minimize: of sweep.objective=validation it is maximize",
        ),
    ],
)
def test_what_a_study_cannot_tune_on_is_refused_first(
    words: list[str], line: str, distillkit: Distillkit, fresh: list[str], tmp_path: Path
) -> None:
    swept = with_overrides(fresh, *words, "loss.temperature=interval(1.0,8.0)")
    assert_refused(distillkit("train", "-m", *swept), line)
    assert not (tmp_path / "outputs").exists() and not (tmp_path / "workspace").exists()


@WITH_OPTUNA
@ITS_WARNINGS
def test_a_command_with_nothing_to_tune_is_refused(
    distillkit: Distillkit, fresh: list[str]
) -> None:
    words = [*with_overrides(fresh, *OPTUNA), "seed=1,2"]
    assert_refused(distillkit("generate-targets", "-m", *words), "has nothing to tune")


@WITH_OPTUNA
@ITS_WARNINGS
@pytest.mark.slow
def test_two_objectives_have_a_front(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    words = with_overrides(again, *OPTUNA, "sweep.objective=[validation,parameters]")
    words = with_overrides(words, "student.config.hidden_size=choice(8,16)")
    result = distillkit("train", "-m", *words, "hydra/sweeper/sampler=nsgaii")
    assert result.code == 0, result.err
    assert "The study tuned validation, parameters; none beats" in result.out


def test_a_running_sweep_is_reported_on(distillkit: Distillkit, tmp_path: Path) -> None:
    begin(tmp_path / "sweep", total=3, command="x", objective={})
    (tmp_path / "sweep" / "0").mkdir()
    JobRecord(0, "job 1 of 3: seed=0", {"seed": "0"}).write(tmp_path / "sweep" / "0")
    result = distillkit("report", "sweep")
    assert (result.code, result.err) == (0, "")
    assert result.out == "sweep: 0 of 3 jobs are done, 1 running, 2 not begun\n"
    state = state_of(tmp_path / "sweep")
    assert state and state.missing == 3


def test_a_job_whose_process_is_gone_was_killed(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    JobRecord(0, "job 1", {"seed": "0"}).write(tmp_path / "0")
    path = tmp_path / "0" / sweep_records.JOB
    gone = asdict(replace(locks.myself(), started="1"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"holder": gone}))
    state = state_of(tmp_path)
    assert state and [job.state for job in state.lost.values()] == ["killed"]
    (tmp_path / "0" / "results.json").touch()
    state = state_of(tmp_path)
    assert state and state.count("done") == 1 and not state.lost


@pytest.mark.parametrize("text", ["[]", "{", '{"number": "x"}', '{"number": 1, "state": "mine"}'])
def test_a_damaged_record_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / sweep_records.JOB).write_text(text)
    (tmp_path / sweep_records.SWEEP).write_text(text)
    state = state_of(tmp_path)
    assert state is None or not state.jobs


def test_cores_are_shared_out_unless_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launched, "cores", lambda: 8)
    for name in launched.THREADS:
        monkeypatch.delenv(name, raising=False)
    for at_once, total, threads in ((3, 9, "2"), (8, 2, "4"), (16, 99, "1")):
        with launched.shared_cores(at_once, total):
            assert {os.environ[name] for name in launched.THREADS} == {threads}
        assert not {*launched.THREADS} & {*os.environ}
    for at_once, total in ((1, 9), (None, 9), (4, 1)):
        with launched.shared_cores(at_once, total):
            assert "OMP_NUM_THREADS" not in os.environ
    capsys.readouterr()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with launched.shared_cores(2, 9):
        assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ
    assert capsys.readouterr().err == ""


def test_a_front_is_of_those_that_none_beats() -> None:
    values = [(0.9, 100.0), (0.8, 50.0), (0.8, 60.0), (0.9, 100.0), (0.7, 50.0)]
    assert front(values, [True, False]) == [0, 1, 3]
