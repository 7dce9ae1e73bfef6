"""Which processes of a run still live: each is watched, and none is left waiting for one that died.

The leader watches all others, and each of these the leader. A process of the same host is seen to
be gone at once; of another host one that has not been heard of for so long counts as gone, and so
does one that is stopped (SIGSTOP) for so long. What counts is how often this process looked in
vain, not the clock: one that was stopped itself, with all others or alone, finds none of them gone.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from distillkit import stopping
from distillkit.artifacts.locks import Holder
from distillkit.console.progress import under_way

LOOK_EVERY = 0.5  # seconds
SILENT = 80  # looks without a sign of life, after which a process counts as gone: 40 seconds
GRACE = 10.0  # seconds that an exception has to reach this process, after another one has ended
LONG_GRACE = 60.0  # the same where the other one ended well
FAREWELL = 20.0  # seconds that the leader waits for the others to end
FALLEN = stopping.STATUS  # exit code: the same command goes on
REFUSED = 2
_GOES_ON = "; all others end, and the same command goes on from here"


class Watch(threading.Thread):
    """Looks twice a second whether the others live; ends this process where one does not."""

    def __init__(self, store: Any, rank: int, people: list[Holder]) -> None:
        super().__init__(name="liveness", daemon=True)
        self.call: int | None = None  # the number of the leader's newest call
        self.has_told = False  # of another one that is gone: it ends this process next
        self.people = people
        self.before_end: list[Callable[[], None]] = []
        self._store, self._rank = store, rank
        self._watched = [r for r in range(len(people)) if r] if not rank else [0]
        self._heard = dict.fromkeys(self._watched, 0)  # beats of each
        self._silent = dict.fromkeys(self._watched, 0)  # looks in vain since
        self._looks = 0  # that came to an end
        self._since: dict[str, float] = {}  # when something was first seen
        self._ends = False  # this process is about to end by itself
        self._deciding = threading.Lock()  # of `_ends` and `has_told` only one comes true
        self._over = threading.Event()

    @property
    def host(self) -> str:
        """This machine's name."""
        return self.people[self._rank].host

    def dismiss(self) -> bool:
        """Let this process end by itself; False where it ends because another one is gone."""
        with self._deciding:
            self._ends = not self.has_told
        return self._ends

    def has_ended(self, peer: int) -> bool:
        """Whether another process has ended, with a word or without."""
        ended: bool = self._store.check([f"ended/{peer}"])
        return ended or (self._is_here(peer) and self.people[peer].is_gone())

    def await_others(self) -> None:
        """Wait until all others have ended, too, for so long."""
        late = time.monotonic() + FAREWELL
        while not all(map(self.has_ended, self._watched)) and time.monotonic() < late:
            time.sleep(0.02)

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """The thread's work."""
        threading.Thread(target=self._guard, name="guard", daemon=True).start()
        while not self._over.wait(LOOK_EVERY):
            try:
                self._look()
                self._looks += 1
            except Exception:
                if self._over.is_set() or self._ends:
                    return
                self._store_is_gone()

    def _guard(self) -> None:
        """Looks after the looks: where what holds the store hangs, none comes to an end."""
        looks, silent = 0, 0
        while not self._over.wait(LOOK_EVERY):
            silent = silent + 1 if self._looks == looks else 0
            looks = self._looks
            if silent > SILENT and not self._ends:
                self._store_hangs()

    def _look(self) -> None:
        self._store.add(f"beat/{self._rank}", 1)
        if self._ends:
            return
        for peer in self._watched:
            is_gone = self._is_gone(peer)
            if self._store.check([f"ended/{peer}"]):
                self._other_ended(peer)
            elif is_gone:
                self._fallen(peer)
        if self._rank and self._store.check(["fallen"]):
            self._end(FALLEN)  # the leader has told why
        if not self._rank and self.call is not None:
            self._look_for_refusals(self.call)

    def _is_gone(self, peer: int) -> bool:
        process = self.people[peer]
        if self._is_here(peer):
            if process.is_gone():
                return True
            has_life = not process.is_stopped()
        else:
            beats = self._store.add(f"beat/{peer}", 0)
            has_life = beats != self._heard[peer]
            self._heard[peer] = beats
        self._silent[peer] = 0 if has_life else self._silent[peer] + 1
        return self._silent[peer] > SILENT

    def _is_here(self, peer: int) -> bool:
        """Whether it is a process of this machine, and numbered as this one is."""
        process, me = self.people[peer], self.people[self._rank]
        return (process.host, process.machine) == (me.host, me.machine)

    def _fallen(self, peer: int) -> None:
        """Tell of a process that ended without a word, and end."""
        if not self._is_decided():
            return
        line = self.line_of(peer)
        mark = f"{self._rank}".encode()
        if self._store.compare_set("told", "", f"{self._rank}") == mark:
            _tell(line)
        if not self._rank:
            self._store.set("fallen", line)
            time.sleep(2 * LOOK_EVERY)  # the store may be this process's own
        self._end(FALLEN)

    def _is_decided(self) -> bool:
        """Whether this process ends because another one is gone, rather than by itself."""
        with self._deciding:
            self.has_told = not self._ends
        return self.has_told

    def line_of(self, peer: int) -> str:
        """What can be known of a process that is gone."""
        doing = under_way()
        during = f" during {doing}" if doing and not self._rank else ""
        return f"rank {peer} ({self.people[peer]}) {self._state(peer, during)}{_GOES_ON}"

    def _state(self, peer: int, during: str = "") -> str:
        seconds = f"{SILENT / 2:.0f} s"
        if not self._is_here(peer):
            return (
                f"has not been heard of for {seconds}{during}: killed, stopped, or its machine is "
                "down or cut off"
            )
        if self.people[peer].is_stopped():
            return (
                f"has been stopped (SIGSTOP) for {seconds}{during}; `kill -KILL "
                f"{self.people[peer].pid}` ends it"
            )
        return f"is gone{during}: killed, out of memory, or its machine is down"

    def _other_ended(self, peer: int) -> None:
        """Follow a process that ended by itself, once an exception had time to come here, too."""
        code = int(json.loads(self._store.get(f"ended/{peer}"))["code"])
        if self._lasts(f"ended/{peer}", GRACE if code else LONG_GRACE):
            self._end(code or (0 if self._rank else FALLEN))

    def _look_for_refusals(self, number: int) -> None:
        """End if a process cannot take part in the work that the leader is at."""
        for peer in self._watched:
            name = f"refused/{number}/{peer}"
            if self._store.check([name]) and self._lasts(name, GRACE) and self.call == number:
                if not self._is_decided():
                    return
                _tell(f"rank {peer} on {self.people[peer].host}: {self._store.get(name).decode()}")
                self._store.set("ended/0", json.dumps({"code": REFUSED}))
                self.await_others()  # the store is with this process, and none is to miss it
                self._end(REFUSED)

    def _lasts(self, key: str, seconds: float) -> bool:
        since = self._since.setdefault(key, time.monotonic())
        return time.monotonic() - since > seconds

    def _store_is_gone(self) -> None:
        """The store is with the leader, or with what started all: either is gone."""
        self._end_without_store("is gone: killed, out of memory, or its machine is down")

    def _store_hangs(self) -> None:
        """The same where it does not answer."""
        if self._is_here(0) and self.people[0].is_stopped():
            self._end_without_store(self._state(0))
        else:
            self._end_without_store(f"does not answer for {SILENT / 2:.0f} s: stopped, or cut off")

    def _end_without_store(self, state: str) -> None:
        peers = self._alive_here()  # now, before one after the other ends
        time.sleep(2 * LOOK_EVERY)  # a process that is killed is there for a moment yet
        if not self._is_decided():
            return
        is_launchers = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        peers -= set() if is_launchers and 0 in self._alive_here() else {0}
        if self._rank == min(peers | {self._rank}):
            peer = ", or what started it," if is_launchers else ""
            _tell(f"rank 0 ({self.people[0]}){peer} {state}{_GOES_ON}")
        if not self._rank:
            time.sleep(4 * LOOK_EVERY)  # that the others see it live, and leave the word to it
        self._end(FALLEN)

    def _alive_here(self) -> set[int]:
        """The processes of this host that are neither gone nor stopped."""
        local = ((r, person) for r, person in enumerate(self.people) if person.host == self.host)
        return {r for r, person in local if not person.is_gone() and not person.is_stopped()}

    def _end(self, code: int) -> None:
        """End this process, whatever its main thread waits for."""
        if self._ends or self._over.is_set():
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
