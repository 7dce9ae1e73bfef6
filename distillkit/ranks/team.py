"""Several processes as one run: the first one leads, the others train models with it.

The leader (rank 0) goes through a run as a single process does: it alone reads data, asks teachers,
holds locks, evaluates and writes. Where a model is to be trained it calls the others, who build the
same model out of what is in the workspace by then, and train with it. So nobody but the leader ever
waits for a lock, and all meet in the same trainings in the same order.

They talk through the store that torch.distributed's processes have met at:

    call/N          what all are to train, the Nth time: JSON
    done/N/RANK     that a process has done its part of it
    refused/N/RANK  why a process cannot take part in it
    ended/RANK      how a process ended: {"code": …}
    who/RANK, unmet               see `distillkit.ranks.meeting`
    beat/RANK, fallen, told       see `distillkit.ranks.liveness`
"""

import atexit
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from distillkit import stopping
from distillkit.artifacts.locks import myself
from distillkit.console.masking import masked, names_of
from distillkit.console.progress import heartbeat, rank, several, working
from distillkit.console.quiet import quiet_others
from distillkit.console.wording import brief, first_line
from distillkit.errors import ConfigError, DistillkitError
from distillkit.ranks.liveness import FALLEN, LOOK_EVERY, REFUSED, Watch
from distillkit.ranks.meeting import NobodyError, meet

COLLECTIVE_TIMEOUT = timedelta(minutes=30)  # of one exchange inside a training
OWN_FAULT = 5.0  # seconds after which an error is one's own, not that of a process that ended
LOST_PEER = 60.0  # the same of a broken connection: a host that is gone is noticed after 40
SIGNALLED = 25.0  # the same after a signal: torchrun kills after 30
LOST = ("onnection closed", "onnection reset", "onnection was likely closed", "gloo", "NCCL")
TakePart = Callable[[dict[str, Any]], None]

_team: "Team | None" = None
_has_begun = False  # this process meets others, has met them, or met them and has left


def together(words: list[str], run: Callable[[], int], prepare: Callable[[], TakePart]) -> int:
    """Meet the other processes, then `run` as the first of them, or take part in its trainings.

    `words` are those of the command line, and `prepare` loads the function that takes part.
    Returns the run's exit code, which is the same for all; where another process is gone, its watch
    ends this one.
    """
    global _team, _has_begun
    _has_begun = True
    quiet_others()
    try:
        _team = team = Team(words)
    except NobodyError as error:
        if str(error):
            sys.stderr.write(f"distillkit: {error}\n")
        return FALLEN
    try:
        team.join()
        code = run() if not team.rank else team.follow(prepare())
    except BaseException as error:
        with stopping.deferred():  # torchrun signals the rest when one is gone
            code = team.failed(error)
    with stopping.deferred():
        code = team.leave(code)
    _team = None
    return code


def end(code: int) -> None:
    """End this process with its exit code; nothing if it never looked for other processes.

    Python's own end would begin while threads of torch.distributed go on, and one that comes back
    to Python meanwhile aborts the process: "terminate called without an active exception".
    """
    if not _has_begun:
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


@contextmanager
def call(job: dict[str, Any]) -> Iterator[None]:
    """Have all other processes do a job too, while the block lasts; nothing if there are none."""
    if _team is None or _team.rank:
        yield
        return
    _team.call(job)
    try:
        yield
    except Exception as error:
        if _is_lost(error):
            time.sleep(LOST_PEER)  # the watch says who is gone, and ends this process meanwhile
        raise
    finally:
        _team.watch.call = None


def leads() -> bool:
    """Whether this process is the first of several."""
    return _team is not None and not _team.rank


def have_done(job: dict[str, Any], at_end: Callable[[], None]) -> None:
    """Have all other processes do a job, and wait until each has; nothing if there are none.

    Where one cannot, the watch says why, and ends all, after `at_end`.
    """
    with call(job):
        if _team is not None and leads():
            _team.watch.before_end.append(at_end)
            _team.await_done()
            _team.watch.before_end.remove(at_end)


def check_words() -> None:
    """Raise `ConfigError` where the processes were not started with the same command line."""
    if _team is not None:
        _team.check_words()


def before_end(action: Callable[[], None]) -> None:
    """What is to be done if this process is ended because another one is gone.

    Raises `ConfigError` in a job of a sweep that was started as a process of its own.
    """
    if _team is not None:
        _team.watch.before_end = [action]
    elif several():
        raise ConfigError(
            "hydra.launcher: starts a process for each job, which cannot take part in a run of "
            f"several processes (WORLD_SIZE = {os.environ['WORLD_SIZE']}); leave one of both out"
        )


def settle() -> None:
    """Give the watch time to see whether another process is gone: torchrun signals the rest."""
    if _team is not None:
        time.sleep(4 * LOOK_EVERY)
        while _team.watch.has_told:
            time.sleep(LOOK_EVERY)


def called(name: str) -> bool:
    """Whether this process was called to take part in making the artifact of this name."""
    return _team is not None and _team.job.get("artifact") == name


