"""Which processes of a run still live: each is watched, and none is left waiting for one that died.

The leader watches all others, and each of these the leader. A process of the same host is seen to
be gone at once; of another host one that has not been heard of for so long counts as gone.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from distillkit import stopping
from distillkit.progress import under_way

LOOK_EVERY = 0.5  # seconds
SILENT = 40.0  # seconds without a sign of life, after which a process counts as gone
GRACE = 5.0  # seconds that an exception has to reach this process, after another one has ended
LONG_GRACE = 60.0  # the same where the other one ended well
FALLEN = stopping.STATUS  # exit code: the same command goes on
REFUSED = 2


def own_record() -> dict[str, Any]:
    """What the others are to know of this process."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "space": _process_space(),
        "local": int(os.environ.get("LOCAL_RANK", "0")),
    }


class Watch(threading.Thread):
    """Looks twice a second whether the others live; ends this process where one does not."""

    def __init__(self, store: Any, rank: int, people: list[dict[str, Any]]) -> None:
        super().__init__(name="liveness", daemon=True)
        self.call: int | None = None  # the number of the leader's newest call
        self.ends = False  # this process is about to end by itself
        self.before_end: list[Callable[[], None]] = []
        self._store, self._rank, self._people = store, rank, people
        self._watched = [r for r in range(len(people)) if r] if not rank else [0]
        self._heard = {r: (0, time.monotonic()) for r in self._watched}
        self._since: dict[str, float] = {}  # when something was first seen
        self._over = threading.Event()

    @property
    def host(self) -> str:
        """This machine's name."""
        return str(self._people[self._rank]["host"])

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """The thread's work."""
        while not self._over.wait(LOOK_EVERY):
            try:
                self._look()
            except Exception as error:
                if self._over.is_set() or self.ends:
                    return
                self._store_is_gone(error)

    def _look(self) -> None:
        self._store.add(f"beat/{self._rank}", 1)
        if self.ends:
            return
        for other in self._watched:
            if self._store.check([f"ended/{other}"]):
                self._other_ended(other)
            elif self._is_gone(other):
                self._fallen(other)
        if self._rank and self._store.check(["fallen"]):
            self._end(FALLEN)  # the leader has told why
        if not self._rank and self.call is not None:
            self._look_for_refusals(self.call)

    def _is_gone(self, other: int) -> bool:
        record = self._people[other]
        if record["host"] == self.host and record["space"] == _process_space() != "":
            return not _lives(record)
        beats = self._store.add(f"beat/{other}", 0)
        if beats != self._heard[other][0]:
            self._heard[other] = beats, time.monotonic()
        return time.monotonic() - self._heard[other][1] > SILENT

    def _fallen(self, other: int) -> None:
        """Tell of a process that ended without a word, and end."""
        line = self.line_of(other)
        told = f"{self._rank}".encode()
        if not self._rank or self._store.compare_set("told", "", f"{self._rank}") == told:
            _tell(line)
        if not self._rank:
            self._store.set("fallen", line)
            time.sleep(2 * LOOK_EVERY)  # the store may be this process's own
        self._end(FALLEN)

    def line_of(self, other: int) -> str:
        """What can be known of a process that is gone."""
        record = self._people[other]
        doing = under_way()
        during = f" during {doing}" if doing and not self._rank else ""
        return (
            f"rank {other} (process {record['pid']} on {record['host']}) is gone{during}: killed, "
            "out of memory, or its machine is down; all others end, and the same command goes on "
            "from here"
        )

    def _other_ended(self, other: int) -> None:
        """Follow a process that ended by itself, once an exception had time to come here, too."""
        code = int(json.loads(self._store.get(f"ended/{other}"))["code"])
        if self._lasts(f"ended/{other}", GRACE if code else LONG_GRACE):
            self._end(code or (0 if self._rank else FALLEN))

    def _look_for_refusals(self, number: int) -> None:
        """End if a process cannot take part in the work that the leader is at."""
        for other in self._watched:
            name = f"refused/{number}/{other}"
            if self._store.check([name]) and self._lasts(name, GRACE) and self.call == number:
                _tell(
                    f"rank {other} on {self._people[other]['host']}: "
                    f"{self._store.get(name).decode()}"
                )
                self._end(REFUSED)

    def _lasts(self, what: str, seconds: float) -> bool:
        since = self._since.setdefault(what, time.monotonic())
        return time.monotonic() - since > seconds

    def _store_is_gone(self, error: Exception) -> None:
        """The store is with the leader, or with what started all: either is gone."""
        if self._is_first_of_host():
            leader = self._people[0]
            _tell(
                f"rank {self._rank} (on {self.host}) has lost rank 0 (process {leader['pid']} on "
                f"{leader['host']}), or what started it: killed, out of memory, or its machine is "
                "down; all others end, and the same command goes on from here"
            )
        self._end(FALLEN)

    def _is_first_of_host(self) -> bool:
        here = [r for r, it in enumerate(self._people) if it["host"] == self.host]
        return self._rank == min(r for r in here if r == self._rank or _lives(self._people[r]))

    def _end(self, code: int) -> None:
        """End this process, whatever its main thread waits for."""
        if self.ends or self._over.is_set():
            return
        for action in self.before_end:
            with suppress(Exception):
                action()
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h")  # a bar hides the cursor
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


def _tell(line: str) -> None:
    sys.stderr.write(f"distillkit: {line}\n")
    sys.stderr.flush()


def _lives(record: dict[str, Any]) -> bool:
    return _started(record["pid"]) == record["started"]


def _started(pid: int) -> str:
    """When a process of this machine was started, as its kernel says; empty if it is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] in "ZX" else words[19]


def _process_space() -> str:
    """What tells this machine's process numbers from another's; empty where it cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
