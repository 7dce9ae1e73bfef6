"""The runs of a sweep, as they are read, and their leaderboard in the terminal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.table import Table

from distillkit.artifacts.sweep_records import JobRecord, SweepState
from distillkit.artifacts.workspace import read_json
from distillkit.console.progress import warn
from distillkit.console.wording import brief
from distillkit.errors import DataError
from distillkit.metrics.titles import title as title_of

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


def collect(folder: Path, sweep: SweepState | None = None) -> list[Run]:
    """The finished runs below a folder, best student first; raises `DataError` if there is none.

    What cannot be read is named, and the others are ranked without it. Of the folder's `sweep`
    none may be finished yet; those of a sweeper that chose for itself are ranked by what it went
    by, and not by the held-out rows.
    """
    try:
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no such folder; give the folder that a sweep or a run wrote"
            )
        paths = sorted(folder.rglob("results.json"))
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from error
    runs, damaged = [], 0
    for path in paths:
        row = _read(path)
        if isinstance(row, str):
            damaged += 1
            warn(f"{path}: left out, {row}")
        elif row is not None:
            runs.append(row)
    if not runs and sweep:
        return []
    if not runs:
        suffix = f" ({damaged} damaged)" if damaged else ""
        raise DataError(f"{folder}: no results.json of a finished run in it{suffix}")
    headlines = {run.results["headline"] for run in runs}
    if len(headlines) > 1:
        raise DataError(
            f"{folder}: its runs are of different tasks ({', '.join(sorted(headlines))})"
        )
    sign = -1 if runs[0].results.get("higher_is_better", True) else 1
    values = {path.absolute(): job.values for path, job in sweep.jobs.items()} if sweep else {}

    def place(run: Run) -> tuple[float, ...]:
        tuned = values.get(run.folder.absolute(), []) if sweep and sweep.objective else []
        rises = sweep.objective.values() if sweep else ()
        first = [-v if up else v for v, up in zip(tuned, rises, strict=False)][:1]
        return (*(first or [math.inf]), sign * run.score)

    return sorted(runs, key=place)


def _read(path: Path) -> Run | str | None:
    """The run of a results.json, or what is wrong with it; None where it has no student."""
    try:
        results = read_json(path)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except (ValueError, RecursionError) as error:
        return f"it is damaged ({type(error).__name__}: {brief(error, 80)})"
    rows = results.get("rows") if isinstance(results, dict) else None
    if not isinstance(rows, dict):
        return "it is damaged (no rows in it)"
    if "student" not in rows:
        return None
    fault = _fault(results)
    return fault or Run(path.parent, results.get("overrides", {}), results)


def _fault(results: Mapping[str, Any]) -> str:
    """What of a record is not what a run writes; empty where all is."""
    student, headline = results["rows"]["student"], results.get("headline")
    gains = results.get("comparison")
    gain = gains.get("student_minus_control") if isinstance(gains, dict) else None
    parts = {
        "rows.student": isinstance(student, dict)
        and all(student.get(name) is None or _is_number(student[name]) for name in COLUMNS),
        "headline": isinstance(headline, str),
        f"rows.student.{headline}": isinstance(student, dict)
        and isinstance(headline, str)
        and _is_number(student.get(headline)),
        "comparison": isinstance(gains, dict),
        "comparison.student_minus_control": not gain
        or (isinstance(gain, dict) and _is_number(gain.get("difference"))),
        "overrides": _is_text(results.get("overrides", {})),
        "validation": "validation" not in results or _is_number(results["validation"]),
        "higher_is_better": isinstance(results.get("higher_is_better", True), bool),
    }
    fault = [name for name, is_right in parts.items() if not is_right]
    return f"it is damaged ({brief(fault[0], 60)} is not what a run writes)" if fault else ""


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and not math.isnan(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(part, str) for part in value.values())


Lost = Mapping[Path, JobRecord]  # jobs without a result, by their folders


def table_of(
    runs: list[Run], lost: Lost = MappingProxyType({})
) -> tuple[list[str], list[list[str]]]:
    """(titles, rows): what differs between the runs, then the student's figures.

    Jobs that were lost come last, with what is to be said of them in a column of its own.
    """
    every = [*(run.overrides for run in runs), *(job.overrides for job in lost.values())]
    keys = sorted({key for overrides in every for key in overrides})
    varied = [k for k in keys if len({overrides.get(k) for overrides in every}) > 1]
    headline = runs[0].results["headline"] if runs else "result"
    columns = [c for c in COLUMNS if any(c in run.results["rows"]["student"] for run in runs)]
    if any("validation" in run.results for run in runs):
        columns.insert(0, "validation")
    titles = ["rank", *varied, headline, "- control", *columns, "run"]
    rows = []
    for rank, run in enumerate(runs, start=1):
        gain = run.results["comparison"].get("student_minus_control")
        rows.append(
            [
                str(rank),
                *(run.overrides.get(key, "") for key in varied),
                f"{run.score:.4f}",
                f"{gain['difference']:+.4f}" if gain else "",
                *(_number(_figure(run, column)) for column in columns),
                run.folder.name,
            ]
        )
    if not lost:
        return titles, rows
    rows = [[*row, ""] for row in rows]
    for path, job in lost.items():
        own = [job.overrides.get(key, "") for key in varied]
        rows.append(["", *own, job.state, "", *("" for _ in columns), path.name, job.error])
    return [*titles, "error"], rows


def _figure(run: Run, column: str) -> float | None:
    row = run.results if column == "validation" else run.results["rows"]["student"]
    value: float | None = row.get(column)
    return value


def terminal_table(runs: list[Run], title: str, lost: Lost = MappingProxyType({})) -> Table:
    """The leaderboard for a terminal; what is to be said of a lost job has no room in it."""
    titles, rows = table_of(runs, lost)
    if lost:
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    table = Table(title=title, title_justify="left")
    for name in titles:
        table.add_column(title_of(name), justify="right", no_wrap=name != "run")
    for row in rows:
        table.add_row(*row, style="bold" if row[0] == "1" else None)
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
