"""The shards of a target store that is being made: each is claimed by one process at a time."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from distillkit.artifacts.claims import Claims
from distillkit.artifacts.shared_work import LOOK
from distillkit.artifacts.workspace import read_json, write_json
from distillkit.console.progress import say, working
from distillkit.targets import unfinished
from distillkit.targets.committed import CommittedFiles, shard_name
from distillkit.targets.manifest import FILE as STORE

PLAN = "plan.json"
LEADS = "leads"  # the claim of the process that leads


class ShardQueue:
    """Which shards are not there yet, and which of them this process has claimed.

    `files` are those of the store and of the hidden states in it, and a shard is there with all of
    its files. The `plan` says how the work was cut: processes whose plans differ do not work
    together. Raises `FileNotFoundError` where the folder is gone.
    """

    def __init__(self, folder: Path, plan: dict[str, Any], files: Sequence[CommittedFiles]) -> None:
        self.folder, self.plan, self._files = folder, plan, files
        self._claims = Claims(folder)
        self._missing = dict.fromkeys(range(plan["shards"]))
        self._claimed: list[int] = []
        self._new: list[int] = []
        self._devices: list[str] = []

    # what the process does that leads the work

    def lead(self) -> None:
        """Begin, or go on with what an earlier process left here under the same plan.

        Shards that were cut otherwise are removed, once nobody works on them any more.
        """
        self._claims.open()
        self._claims.take(LEADS)  # who works here is seen before there is a shard of it
        if self._left_plan() != self.plan:
            if not self._is_earlier(self._left_plan()):
                self._remove_other_plan()
            write_json(self.folder / PLAN, self.plan)
        for number in range(self.plan["shards"]):
            for files in self._files:
                if files.is_there(number) and not files.is_whole(number):
                    self._discard(number, files)

    def _is_earlier(self, plan: dict[str, Any]) -> bool:
        """Whether a plan is this one as an earlier version wrote it, with two fields."""
        return plan == {name: self.plan[name] for name in ("batch_tokens", "shards")}

    def _remove_other_plan(self) -> None:
        (self.folder / PLAN).unlink(missing_ok=True)  # nobody claims a shard of it any more
        with working("targets: waiting for shards of another plan to be done"):
            while self._claims.others():
                time.sleep(LOOK)
        found = [it for pattern in ("shard-*.arrow*", STORE) for it in self.folder.rglob(pattern)]
        if found:
            say(
                f"{self.folder}: the shards of a killed run are not those of this run's batches; "
                "made again"
            )
        for file in found:
            file.unlink()
        unfinished.remove(self.folder)

    def _discard(self, number: int, files: CommittedFiles) -> None:
        """Remove a damaged shard, unless somebody is at it."""
        if self._claims.take(shard_name(number)):
            files.discard(number)
            self._claims.release(shard_name(number))

    # what all do

    @property
    def is_planned(self) -> bool:
        """Whether whoever leads cuts the work as this process would."""
        return self._left_plan() == self.plan

    @property
    def other_plan(self) -> dict[str, Any]:
        """How another process has cut the work otherwise; empty where none has."""
        plan = self._left_plan()
        return {} if plan == self.plan else plan

    def missing(self) -> list[int]:
        """The shards that are not there, this process's own claims among them."""
        return [number for number in [*self._missing] if not self._is_there(number)]

    def new(self) -> list[int]:
        """The shards that were seen to be there since this was asked last."""
        numbers, self._new = self._new, []
        return numbers

    def claim(self) -> int | None:
        """A shard that is not there and that nobody is at, claimed; None where there is none."""
        number = self._claim_next()
        self.release()  # after that: who works here has a claim all the time
        return number

    def _claim_next(self) -> int | None:
        for number in [*self._missing]:
            if number in self._claimed:
                continue
            if self._is_there(number) or not self._claims.take(shard_name(number)):
                continue
            if self.is_planned and not self._is_there(number):  # committed just now
                self._claimed.append(number)
                return number
            self._claims.release(shard_name(number))
        return None

    def take_device(self, name: str) -> bool:
        """Claim a device until `close`; False where another process computes on it."""
        if name not in self._devices and self._claims.take(name):
            self._devices.append(name)
        return name in self._devices

    def neighbours(self) -> int:
        """How many other processes of this machine work on the store."""
        return len(self._claims.neighbours())

    def release(self) -> None:
        """Give up the claims on what is committed."""
        for number in [*self._claimed]:
            if self._is_there(number):
                self._claimed.remove(number)
                self._claims.release(shard_name(number))

    def close(self) -> None:
        """Give up all claims."""
        self._claimed.clear()
        self._devices.clear()
        self._claims.close()

    def _is_there(self, number: int) -> bool:
        if number in self._missing and all(files.is_there(number) for files in self._files):
            self._missing.pop(number)
            self._new.append(number)
        return number not in self._missing

    def _left_plan(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, RecursionError):
            return read_json(self.folder / PLAN)
        return {}
