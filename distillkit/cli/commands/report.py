"""`distillkit report DIR`: the leaderboard of a sweep, or of any folder of runs."""

from pathlib import Path

from distillkit.cli.arguments import Arguments
from distillkit.console.progress import stdout
from distillkit.metrics.titles import title
from distillkit.reporting.leaderboard import collect, terminal_table, write_leaderboard


def main(words: list[str]) -> None:
    """Print the leaderboard and write it beside the runs."""
    parser = Arguments(prog="distillkit report", description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder that a sweep wrote")
    report(parser.parse_args(words).folder)


def report(folder: Path) -> None:
    """Print the leaderboard of `folder`; write leaderboard.csv and leaderboard.png into it."""
    runs = collect(folder)
    console = stdout()
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    console.print(terminal_table(runs, f"{count}, by student {title(runs[0].results['headline'])}"))
    write_leaderboard(runs, folder)
    console.print(f"written: {folder / 'leaderboard.csv'} and leaderboard.png", soft_wrap=True)
