"""What a sweep's folder says of its jobs, so that one that fails or is killed is a row, too.

    <sweep>/jobs.json        how many jobs there are, of which command, and who runs them
    <sweep>/<job>/job.json   what one job alone is run with, and how it fares

Both are written as things happen and read by whoever reports on the sweep meanwhile or later; what
is in them is without secrets.
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from distillkit.artifacts import locks
from distillkit.artifacts.locks import Holder
from distillkit.artifacts.workspace import read_json, write_json

SWEEP, JOB, RESULTS = "jobs.json", "job.json", "results.json"
SCHEMA = 1
State = Literal["done", "failed", "running", "killed", "stopped"]
STATES = ("done", "failed", "running", "killed", "stopped")
KILLED = "its process is gone, and said nothing: killed, or out of memory"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job: its number from 0, the keys that it was started with, and how it fares."""

    number: int
    title: str  # "job 2 of 4: loss.temperature=2"
    overrides: dict[str, str] = field(default_factory=dict)
    state: State = "running"
    error: str = ""
    values: list[float] = field(default_factory=list)  # of the objectives, once it is done

    def write(self, folder: Path) -> bool:
        """Write it into the job's folder; False where that cannot be done."""
        content = {"schema": SCHEMA, **asdict(self), "holder": asdict(locks.myself())}
        try:
            write_json(folder / JOB, content | {"written": time.time()})
        except OSError:
            return False
        return True

    def ended(
        self, state: State, error: str = "", values: Sequence[float] | None = None
    ) -> "JobRecord":
        """The same job, which has ended like this."""
        new = self.values if values is None else [*values]
        return replace(self, state=state, error=error, values=new)


@dataclass(frozen=True, slots=True)
class SweepState:
    """A sweep as its folder shows it; `total` is None where nobody said it.

    `jobs` are its jobs by their folders; `is_running`: another process, which started it, is there.
    `objective` has what a sweeper that chooses went by: name -> whether more is better.
    """

    total: int | None
    jobs: dict[Path, JobRecord]
    is_running: bool
    objective: dict[str, bool] = field(default_factory=dict)

    @property
    def lost(self) -> dict[Path, JobRecord]:
        """The jobs that ended without a result."""
        states = ("failed", "killed", "stopped")
        return {path: job for path, job in self.jobs.items() if job.state in states}

    def count(self, state: State) -> int:
        """How many jobs are in a state."""
        return sum(job.state == state for job in self.jobs.values())

    @property
    def missing(self) -> int:
        """How many jobs are yet to be done, as far as that is known."""
        return max(self.total or 0, len(self.jobs)) - self.count("done")

    def sentence(self) -> str:
        """ "3 of 8 jobs are done, 1 failed, 2 are running"."""
        total = max(self.total or 0, len(self.jobs))
        parts = [f"{self.count('done')} of {total} jobs are done"]
        words = {"failed": "failed", "killed": "killed", "stopped": "stopped by a signal"}
        parts += [f"{n} {word}" for state, word in words.items() if (n := self.count(state))]  # type: ignore[arg-type]
        if running := self.count("running"):
            parts.append(f"{running} running")
        if waiting := total - len(self.jobs):
            parts.append(f"{waiting} not begun")
        return ", ".join(parts)


def begin(folder: Path, *, total: int | None, command: str, objective: Mapping[str, bool]) -> None:
    """Write that a sweep begins, or goes on; where the folder cannot be written, nothing.

    `command` tells its command line from others.
    """
    content = {"schema": SCHEMA, "total": total, "command": command, "objective": {**objective}}
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SWEEP, content | {"holder": asdict(locks.myself())})


def withdraw(folder: Path) -> None:
    """Leave no record of a sweep of which no job began."""
    with suppress(OSError):
        if not any(path.is_dir() for path in folder.iterdir()):
            (folder / SWEEP).unlink()
            folder.rmdir()


def command_of(folder: Path) -> str:
    """The `command` of a sweep's record; empty where there is none."""
    return str(_read(folder / SWEEP).get("command", ""))


def state_of(folder: Path) -> SweepState | None:
    """How the sweep of a folder fares; None where the folder has no record of one."""
    content = _read(folder / SWEEP)
    paths: list[Path] = []
    with suppress(OSError):  # a name that no folder can have
        paths = sorted(folder.rglob(JOB))
    if not content and not paths:
        return None
    jobs = {path.parent: job for path in paths if (job := _job(path))}
    total = content.get("total")
    return SweepState(
        total if type(total) is int and total > 0 else None,
        dict(sorted(jobs.items(), key=lambda item: item[1].number)),
        bool(content) and not _is_gone(content) and not _is_own(content),
        _objective(content.get("objective")),
    )


def _objective(value: Any) -> dict[str, bool]:
    """Objectives as a record has them; whatever else stands there is none."""
    items = value.items() if isinstance(value, Mapping) else ()
    return {str(name): rises for name, rises in items if isinstance(rises, bool)}


def processes(folder: Path) -> list[int]:
    """The processes of this machine that run jobs of a sweep."""
    contents = [_read(path) for path in folder.rglob(JOB)]
    running = [it for it in contents if it.get("state") == "running" and not _is_gone(it)]
    here = locks.myself()
    holders = [it["holder"] for it in running if isinstance(it.get("holder"), dict)]
    return [it["pid"] for it in holders if it.get("host") == here.host]


def _job(path: Path) -> JobRecord | None:
    content = _read(path)
    overrides, number = content.get("overrides"), content.get("number")
    state: Any = content.get("state")
    if not isinstance(overrides, Mapping) or type(number) is not int or state not in STATES:
        return None
    job = JobRecord(
        number,
        str(content.get("title", "")),
        {str(key): str(value) for key, value in overrides.items()},
        state,
        str(content.get("error", "")),
        _numbers(content.get("values")),
    )
    if state != "failed" and os.path.lexists(path.with_name(RESULTS)):
        return job.ended("done")  # also while it is run again
    if state == "running" and _is_gone(content):
        return job.ended("killed", KILLED)
    return job


def _numbers(value: Any) -> list[float]:
    return (
        [float(it) for it in value if type(it) in (int, float)] if isinstance(value, list) else []
    )


def _is_gone(content: Mapping[str, Any]) -> bool:
    """Whether who wrote a record was a process of this machine, and has ended."""
    with suppress(KeyError, TypeError, ValueError):
        return Holder(**content["holder"]).is_gone()
    return False


def _is_own(content: Mapping[str, Any]) -> bool:
    return bool(content.get("holder") == asdict(locks.myself()))


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        content = read_json(path)
        if isinstance(content, dict):
            return content
    return {}
