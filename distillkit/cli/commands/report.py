"""`distillkit report DIR`: the leaderboard of a sweep, or of any folder of runs."""

from pathlib import Path

from distillkit.cli.arguments import Arguments
from distillkit.console.progress import stdout
from distillkit.metrics.titles import title as title_of


def main(words: list[str]) -> None:
    """Print the leaderboard and write it beside the runs."""
    parser = Arguments(prog="distillkit report", description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder that a sweep wrote")
    report(parser.parse_args(words).folder)


def report(folder: Path) -> None:
    """Print the leaderboard of `folder`; write it there as csv, plot, page and JSON."""
    from distillkit.reporting.leaderboard import collect, terminal_table
    from distillkit.reporting.sweep_report import folded_table, write_leaderboard
    from distillkit.reporting.sweeps import folded

    runs = collect(folder)
    console = stdout()
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    title = f"{count}, by student {title_of(runs[0].results['headline'])}"
    console.print(terminal_table(runs, title))
    together = folded(runs)
    if together:
        console.print(folded_table(together))
    page = write_leaderboard(runs, folder, title=title)
    console.print(
        f"written: {folder / 'leaderboard.csv'}, leaderboard.png, sweep.json and {page}",
        soft_wrap=True,
    )
