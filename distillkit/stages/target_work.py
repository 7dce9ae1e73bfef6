"""The work of a capture as every process sees it that takes part in it."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.artifacts.workspace import first_difference
from distillkit.console.progress import say
from distillkit.models.precision import resolve
from distillkit.models.saved import Loaded
from distillkit.stages.target_capture import TargetCapture
from distillkit.stages.teacher import TeacherModel
from distillkit.targets import StoredTargets
from distillkit.targets.committed import CommittedFiles
from distillkit.targets.hidden_states import states_files
from distillkit.targets.shard_queue import PLAN, ShardQueue
from distillkit.tasks import Task
from distillkit.token_table import TokenTable
from distillkit.training.batching import length_buckets
from distillkit.training.distributed import compute_device
from distillkit.types import LabelSpace, StoredLayers

NO_STATES = StoredLayers()


@dataclass(frozen=True)
class TargetWork:
    """What a store is made of: a teacher, and the examples that it answers for.

    The hidden states that `states` names are kept with its outputs, from the same forward passes.
    """

    teacher: TeacherModel
    task: Task
    space: LabelSpace
    examples: TokenTable
    settings: StoredTargets
    origin: dict[str, Any]
    states: StoredLayers = NO_STATES

    @cached_property
    def buckets(self) -> list[np.ndarray]:
        """The examples of each forward pass."""
        return length_buckets(self.examples.lengths, tokens=self.settings.batch_tokens)

    @cached_property
    def shards(self) -> list[list[np.ndarray]]:
        """The buckets of each shard, however many processes capture them."""
        return _shards(self.buckets, self.examples.lengths, self.settings.shard_tokens)

    @cached_property
    def loaded(self) -> Loaded:
        """The teacher, on the device that this process computes on."""
        return self.teacher.place(self.task, self.space)

    @property
    def precision(self) -> str:
        """The number format of the forward passes on this machine."""
        dtype = resolve(self.settings.precision, compute_device())
        return str(dtype).removeprefix("torch.")

    def queue(self, out: Path) -> ShardQueue:
        """The shards under `out`, whoever captures them."""
        plan = {
            "batch_tokens": self.settings.batch_tokens,
            "shards": len(self.shards),
            "shard_tokens": self.settings.shard_tokens,
            "precision": self.precision,
        }
        files = [CommittedFiles(out, self.settings.codec), *states_files(out, self.states)]
        return ShardQueue(out, plan, files)

    def capture(self, queue: ShardQueue, out: Path) -> TargetCapture:
        """The pass over what is free in the queue; loads the teacher."""
        return TargetCapture(
            self.loaded,
            self.teacher.saved,
            self.task,
            self.examples,
            self.shards,
            queue,
            settings=self.settings,
            states=self.states,
            out=out,
        )


class TargetHelp:
    """Takes part in a capture that another process leads, shard by shard.

    `prepare` makes what the work needs the first time that it is called: it may wait for artifacts.
    The teacher is loaded when there is a shard for this process.
    """

    def __init__(self, prepare: Callable[[], TargetWork]) -> None:
        self._prepare = prepare
        self._work: TargetWork | None = None
        self._queue: ShardQueue | None = None
        self._is_over = self._has_declined = False

    def __call__(self, out: Path) -> bool:
        """Capture what is free under `out`; whether all shards are there."""
        if self._is_over or not (out / PLAN).is_file():
            return self._is_over
        if self._work is None or self._queue is None:
            self._work = self._prepare()
            self._queue = self._work.queue(out)
        if not self._queue.is_planned:
            self._decline(self._queue)
            return False
        with closing(self._queue):
            first = self._queue.claim()
            if first is not None:
                count = self._work.capture(self._queue, out).take_part(first)
                say(f"targets: {count:,} of {len(self._work.shards):,} shards by this process")
            self._is_over = not self._queue.missing()
        if self._is_over:
            self._work = None  # nor is the teacher needed any more
        return self._is_over

    def _decline(self, queue: ShardQueue) -> None:
        """Say once why this process does not take part."""
        difference = first_difference(queue.plan, queue.other_plan)
        if self._has_declined or not queue.other_plan or difference is None:
            return
        self._has_declined = True
        name, own, others = difference
        say(f"targets: cut otherwise by that process ({name}: {others} there, {own} here); waiting")


def _shards(buckets: list[np.ndarray], lengths: np.ndarray, tokens: int) -> list[list[np.ndarray]]:
    """Group whole buckets into shards of about `tokens` tokens."""
    shards: list[list[np.ndarray]] = [[]]
    filled = 0
    for bucket in buckets:
        if filled >= tokens:
            shards.append([])
            filled = 0
        shards[-1].append(bucket)
        filled += int(lengths[bucket].sum())
    return shards
