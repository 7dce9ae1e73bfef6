"""A leaderboard out of the results of many runs."""

import csv
import json
import os
import time
from pathlib import Path

import pytest

from distillkit.errors import DataError
from distillkit.reporting.leaderboard import collect, table_of
from distillkit.reporting.sweep_report import write_leaderboard


def write_run(folder: Path, score: float, headline: str = "accuracy", **overrides: str) -> None:
    folder.mkdir(parents=True)
    gain = {"difference": score - 0.7, "low": 0.0, "high": 0.1}
    record = {
        "rows": {"student": {headline: score, "parameters": 4_386_178}},
        "headline": headline,
        "comparison": {"student_minus_control": gain},
        "overrides": {key.replace("__", "."): value for key, value in overrides.items()},
    }
    (folder / "results.json").write_text(json.dumps(record))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    write_run(tmp_path / "0", 0.75, loss__temperature="1", seed="0")
    write_run(tmp_path / "1", 0.80, loss__temperature="2", seed="0")
    write_run(tmp_path / "2", 0.78, loss__temperature="4", seed="0")
    return tmp_path


def test_the_best_student_is_first_and_only_what_varies_is_shown(sweep: Path) -> None:
    titles, rows = table_of(collect(sweep))
    assert titles == ["rank", "loss.temperature", "accuracy", "- control", "parameters", "run"]
    assert [row[1] for row in rows] == ["2", "4", "1"]
    assert rows[0] == ["1", "2", "0.8000", "+0.1000", "4,386,178", "1"]


def test_the_lowest_perplexity_is_first(tmp_path: Path) -> None:
    for name, perplexity in (("0", 40.0), ("1", 30.0), ("2", 50.0)):
        write_run(tmp_path / name, perplexity, headline="perplexity")
        path = tmp_path / name / "results.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"higher_is_better": False}))
    assert [run.score for run in collect(tmp_path)] == [30.0, 40.0, 50.0]


def test_it_is_written_as_csv_and_picture(sweep: Path) -> None:
    write_leaderboard(collect(sweep), sweep, title="a sweep")
    with (sweep / "leaderboard.csv").open(newline="") as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["1", "2", "0"]
    assert (sweep / "leaderboard.png").read_bytes().startswith(b"\x89PNG")


def test_drafts_of_killed_processes_are_removed(sweep: Path) -> None:
    names = ("leaderboard.csv", "leaderboard.png", "sweep.json", "report.html")
    then = time.time() - 60
    for name in names:
        draft = sweep / f".{name}.99999.tmp"
        draft.touch()
        os.utime(draft, (then, then))
    write_leaderboard(collect(sweep), sweep, title="a sweep")
    assert {path.name for path in sweep.iterdir() if path.is_file()} == {*names}


def test_runs_of_different_tasks_are_not_compared(sweep: Path) -> None:
    write_run(sweep / "3", 0.9, headline="pearson")
    with pytest.raises(DataError, match=r"different tasks \(accuracy, pearson\)"):
        collect(sweep)


def test_an_unfinished_run_is_passed_over(sweep: Path) -> None:
    (sweep / "3").mkdir()
    (sweep / "4").mkdir()
    (sweep / "4" / "results.json").write_text(json.dumps({"rows": {}}))
    assert len(collect(sweep)) == 3
