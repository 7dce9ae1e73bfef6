"""What the terminal says while a run works: bars on a terminal, plain lines without one.

Notices and bars go to stderr; what a command was asked for (a table, a report) goes to stdout. Work
that says nothing by itself for ten seconds is named by a thread beside it (`heartbeat`).
"""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

LINE_EVERY = 10.0  # seconds between two plain lines of one job
WIDE = 110  # columns of a terminal, from which on a bar and its loss stand on one line
SILENCE = 9.5  # seconds without a line, after which a heartbeat says what is going on

# control characters (an escape sequence begins with one) but tab and newline, what turns the
# direction of writing, line separators, what has no width, halves of characters
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)

_masked: Callable[[str], str] = str  # text without secrets
_last_line = 0.0  # when the last line was printed
_under_way: list[Callable[[], str]] = []  # what is going on, the innermost last
_bars = 0  # that are drawn now
_planned: list[str] = []  # the names of the artifacts that the run is to make, in their order
_stage = ""  # "2 of 5: ", of the one that is being made


def visible(text: object) -> str:
    """Text whose control characters and the like are written out, as `\\x1b`; lines stay lines.

    Whatever a name, a label or a text holds, a terminal shows it and obeys none of it.
    """
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def written_out(text: str) -> str:
    """JSON of the same value in which what a terminal would obey stands as `\\u009b`."""
    return _UNSEEN.sub(lambda match: json.dumps(match[0])[1:-1], text)


def mask_with(masked: Callable[[str], str]) -> None:
    """Show no text from now on but as this function returns it."""
    global _masked
    _masked = masked


class _PlainConsole(Console):
    """Shows strings as they are: nothing in them is markup, and nothing controls the terminal.

    Secrets are named in their place where a run has said how (`mask_with`).
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(_masked(text)), **options)


def stderr() -> Console:
    """A console on the stderr of this moment (tests and launchers replace it)."""
    return _console(sys.stderr, soft_wrap=True)


def stdout() -> Console:
    """A console on the stdout of this moment."""
    console = _console(sys.stdout)
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no edge: never fold a table for it
    return console


def _console(file: TextIO, *, soft_wrap: bool = False) -> Console:
    return _PlainConsole(file=file, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)


def several() -> bool:
    """Whether this process is one of several of a distributed run."""
    world = os.environ.get("WORLD_SIZE", "")
    return world.isdecimal() and int(world) > 1


def rank() -> int:
    """This process's number in a distributed run; the first one speaks and writes for all."""
    return int(os.environ.get("RANK", "0")) if several() else 0


def say(text: str) -> None:
    """Print one line about what the run is doing."""
    global _last_line
    _last_line = time.monotonic()
    if rank() == 0:
        stderr().print(text)


def warn(text: str) -> None:
    """Print one line that the user should not miss."""
    global _last_line
    _last_line = time.monotonic()
    if rank() == 0:
        stderr().print(f"warning: {text}", style="yellow")


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    minutes, seconds_left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds_left:02d}" if hours else f"{minutes}:{seconds_left:02d}"


@contextmanager
def working(label: str) -> Iterator[None]:
    """Name what is going on, for a heartbeat to say if it takes long."""
    start = time.monotonic()

    def line() -> str:
        spent = time.monotonic() - start
        return f"{label}: {clock(spent)} so far" if spent >= 1 else label

    with _named(line):
        yield


def plan_stages(names: Iterable[str]) -> None:
    """Tell which artifacts the run is to make: a bar says at which of them it is."""
    _planned[:] = dict.fromkeys(names)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """An artifact is made; what is made for it on the way, and was not planned, is a part of it."""
    global _stage
    before = _stage
    if name in _planned:
        _stage = f"{_planned.index(name) + 1} of {len(_planned)}: "
    try:
        yield
    finally:
        _stage = before


@contextmanager
def _named(line: Callable[[], str]) -> Iterator[None]:
    _under_way.append(line)
    try:
        yield
    finally:
        _under_way.remove(line)


