"""What the terminal says while a run works: bars on a terminal, plain lines without one.

Notices and bars go to stderr; what a command was asked for (a table, a report) goes to stdout.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_EVERY = 10.0  # seconds between two plain lines of one job


def stderr() -> Console:
    """A console on the stderr of this moment (tests and launchers replace it)."""
    return Console(file=sys.stderr, soft_wrap=True, highlight=False)


def stdout() -> Console:
    """A console on the stdout of this moment."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no edge: never fold a table for it
    return console


def rank() -> int:
    """This process's number in a distributed run; the first one speaks and writes for all."""
    return int(os.environ.get("RANK", "0"))


def say(text: str) -> None:
    """Print one line about what the run is doing."""
    if rank() == 0:
        stderr().print(text, markup=False, emoji=False)


def warn(text: str) -> None:
    """Print one line that the user should not miss."""
    if rank() == 0:
        stderr().print(f"warning: {text}", style="yellow", markup=False, emoji=False)


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _Rate(ProgressColumn):
    """Work done per second since this process began, so that a resumed job shows no jump."""

    def render(self, task: Task) -> Text:
        done, unit = task.fields["work"], task.fields["unit"]
        if not task.elapsed or not done:
            return Text("")
        return Text(f"{done / task.elapsed:,.0f} {unit}/s", style="progress.data.speed")


class Track:
    """The progress of one job: `advance` it by its steps, and by the work each held."""

    def __init__(self, label: str, total: int, done: int, unit: str, bar: Progress | None) -> None:
        self._label, self._total, self._done, self._unit = label, total, done, unit
        self._begun = self._spoke = time.monotonic()
        self._first, self._work = done, 0
        self._bar = bar
        if bar is not None:
            self._task = bar.add_task(
                label, total=total, completed=done, work=0, unit=unit, note=""
            )

    def advance(self, steps: int = 1, work: int = 0, note: str = "") -> None:
        """Count `steps` more of the job, which held `work` units (tokens)."""
        self._done += steps
        self._work += work
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, work=self._work, note=note)
            return
        now = time.monotonic()
        if now - self._spoke < LINE_EVERY:
            return
        self._spoke = now
        spent = now - self._begun
        left = spent / max(1, self._done - self._first) * (self._total - self._done)
        rate = f", {self._work / spent:,.0f} {self._unit}/s" if self._work else ""
        say(
            f"{self._label}: {self._done:,} of {self._total:,}{rate}, {clock(left)} left"
            + (f", {note}" if note else "")
        )


@contextmanager
def track(label: str, total: int, *, done: int = 0, unit: str = "tokens") -> Iterator[Track]:
    """Show the progress of one job of `total` steps, of which `done` were done before."""
    console = stderr()
    if not console.is_terminal or rank():
        yield Track(label, total, done, unit, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Track(label, total, done, unit, bar)
