"""Jobs of a sweep in processes of their own, as Hydra's joblib launcher starts them: signals.

Without this a signal to the command would have joblib kill the jobs, and each would lose what it
did since its last checkpoint.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any

from distillkit import stopping
from distillkit.config.paths import CONF

JOBLIB = "hydra/launcher=joblib"  # the word that chooses it


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
    with stopping.passed_on(_workers):
        yield


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
    """Have this process remember signals, from its first job to its end."""
    stack = ExitStack()
    stack.enter_context(stopping.handled())
    stack.enter_context(stopping.deferred())
    return stack


def _workers(number: int) -> list[int]:
    """The processes of joblib's workers that listen to a signal; it would end the others."""
    with suppress(ImportError, AttributeError):
        from joblib.externals.loky import reusable_executor  # type: ignore[import-untyped]

        executor = reusable_executor._executor
        return [pid for pid in [*executor._processes] if _listens(pid, number)]
    return []


def _listens(pid: int, number: int) -> bool:
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return not Path("/proc/self").exists()  # elsewhere nobody says so
