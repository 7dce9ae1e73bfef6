"""Signals end a run at its next step, with all that was done kept: SIGTERM, SIGUSR1, SIGHUP, ^C.

Where little would be lost the signal raises `Stopped` at once. Work that can save where it stands
says `hold`: from there to the end of its `scope` the signal is only remembered, and the work asks
`requested` at the end of each of its steps. A second signal leaves at once.
"""

import errno
import os
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

STATUS = 75  # EX_TEMPFAIL of sysexits.h: the same command may be tried again
INTERRUPTED = 130  # of ^C, as shells have it
NAMES = ("SIGTERM", "SIGUSR1", "SIGHUP", "SIGINT")
AGAIN = 0.01  # seconds after which a signal that was dropped comes again
TWICE = 0.5  # seconds within which one signal may come twice: from SLURM, and from torchrun too

_number: int | None = None  # the signal that came first
_came = 0.0  # when
_holding = False
_receivers: Callable[[int], Iterable[int]] | None = None  # whom a signal is passed on to


class Stopped(KeyboardInterrupt):
    """A signal asked the run to end; like `KeyboardInterrupt`, no `except Exception` keeps it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


@contextmanager
def handled() -> Iterator[None]:
    """Let signals end the work within; one that is ignored (nohup) stays ignored.

    After a signal the handlers stay: while the interpreter ends, another one changes nothing.
    """
    global _number, _holding
    _number, _holding = None, False
    before = {}
    hook = sys.unraisablehook
    sys.unraisablehook = partial(_unraisable, hook)
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in NAMES):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, _handle)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if _number is None:
            for number, handler in before.items():
                signal.signal(number, handler)


def requested() -> bool:
    """Whether a signal asked the run to end."""
    return _number is not None


def check() -> None:
    """Raise `Stopped` if a signal asked the run to end."""
    if _number is not None:
        raise Stopped(_number)


def follow() -> None:
    """Raise `Stopped`: this process or another one of the run was asked to end."""
    global _number
    _number = _number or signal.SIGTERM
    check()


def hold() -> None:
    """From here to the end of the `scope`, only remember a signal; `requested` is asked instead."""
    global _holding
    if not _holding:
        check()
    _holding = True


@contextmanager
def scope() -> Iterator[None]:
    """Work within which `hold` may be called; a signal that came meanwhile is raised at its end."""
    global _holding
    before = _holding
    try:
        yield
    finally:
        _holding = before
    if not before:
        check()


@contextmanager
def interruptible() -> Iterator[None]:
    """A part of held work that a signal may break off anywhere, as nothing of it is kept."""
    global _holding
    before = _holding
    _holding = False
    try:
        check()
        yield
    finally:
        _holding = before


@contextmanager
def deferred() -> Iterator[None]:
    """The end of a process, which a first signal does not break off; `requested` tells of it."""
    global _holding
    before = _holding
    _holding = True
    try:
        yield
    finally:
        _holding = before


@contextmanager
def passed_on(receivers: Callable[[int], Iterable[int]]) -> Iterator[None]:
    """Within, a first signal is remembered here and sent to other processes, whose end is awaited.

    `receivers` names them when it comes; at the end of the work the signal is raised here. A second
    one ends them at once, as it does this process.
    """
    global _receivers
    before, _receivers = _receivers, receivers
    try:
        with deferred():
            yield
    finally:
        _receivers = before
    check()


def pass_on(pid: int) -> None:
    """Send another process the signal that asked this run to end, if one did."""
    if _number is not None:
        with suppress(OSError):
            os.kill(pid, _number)


def is_cause(error: BaseException) -> bool:
    """Whether an error came of a signal: of `Stopped`, or of what it broke off."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Stopped):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def status() -> int:
    """The exit status of a run that a signal ended."""
    return INTERRUPTED if _number in (None, signal.SIGINT) else STATUS


def line() -> str:
    """What ended the run."""
    if _number in (None, signal.SIGINT):
        return "interrupted"
    return f"stopped by {signal.Signals(_number).name}"


def _handle(number: int, frame: FrameType | None) -> None:
    global _number, _came
    if _number is None:
        _number, _came = number, time.monotonic()
        if number == signal.SIGHUP:
            _leave_closed_terminal()
        if not _holding:
            raise Stopped(number)
        _tell("it ends after this step, which is kept; a second signal leaves at once")
        for pid in _receivers(number) if _receivers else ():
            pass_on(pid)
    elif time.monotonic() - _came > TWICE:
        _tell("left at once; the same command goes on from what was saved before")
        for pid in _receivers(number) if _receivers else ():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        os._exit(status())


def _unraisable(hook: Callable[[Any], object], event: Any) -> None:
    """Have a signal come again that was raised where Python drops it: as an object is deleted."""
    global _number
    if not isinstance(event.exc_value, Stopped):
        hook(event)
        return
    number, _number = event.exc_value.number, None
    again = threading.Timer(AGAIN, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def _tell(message: str) -> None:
    """A line from within a handler, where sys.stderr may be half-way through another."""
    if os.environ.get("RANK", "0") == "0":
        with suppress(OSError):
            os.write(2, f"\ndistillkit: {line()}: {message}\n".encode())


def _leave_closed_terminal() -> None:
    """Write to nowhere instead of to a terminal that is gone, where each write would fail."""
    for stream in (1, 2):
        try:
            termios.tcgetattr(stream)
        except termios.error as error:
            if error.args[0] == errno.EIO:  # hung up; what is no terminal says ENOTTY
                with suppress(OSError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def leave(message: str) -> int:
    """Say what ended the run, and `message`; return the exit status."""
    if os.environ.get("RANK", "0") == "0":
        with suppress(OSError, ValueError):
            sys.stderr.write(f"\ndistillkit: {line()}; {message}\n")
            sys.stderr.flush()
    return status()
