"""The work of a capture as every process sees it that takes part in it."""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.artifacts.workspace import first_difference
from distillkit.console.progress import say, several
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

    @property
    def device(self) -> str:
        """What no two processes should compute on beside each other; empty for a processor."""
        device = compute_device()
        if device.type != "cuda":
            return ""
        return f"gpu-{torch.cuda.get_device_properties(device).uuid}"

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
            self._decline_plan(self._queue)
            return False
        with closing(self._queue):
            first = self._queue.claim() if self._has_room(self._work, self._queue) else None
            if first is not None:
                count = self._work.capture(self._queue, out).take_part(first)
                say(f"targets: {count:,} of {len(self._work.shards):,} shards by this process")
            self._is_over = not self._queue.missing()
        if self._is_over:
            self._work = None  # nor is the teacher needed any more
        return self._is_over

    def _has_room(self, work: TargetWork, queue: ShardQueue) -> bool:
        """Whether this process would not slow down those that are at work; a rank never asks.

        On a GPU there is one at a time. On processors the threads must not be more than the cores:
        those of two jobs wait for each other in turns.
        """
        if several():
            return True
        if work.device:
            has_room = queue.take_device(work.device)
            self._decline("another process computes on this GPU", is_true=not has_room)
            return has_room
        threads, cores = torch.get_num_threads(), os.cpu_count() or 1
        has_room = threads == 1 or (1 + queue.neighbours()) * threads <= cores
        why = (
            f"other processes of this machine compute on its {cores} cores, and {threads} threads "
            "more would slow all down (OMP_NUM_THREADS=1 for each lets all take part)"
        )
        self._decline(why, is_true=not has_room)
        return has_room

    def _decline_plan(self, queue: ShardQueue) -> None:
        difference = first_difference(queue.plan, queue.other_plan)
        if queue.other_plan and difference:
            name, own, others = difference
            self._decline(f"cut otherwise by that process ({name}: {others} there, {own} here)")

    def _decline(self, why: str, *, is_true: bool = True) -> None:
        """Say once why this process does not take part."""
        if is_true and not self._has_declined:
            self._has_declined = True
            say(f"targets: {why}; waiting")


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
