"""The report of a sweep: leaderboard.csv, leaderboard.png, sweep.json and a page."""

import csv
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table

from distillkit.artifacts.leftovers import marked, remove_left
from distillkit.artifacts.sweep_records import SweepState
from distillkit.artifacts.workspace import atomic, write_json
from distillkit.console.escaping import csv_cell
from distillkit.errors import OutputError
from distillkit.reporting import sweep_page
from distillkit.reporting.leaderboard import Run, table_of
from distillkit.reporting.run_report import PAGE
from distillkit.reporting.sweeps import Folded, record

DRAFT = ".tmp"  # how the name of a draft ends


def folded_table(together: Sequence[Folded]) -> Table:
    """Settings with their seeds as one, for a terminal."""
    titles, rows = sweep_page.summary(together)
    table = Table(title="seeds as one, ± half the t-interval of the mean", title_justify="left")
    for name in titles:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def write_leaderboard(
    runs: list[Run], out: Path, *, title: str, sweep: SweepState | None = None
) -> list[str]:
    """Write leaderboard.csv, leaderboard.png, sweep.json and a page under `out`; their names.

    Raises `OutputError` if they cannot be. Where `out` is a run's own folder its page stays. In the
    csv, text that a spreadsheet would compute has an apostrophe before it: see `csv_cell`. Without
    a finished run there is no picture.
    """
    lost = sweep.lost if sweep else {}
    page = "leaderboard.html" if (out / "results.json").exists() else PAGE
    names = ["leaderboard.csv", *(["leaderboard.png"] if runs else []), "sweep.json", page]
    titles, rows = table_of(runs, lost)
    try:
        with (
            _draft(out / "leaderboard.csv") as draft,
            draft.open("w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file).writerows([*map(csv_cell, row)] for row in (titles, *rows))
        if runs:
            _plot(runs, titles, out / "leaderboard.png")
        remove_left(out, ".sweep.json.", DRAFT)
        write_json(out / "sweep.json", record(runs, sweep))
        with _draft(out / page) as draft:
            draft.write_text(sweep_page.page(runs, title=title, sweep=sweep), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{out}: the leaderboard cannot be written there ({error.strerror or error}); make "
            f"room or the folder writable, then `distillkit report {shlex.quote(str(out))}`"
        ) from error
    return names


def _plot(runs: Sequence[Run], titles: Sequence[str], path: Path) -> None:
    """Draw the scores of the finished runs, each by the keys that it alone has."""
    from distillkit.reporting.plots import leaderboard_plot

    headline = runs[0].results["headline"]
    keys = titles[1 : titles.index(headline)]
    labels = [
        textwrap.fill(", ".join(f"{k}={run.overrides.get(k, '')}" for k in keys), 50)
        or run.folder.name
        for run in runs
    ]
    with _draft(path) as draft:
        leaderboard_plot(labels, [run.score for run in runs], headline, draft)


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A draft that becomes `path`; those of killed processes are removed."""
    remove_left(path.parent, f".{path.name}.", DRAFT)
    with atomic(path) as draft, marked(draft):
        yield draft
