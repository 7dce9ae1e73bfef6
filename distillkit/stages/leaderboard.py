"""Stage: the runs of a sweep -> a leaderboard in the terminal, as CSV and as a plot."""

import csv
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from distillkit.artifacts import read_json
from distillkit.errors import DataError

COLUMNS = ("agreement", "kl_to_teacher", "nll", "ece", "parameters", "latency_p50_ms")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a sweep: its folder, the keys that were overridden, and its results."""

    folder: Path
    overrides: dict[str, str]
    results: dict[str, Any]

    @property
    def score(self) -> float:
        """The student's headline metric."""
        return float(self.results["rows"]["student"][self.results["headline"]])


def collect(folder: Path) -> list[Run]:
    """The finished runs below a folder, best student first; raises `DataError` if there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder that a sweep or a run wrote")
    runs = []
    for path in sorted(folder.rglob("results.json")):
        results = read_json(path)
        if "student" in results.get("rows", {}):
            runs.append(Run(path.parent, results.get("overrides", {}), results))
    if not runs:
        raise DataError(f"{folder}: no results.json of a finished run in it")
    headlines = {run.results["headline"] for run in runs}
    if len(headlines) > 1:
        raise DataError(
            f"{folder}: its runs are of different tasks ({', '.join(sorted(headlines))})"
        )
    sign = -1 if runs[0].results.get("higher_is_better", True) else 1
    return sorted(runs, key=lambda run: sign * run.score)


def table_of(runs: list[Run]) -> tuple[list[str], list[list[str]]]:
    """(titles, rows): what differs between the runs, then the student's figures."""
    keys = sorted({key for run in runs for key in run.overrides})
    varied = [k for k in keys if len({run.overrides.get(k) for run in runs}) > 1]
    headline = runs[0].results["headline"]
    columns = [c for c in COLUMNS if any(c in run.results["rows"]["student"] for run in runs)]
    titles = ["rank", *varied, headline, "- control", *columns, "run"]
    rows = []
    for rank, run in enumerate(runs, start=1):
        student = run.results["rows"]["student"]
        gain = run.results["comparison"].get("student_minus_control")
        rows.append(
            [
                str(rank),
                *(run.overrides.get(key, "") for key in varied),
                f"{run.score:.4f}",
                f"{gain['difference']:+.4f}" if gain else "",
                *(_shown(student.get(column)) for column in columns),
                run.folder.name,
            ]
        )
    return titles, rows


def terminal_table(runs: list[Run], title: str) -> Table:
    """The leaderboard for a terminal."""
    titles, rows = table_of(runs)
    table = Table(title=title, title_justify="left")
    for name in titles:
        table.add_column(name, justify="right", no_wrap=name != "run")
    for row in rows:
        table.add_row(*row, style="bold" if row[0] == "1" else None)
    return table


def write_leaderboard(runs: list[Run], out: Path) -> None:
    """Write leaderboard.csv and leaderboard.png under `out`."""
    from distillkit.stages.plots import leaderboard_plot

    titles, rows = table_of(runs)
    with (out / "leaderboard.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([titles, *rows])
    varied = titles[1 : titles.index(runs[0].results["headline"])]
    labels = [
        textwrap.fill(", ".join(f"{k}={run.overrides.get(k, '')}" for k in varied), 50)
        or run.folder.name
        for run in runs
    ]
    leaderboard_plot(
        labels, [run.score for run in runs], runs[0].results["headline"], out / "leaderboard.png"
    )


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