def under_way() -> str:
    """What is going on, in a line; empty if nothing was named."""
    lines = _under_way[-1:]
    return lines[0]() if lines else ""


@contextmanager
def heartbeat(seconds: float = SILENCE) -> Iterator[None]:
    """Say what is going on whenever nothing was said for so long, and no bar is drawn."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(min(0.5, seconds / 4)):
            silent = time.monotonic() - max(_last_line, start)
            if silent >= seconds and not _bars and rank() == 0:
                say(under_way() or f"at work: {clock(time.monotonic() - start)} so far")

    start = time.monotonic()
    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Rate(ProgressColumn):
    """Work done per second since this process began, so that a resumed job shows no jump."""

    def render(self, task: Task) -> Text:
        position, unit = task.fields["work"], task.fields["unit"]
        if not task.elapsed or not position:
            return Text("")
        return Text(f"{position / task.elapsed:,.0f} {unit}/s", style="progress.data.speed")


class _Memory(ProgressColumn):
    """What this process holds in memory."""

    def render(self, task: Task) -> Text:
        held = resident_bytes()
        return Text(f"{held / 1e9:.1f} GB" if held else "", style="dim")


def resident_bytes() -> int:
    """The bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class _Bar(Progress):
    """The bar of a job; on a narrow terminal what it says of itself is a line below."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, and the line below it."""
        yield from super().get_renderables()
        for task in self.tasks:
            if self.console.width < WIDE and task.fields["note"]:
                note = f"  {task.fields['note']}"
                yield Text(note, style="dim", no_wrap=True, overflow="ellipsis")


class Track:
    """The progress of one job: `advance` it by its steps, and by the work each held."""

    def __init__(
        self, label: str, total: int, position: int, unit: str, bar: Progress | None
    ) -> None:
        label = visible(label)
        self._label, self._total, self._position, self._unit = label, total, position, unit
        self._start = self._spoke = time.monotonic()
        self._first, self._work, self._note = position, 0, ""
        self._bar = bar
        if bar is not None:
            self._task = bar.add_task(
                f"{_stage}{label}", total=total, completed=position, work=0, unit=unit, note=""
            )

    def advance(self, steps: int = 1, work: int = 0, note: str = "", detail: str = "") -> None:
        """Count `steps` more of the job, which held `work` units (tokens).

        A bar shows `note` and `detail`, a line the `note`.
        """
        self._position += steps
        self._work += work
        if self._bar is not None:
            text = f"{note} {detail}".strip()
            self._bar.update(self._task, completed=self._position, work=self._work, note=text)
            return
        self._note = note
        if time.monotonic() - self._spoke >= LINE_EVERY:
            say(self.line())

    def line(self) -> str:
        """How far it is, in a line; the next one of its own is due in ten seconds."""
        self._spoke = time.monotonic()
        spent = self._spoke - self._start
        counted = f"{self._label}: {self._position:,} of {self._total:,}"
        if self._position == self._first:
            return f"{counted}, {clock(spent)} so far"
        remaining = spent / (self._position - self._first) * (self._total - self._position)
        rate = f", {self._work / spent:,.0f} {self._unit}/s" if self._work else ""
        return f"{counted}{rate}, {clock(remaining)} left" + (
            f", {self._note}" if self._note else ""
        )


@contextmanager
def track(label: str, total: int, *, position: int = 0, unit: str = "tokens") -> Iterator[Track]:
    """Show the progress of one job of `total` steps, of which `position` were done before."""
    global _bars
    console = stderr()
    if not console.is_terminal or rank():
        job = Track(label, total, position, unit, None)
        with _named(job.line):
            yield job
        return
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=30),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        _Rate(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        _Memory(table_column=Column(no_wrap=True)),
    ]
    if console.width >= WIDE:
        columns.append(TextColumn("{task.fields[note]}", style="dim", markup=False))
    with _Bar(*columns, console=console, transient=True) as bar:
        _bars += 1
        try:
            yield Track(label, total, position, unit, bar)
        finally:
            _bars -= 1
