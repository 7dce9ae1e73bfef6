"""Sweeps: one teacher for all, a leaderboard at the end."""

import csv
from pathlib import Path

import pytest

from tests.cli.runs import Finished, artifact_kinds, assert_refused, run, with_overrides
from tests.conftest import Distillkit


@pytest.fixture(scope="module")
def sweep(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`distillkit train -m loss.temperature=1,4` over an empty workspace."""
    folder = tmp_path_factory.mktemp("sweep")
    workspace = folder / "workspace"
    words = with_overrides(finished.words, f"workspace={workspace}", "loss.temperature=1,4")
    result = run(folder, "train", "-m", *words)
    assert result.code == 0, result.err
    return Finished(words, workspace, folder, result)


def board(folder: Path) -> Path:
    (found,) = folder.glob("outputs/run/*-sweep/leaderboard.csv")
    return found


def test_the_teacher_is_fitted_and_asked_once(sweep: Finished) -> None:
    lines = sweep.result.err.splitlines()
    said = [line.split(":")[0] for line in lines]
    jobs = [line for line in lines if line.startswith("job ")]
    assert jobs == ["job 1 of 2: loss.temperature=1", "job 2 of 2: loss.temperature=4"]
    assert sum(line.startswith("teacher: ") and " steps in " in line for line in lines) == 1
    assert [said.count(part) for part in ("targets", "control")] == [1, 1]
    assert said.count("student") == 2
    # two students and the control that both are held against
    assert artifact_kinds(sweep.workspace).count("student") == 3
    assert artifact_kinds(sweep.workspace).count("teacher") == 1
    assert artifact_kinds(sweep.workspace).count("targets") == 1


def test_it_ends_with_a_leaderboard_on_the_terminal(sweep: Finished) -> None:
    ending = sweep.result.out[sweep.result.out.index("2 runs, by student accuracy") :]
    assert "loss.temperature" in ending
    assert f"written: {board(sweep.folder).relative_to(sweep.folder)}, " in ending
    assert ending.rstrip().endswith("sweep.json and report.html")
    assert "The effect of each key" in board(sweep.folder).with_name("report.html").read_text()


def test_the_leaderboard_is_written_best_first(sweep: Finished) -> None:
    with board(sweep.folder).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert {row["loss.temperature"] for row in rows} == {"1", "4"}
    assert {row["run"] for row in rows} == {"0", "1"}
    scores = [float(row["accuracy"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert "data.train" not in rows[0]  # the same in all runs
    picture = board(sweep.folder).with_name("leaderboard.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_each_run_has_a_report_of_its_own(sweep: Finished) -> None:
    folder = board(sweep.folder).parent
    for number in "01":
        assert (folder / number / "report.md").is_file()
        assert (folder / number / "student" / "model.safetensors").is_file()


def test_report_makes_the_leaderboard_again(
    distillkit: Distillkit, sweep: Finished, tmp_path: Path
) -> None:
    before = board(sweep.folder).read_text()
    result = distillkit("report", board(sweep.folder).parent)
    assert (result.code, result.err) == (0, "")
    assert "2 runs, by student accuracy" in result.out
    assert board(sweep.folder).read_text() == before


def test_report_takes_any_folder_of_runs(distillkit: Distillkit, finished: Finished) -> None:
    result = distillkit("report", finished.folder / "outputs")
    assert result.code == 0, result.err
    assert "1 runs" in result.out or "1 run" in result.out


def test_report_of_a_folder_without_runs_is_refused(distillkit: Distillkit, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(distillkit("report", "empty"), "empty: no results.json of a finished run")
    assert_refused(distillkit("report", "nowhere"), "nowhere: no such folder")


def test_a_sweep_with_a_bad_value_does_not_begin(
    distillkit: Distillkit, fresh: list[str], tmp_path: Path
) -> None:
    result = distillkit("train", "-m", *fresh, "loss.temperature=1,0")
    assert assert_refused(result) == "distillkit: loss.temperature = 0: must be greater than 0"
    assert not (tmp_path / "outputs").exists()
    assert not (tmp_path / "workspace").exists()


@pytest.mark.slow
def test_a_refused_run_does_not_stop_the_others(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    words = with_overrides(again, "trainer.batch_size=5000,16")
    result = distillkit("train", "-m", *words)
    assert_refused(
        result, "job 1 of 2: trainer.batch_size=5000: trainer.batch_size = 5000: larger than"
    )
    (done,) = tmp_path.glob("outputs/run/*-sweep/*/results.json")
    assert done.parent.name == "1"
    title = "job 1 of 2: trainer.batch_size=5000"
    assert title in result.err.splitlines()
    assert f"{title}: failed, trainer.batch_size = 5000: larger than the data" in result.err
    assert "1 run, by student accuracy" in result.out  # the leaderboard of those that ran
    assert done.parents[1].joinpath("leaderboard.csv").is_file()


def test_a_later_job_whose_folder_cannot_be_made_is_refused_like_the_first(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "1").write_text("a file")
    words = with_overrides(again, "trainer.batch_size=5000,16", "hydra.sweep.dir=sweep")
    result = distillkit("train", "-m", *words)
    assert (result.code, "Traceback" in result.err) == (2, False), result.err
    first, second = result.err.splitlines()[-2:]
    assert "trainer.batch_size = 5000: larger than the data" in first
    assert "hydra.run.dir: the run's folder sweep/1 cannot be made (File exists)" in second


@pytest.mark.slow
def test_a_stage_can_be_swept_too(distillkit: Distillkit, again: list[str], tmp_path: Path) -> None:
    before = artifact_kinds(tmp_path / "workspace").count("student")
    result = distillkit("train-student", "-m", *again, "loss=logit_mse,soft_cross_entropy")
    assert result.code == 0, result.err
    assert artifact_kinds(tmp_path / "workspace").count("student") == before + 2