class Team:
    """This process among the others of its run."""

    def __init__(self, words: list[str]) -> None:
        self.rank = rank()
        self.job: dict[str, Any] = {}
        with heartbeat(), working("waiting for the other processes"):
            self._store, people, self._words = meet(words)
        self.watch = Watch(self._store.clone(), self.rank, people)
        self.watch.start()
        self._calls = 0

    def join(self) -> None:
        """Join the process group that Accelerate makes; the watch is on already."""
        with heartbeat(), working("waiting for the other processes"):
            _join(self._store)

    def check_words(self) -> None:
        """Raise `ConfigError` where another process was started with other words: the leader's."""
        for peer, words in enumerate(self._words):
            if words != self._words[0]:
                raise ConfigError(
                    f"rank {peer} on {self.watch.people[peer].host} was started with "
                    f"{_but(words, self._words[0])}, rank 0 with {_but(self._words[0], words)}; "
                    "start all with the same command line"
                )

    @property
    def name(self) -> str:
        """Which process this is, for a message."""
        return f"rank {self.rank} ({myself()})"

    def call(self, job: dict[str, Any]) -> None:
        """Have the others do a job; the leader's."""
        self.watch.call = self._calls
        self._store.set(f"call/{self._calls}", json.dumps(job))
        self._calls += 1

    def await_done(self) -> None:
        """Wait until the others have done the newest job; the leader's."""
        number = self._calls - 1
        others = [f"done/{number}/{peer}" for peer in range(1, len(self.watch.people))]
        with working("waiting for the other processes"):
            while not self._store.check(others):
                time.sleep(0.02)

    def follow(self, take_part: TakePart) -> int:
        """Take part in all that the leader calls for; its exit code."""
        for number, job in enumerate(self._jobs()):
            self.job = job
            try:
                take_part(job)
                self._store.set(f"done/{number}/{self.rank}", "")
            except DistillkitError as error:  # the leader finds the same, or ends all
                self._store.set(f"refused/{number}/{self.rank}", str(error))
            self.job = {}
        ended = json.loads(self._store.get("ended/0"))
        return int(ended["code"])

    def _jobs(self) -> Iterator[dict[str, Any]]:
        """The leader's calls, until it has ended. Waits as long as it lives."""
        number, pause = 0, 0.02
        while True:
            if self._has(f"call/{number}"):
                yield json.loads(self._store.get(f"call/{number}"))
                number, pause = number + 1, 0.02
            elif self._has("ended/0"):
                return
            else:
                time.sleep(pause)
                pause = min(0.25, 1.2 * pause)

    def failed(self, error: BaseException) -> int:
        """The exit code after an error that nobody else caught, once it is told.

        Where another process ended first, this one is ended by its watch meanwhile.
        """
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error, DistillkitError):  # before there was any work
            sys.stderr.write(f"distillkit: {self.name}: {error}\n")
            return REFUSED
        is_lost = _is_lost(error)
        is_signalled = not isinstance(error, Exception) or stopping.requested()
        if is_signalled:  # all processes get a signal
            code = self._code_of_leader(SIGNALLED)
        else:
            code = self._code_of_leader(LOST_PEER if is_lost else OWN_FAULT, own_fault=not is_lost)
        if code:
            return code
        if is_signalled or (is_lost and stopping.requested()):
            sys.stderr.write(f"distillkit: {self.name}: {stopping.line()}\n")
            return stopping.status()
        with suppress(ValueError):  # stderr is closed
            prefix = f"distillkit: {self.name} failed:\n" if self.rank else ""
            sys.stderr.write(prefix + "".join(traceback.format_exception(error)))
        return 1

    def _code_of_leader(self, seconds: float, *, own_fault: bool = True) -> int:
        """How the leader ends in the next seconds; 0: it does not, or is this process."""
        late = time.monotonic() + (0 if own_fault and not self.rank else seconds)
        is_there = True  # the store; where it is gone the watch ends this process
        while time.monotonic() < late:
            with suppress(Exception):
                if self.rank and is_there:
                    is_there = False
                    if self._has("ended/0"):
                        return int(json.loads(self._store.get("ended/0"))["code"])
                    is_there = True
            time.sleep(0.05)
            if stopping.requested():
                late = min(late, time.monotonic() + SIGNALLED)
        return 0

    def leave(self, code: int) -> int:
        """Say how this process ends; the leader waits until all others have ended, too.

        Returns its exit code: where it has told of one that is gone, not that all went well.
        """
        from distillkit.models.device import leave_process_group

        if not self.watch.dismiss():
            code = code or FALLEN
        with suppress(Exception):
            self._store.set(f"ended/{self.rank}", json.dumps({"code": code}))
        if not self.rank:
            with suppress(Exception):
                self.watch.await_others()
        self.watch.stop()
        with suppress(Exception):
            leave_process_group()
        return code

    def _has(self, name: str) -> bool:
        is_there: bool = self._store.check([name])
        return is_there


def _is_lost(error: BaseException) -> bool:
    """Whether an exchange with another process failed, rather than what this one computes."""
    return any(word in str(error) for word in LOST)


def _but(words: list[str], peer: list[str]) -> str:
    """What a command line has that another has not."""
    own_words = " ".join(word for word in words if word not in peer)
    return brief(masked(own_words, names_of(words))) or "no more than that, or in another order"


def _join(store: Any) -> None:
    """Join the process group at a store."""
    import torch
    from torch.distributed.distributed_c10d import PrefixStore

    from distillkit.models.device import join_process_group

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device is None or device.type == "mps":  # or Accelerate takes each process for a lone one
        os.environ["ACCELERATE_USE_CPU"] = "true"
    use_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes")
    world = int(os.environ["WORLD_SIZE"])
    group = PrefixStore("group", store.clone())
    group.set_timeout(COLLECTIVE_TIMEOUT)
    try:
        state = join_process_group(
            cpu=use_cpu, timeout=COLLECTIVE_TIMEOUT, store=group, rank=rank(), world_size=world
        )
    except (RuntimeError, ValueError) as error:
        if _is_lost(error):
            raise
        raise ConfigError(f"cannot join the {world} processes: {first_line(error)}") from error
    assert state.num_processes == world
