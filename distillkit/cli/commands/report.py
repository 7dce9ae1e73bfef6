"""`distillkit report DIR`: the leaderboard of a sweep, or of any folder of runs."""

from pathlib import Path
from typing import TYPE_CHECKING

from distillkit.cli.arguments import Arguments
from distillkit.console.progress import stdout
from distillkit.console.wording import listed
from distillkit.metrics.titles import title as title_of

if TYPE_CHECKING:
    from distillkit.artifacts.sweep_records import SweepState
    from distillkit.reporting.leaderboard import Run


def main(words: list[str]) -> None:
    """Print the leaderboard and write it beside the runs."""
    parser = Arguments(prog="distillkit report", description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder that a sweep wrote")
    report(parser.parse_args(words).folder)


def report(folder: Path) -> None:
    """Print the leaderboard of `folder`; write it there as csv, plot, page and JSON."""
    from distillkit.artifacts.sweep_records import state_of
    from distillkit.reporting.leaderboard import collect, terminal_table
    from distillkit.reporting.sweep_choice import sentence
    from distillkit.reporting.sweep_report import folded_table, write_leaderboard
    from distillkit.reporting.sweeps import folded, varied

    sweep = state_of(folder)
    runs = collect(folder, sweep)
    lost = sweep.lost if sweep else {}
    console = stdout()
    if sweep and sweep.missing:
        console.print(f"{folder}: {sweep.sentence()}", soft_wrap=True)
    if not runs and not lost:
        return  # of a sweep that has just begun
    title = _title(runs, sweep)
    console.print(terminal_table(runs, title, lost))
    for job in lost.values():
        console.print(f"{job.state}: {job.title}: {job.error}".rstrip(": "), soft_wrap=True)
    if text := sentence(runs, sweep, varied(runs)):
        console.print(text, soft_wrap=True)
    if runs and (together := folded(runs)):
        console.print(folded_table(together))
    names = write_leaderboard(runs, folder, title=title, sweep=sweep)
    console.print(
        f"written: {folder / names[0]}, {listed(names[1:-1])} and {names[-1]}", soft_wrap=True
    )


def _title(runs: "list[Run]", sweep: "SweepState | None") -> str:
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    if not runs:
        return count
    by = f"student {title_of(runs[0].results['headline'])}"
    if sweep and sweep.objective:
        by = f"{next(iter(sweep.objective))}, which the study tuned"
    return f"{count}, by {by}"
