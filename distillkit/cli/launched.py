"""Jobs of a sweep in processes of their own, as Hydra's joblib and submitit launchers start them.

Without this a signal to the command would have joblib kill the jobs, and each would lose what it
did since its last checkpoint; a command that is killed would leave them behind; and each job would
take all cores, which makes jobs of PyTorch wait for one another's threads most of the time.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial, wraps
from pathlib import Path
from types import FrameType
from typing import Any

from distillkit import stopping
from distillkit.config.paths import CONF
from distillkit.console import masking

JOBLIB = "hydra/launcher=joblib"  # the word that chooses it
LOCAL, SLURM = "hydra/launcher=submitit_local", "hydra/launcher=submitit_slurm"
THREADS = (  # variables that say how many threads a process computes with
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"),
)
FOLDER = "hydra.sweep.dir"
STOPPED = "DISTILLKIT_SWEEP_STOPPED"  # set for jobs that start after a signal to the command
SUBMITIT = ".submitit"  # its folder in that of the sweep
WATCHED_EVERY = 1.0  # seconds between two looks at whether the command is there
SIGNALS = [getattr(signal, name) for name in stopping.NAMES]


def launch(run: Callable[[Any], Any], words: Collection[str]) -> None:
    """Have Hydra run the job, or the jobs of a sweep, that its words ask for."""
    import hydra

    if {LOCAL, SLURM} & {*words}:  # what it pickles there may hold what was typed
        with suppress(OSError):
            (_folder_in(words) / SUBMITIT).mkdir(mode=0o700, parents=True, exist_ok=True)
    main = hydra.main(version_base="1.3", config_path=str(CONF), config_name="run")
    with passed_on(words):
        main(job(run, words))()


def cores() -> int:
    """The cores that this process may use, as its control group has them, too."""
    import joblib

    return int(joblib.cpu_count())


@contextmanager
def shared_cores(at_once: int | None, total: int | None) -> Iterator[None]:
    """Within, jobs that start on this machine have the cores shared out among them.

    Each has max(1, cores // jobs at once) threads, before it loads PyTorch. What the environment
    says of threads already holds.
    """
    from distillkit.console.progress import say

    jobs = min(at_once or 1, total or at_once or 1)
    unset = [name for name in THREADS if name not in os.environ]
    if jobs < 2 or "OMP_NUM_THREADS" not in unset:
        yield
        return
    threads = max(1, cores() // jobs)
    say(f"sweep: {jobs} jobs at a time on {cores()} cores, each with OMP_NUM_THREADS={threads}")
    os.environ.update(dict.fromkeys(unset, str(threads)))
    try:
        yield
    finally:
        for name in unset:
            os.environ.pop(name, None)


@contextmanager
def passed_on(words: Iterable[str]) -> Iterator[None]:
    """Within, a signal goes on to the jobs that the joblib launcher runs, which end after a step.

    The command itself ends once all have ended. With other launchers nothing is different.
    """
    words = [word.lstrip("+") for word in words]
    if LOCAL in words:
        with stopping.passed_on(partial(_submitted, _folder_in(words))):
            yield
        return
    if JOBLIB not in words:
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
        from joblib.externals.loky.backend import fork_exec as loky
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


def job(run: Callable[[Any], Any], words: Iterable[str]) -> Callable[[Any], Any]:
    """A job of a sweep that a signal ends after its step, where another process runs it."""
    if not {JOBLIB, LOCAL, SLURM} & {word.lstrip("+") for word in words}:
        return run
    home = os.getpid()

    @wraps(run)
    def alone(cfg: Any) -> Any:
        if os.getpid() == home:  # of one job at a time
            with stopping.interruptible():
                return run(cfg)
        return _as_worker(lambda: run(cfg))

    return alone


def _as_worker(run: Callable[[], Any]) -> Any:
    """Run a job; None if a signal ended it, or came before it.

    Raising would have joblib kill the other jobs before their checkpoints are written.
    """
    if STOPPED in os.environ:
        return None
    _jobs.append(run)
    _listen()
    try:
        with stopping.interruptible():
            return run()
    except KeyboardInterrupt:
        return None
    except Exception:
        if stopping.requested():
            return None
        raise
    finally:
        _jobs.clear()
        if _preempted:  # submitit's own handler, which has the job queued again
            _preempted.pop()(signal.SIGUSR2, None)
        if _is_orphan():  # nobody takes the result, and the next job would wait for ever
            os._exit(stopping.status())


@cache
def _listen() -> ExitStack:
    """Have this process remember signals, also one that came already, until its end."""
    stack = ExitStack()
    stack.enter_context(stopping.handled())
    stack.enter_context(stopping.deferred())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    _defer_preemption()
    threading.Thread(target=_watch, daemon=True).start()
    return stack


_jobs: list[Any] = []  # the one that is under way in this process
_preempted: list[Callable[[int, Any], Any]] = []  # what submitit would do of a signal that came


def _defer_preemption() -> None:
    """Have a job that submitit is about to queue again, or to end, save its step first."""
    before = signal.getsignal(signal.SIGUSR2)
    if not callable(before):
        return

    def end_after_step(number: int, frame: FrameType | None) -> None:
        _preempted.append(before)
        os.kill(os.getpid(), signal.SIGUSR1)

    signal.signal(signal.SIGUSR2, end_after_step)


_PARENT = os.getppid()  # the command, of a worker of joblib's


def _is_orphan() -> bool:
    """Whether the command that started this worker was killed."""
    return os.getppid() != _PARENT


def _watch() -> None:
    """End this process after its step once the command is gone: SIGKILL cannot be passed on."""
    while not _is_orphan():
        time.sleep(WATCHED_EVERY)
    if not _jobs:
        os._exit(stopping.status())
    os.kill(os.getpid(), signal.SIGTERM)


def _folder_in(words: Iterable[str]) -> Path:
    """The sweep's folder, which its settled words name."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    word = next(word for word in words if word.startswith(f"{FOLDER}="))
    return Path(str(OverridesParser.create().parse_override(word).value()))


def _submitted(folder: Path, number: int) -> list[int]:
    """The processes of a sweep's jobs on this machine; those of the next batch do nothing."""
    from distillkit.artifacts.sweep_records import processes

    os.environ[STOPPED] = str(number)
    return [pid for pid in processes(folder) if pid != os.getpid()]


def tidy(folder: Path, names: Collection[str], *, is_over: bool) -> None:
    """Leave no secret in what submitit writes of jobs: its logs, and pickles of what they run.

    Unless it `is_over` jobs may wait in a queue, and need theirs.
    """
    paths: list[Path] = []
    with suppress(OSError):  # a name that no folder can have
        paths = [*(folder / SUBMITIT).rglob("*")]
    for path in paths:
        if path.suffix == ".pkl":
            if is_over:
                path.unlink(missing_ok=True)
        elif path.is_file() and not path.is_symlink():
            masking.mask_file(path, names)


def _lives_on(pid: int, number: int) -> bool:
    """Whether a process is a child of this one that a signal does not end: it listens, or will."""
    with suppress(OSError, ValueError, KeyError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        masks = int(fields["SigBlk"], 16) | int(fields["SigCgt"], 16)
        return int(fields["PPid"]) == os.getpid() and bool(masks >> (number - 1) & 1)
    return not Path("/proc/self").exists()  # elsewhere nobody says so
