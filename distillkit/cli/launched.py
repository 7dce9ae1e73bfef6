"""Jobs of a sweep in processes of their own, as Hydra's joblib launcher starts them: signals.

Without this a signal to the command would have joblib kill the jobs, and each would lose what it
did since its last checkpoint.
"""

import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any

from distillkit import stopping
from distillkit.config.paths import CONF

JOBLIB = "hydra/launcher=joblib"  # the word that chooses it
SIGNALS = [getattr(signal, name) for name in stopping.NAMES]


def launch(run: Callable[[Any], float], words: Collection[str]) -> None:
    """Have Hydra run the job, or the jobs of a sweep, that its words ask for."""
    import hydra

    main = hydra.main(version_base="1.3", config_path=str(CONF), config_name="run")
    with passed_on(words):
        main(job(run, words))()


@contextmanager
def passed_on(words: Iterable[str]) -> Iterator[None]:
    """Within, a signal goes on to the jobs that the joblib launcher runs, which end after a step.

    The command itself ends once all have ended. With other launchers nothing is different.
    """
    if JOBLIB not in (word.lstrip("+") for word in words):
        yield
        return
    workers: set[int] = set()
    with (
        _workers_hear_all(workers),
        stopping.passed_on(
            lambda number: [worker for worker in [*workers] if _lives_on(worker, number)]
        ),
    ):
        yield


@contextmanager
def _workers_hear_all(workers: set[int]) -> Iterator[None]:
    """Within, joblib's workers start with the signals blocked, until their first job listens.

    A signal to all processes would end one that has had no job, and joblib then kills the others.
    Their numbers are put into `workers`; one that starts after a signal gets it, too.
    """
    try:
        from joblib.externals.loky.backend import fork_exec as loky  # type: ignore[import-untyped]
    except ImportError:
        yield
        return
    start = loky.fork_exec

    def fork_exec(*words: Any, **settings: Any) -> Any:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = start(*words, **settings)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        workers.add(pid)  # from here on whoever passes a signal on finds it
        stopping.pass_on(pid)
        return pid

    loky.fork_exec = fork_exec
    try:
        yield
    finally:
        loky.fork_exec = start


def job(run: Callable[[Any], float], words: Iterable[str]) -> Callable[[Any], float]:
    """A job of a sweep that a signal ends after its step, where another process runs it."""
    if JOBLIB not in (word.lstrip("+") for word in words):
        return run
    home = os.getpid()

    @wraps(run)
    def alone(cfg: Any) -> float:
        if os.getpid() == home:  # of one job at a time
            with stopping.interruptible():
                return run(cfg)
        return _as_worker(lambda: run(cfg))

    return alone


def _as_worker(run: Callable[[], float]) -> float:
    """Run a job; NaN if a signal ended it, or came before it.

    Raising would have joblib kill the other jobs before their checkpoints are written.
    """
    _listen()
    try:
        with stopping.interruptible():
            return run()
    except KeyboardInterrupt:
        return float("nan")
    except Exception:
        if stopping.requested():
            return float("nan")
        raise


@cache
def _listen() -> ExitStack:
    """Have this process remember signals, also one that came already, until its end."""
    stack = ExitStack()
    stack.enter_context(stopping.handled())
    stack.enter_context(stopping.deferred())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return stack


def _lives_on(pid: int, number: int) -> bool:
    """Whether a process is a child of this one that a signal does not end: it listens, or will."""
    with suppress(OSError, ValueError, KeyError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        masks = int(fields["SigBlk"], 16) | int(fields["SigCgt"], 16)
        return int(fields["PPid"]) == os.getpid() and bool(masks >> (number - 1) & 1)
    return not Path("/proc/self").exists()  # elsewhere nobody says so
