"""One pass of a teacher over all examples, and what is kept of it, shard by shard.

Several processes may do it together: each claims one shard at a time (`ShardQueue`), and the last
of them to come finds nothing left to claim. A shard's bits do not depend on who captured it.
"""

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from distillkit import stopping
from distillkit.artifacts.shared_work import LOOK
from distillkit.console.progress import Track, say, track
from distillkit.models.activations import ActivationRecorder
from distillkit.models.inference import ForwardFn, predict
from distillkit.models.saved import Loaded, SavedModel, ordered
from distillkit.models.shapes import dimensions_of
from distillkit.targets import Draws, StoredTargets, StoreManifest, TargetWriter, unfinished
from distillkit.targets.hidden_states import StatesWriter
from distillkit.targets.shard_queue import ShardQueue
from distillkit.targets.unfinished import Picked, joined
from distillkit.tasks import Task
from distillkit.token_table import TokenTable
from distillkit.training.collation import collator
from distillkit.training.distributed import compute_device
from distillkit.training.online_teacher import check_finite, watch
from distillkit.training.side_stream import SideStream
from distillkit.types import (
    Activations,
    ActivationSpec,
    Batch,
    HiddenOutputs,
    Outputs,
    StoredLayers,
)

Captured = tuple[Picked, Picked]  # what is kept of a batch's outputs, and of its hidden states


@dataclass(slots=True)
class _Shard:
    """A shard that is not written yet: `done` of its buckets [examples] were captured."""

    number: int
    buckets: list[np.ndarray]
    position: int = 0
    parts: list[Future[Captured]] = field(default_factory=list)

    @property
    def remaining(self) -> list[np.ndarray]:
        """The buckets that the teacher has not read."""
        return self.buckets[self.position :]

    def joined(self) -> Captured:
        """What was captured of all its buckets so far, as arrays over their positions."""
        outputs, states = zip(*(part.result() for part in self.parts), strict=True)
        return joined(outputs), joined(states)


class TargetCapture:
    """Captures a teacher's outputs, and hidden states where `states` names layers, under `out`.

    `shards` are lists of buckets, and a bucket is the examples of one forward pass. What the codec
    keeps of a batch is computed, packed and written beside the next forward pass. Shards that are
    there, or that another process has claimed in the `queue`, are not captured; of parts of one
    that an earlier run left the rest is.
    """

    def __init__(
        self,
        loaded: Loaded,
        saved: SavedModel,
        task: Task,
        examples: TokenTable,
        shards: list[list[np.ndarray]],
        queue: ShardQueue,
        *,
        settings: StoredTargets,
        states: StoredLayers,
        out: Path,
    ) -> None:
        self._loaded, self._saved, self._task = loaded, saved, task
        self._examples, self._shards, self._queue = examples, shards, queue
        self._settings, self._out = settings, out
        self._lengths, self._positions = examples.lengths, examples.positions
        self.device = compute_device()
        self._collate = collator(examples, loaded.tokenizer, self.device)
        self._recorder = self._recorder_of(states)
        self._writer = TargetWriter(out, settings.codec)
        self._states_writer = StatesWriter(out, states, dimensions_of(loaded.model))
        self._stream = SideStream(self.device)

    def run(self, *, labels: list[str], origin: dict[str, Any]) -> StoreManifest:
        """Capture all that is missing, and write the manifest; `labels` are in the data's order.

        Waits for the shards that other processes are at, and captures those of one that died.
        """
        with self._writer, self._states_writer, self._stream:
            stopping.hold()  # a batch is whole: a signal waits for its end
            self._say_left()
            self._capture(waits=True)
            self._stream.wait()
            return self._finish(labels, origin)

    def take_part(self, first: int) -> int:
        """Capture the shard `first`, which it has claimed, and what else is free; how many."""
        with self._writer, self._states_writer, self._stream:
            stopping.hold()
            return self._capture(waits=False, first=first)

    def outputs(
        self, buckets: Iterable[np.ndarray]
    ) -> Generator[tuple[Batch, Outputs | HiddenOutputs], None, None]:
        """(batch, the teacher's outputs at its counted positions, in the data's label order)."""
        model, precision = self._loaded.model, self._settings.precision
        for batch, outputs in predict(
            model, self._forward(), buckets, self._collate, precision=precision
        ):
            yield batch, ordered(outputs, self._loaded.order)

    def _forward(self) -> ForwardFn:
        """The task's forward function, with the recorder on where hidden states are captured."""
        forward, recorder = self._task.forward_fn(self._loaded.tokenizer), self._recorder
        if recorder is None:
            return forward

        def recorded(model: Any, batch: Batch) -> Outputs | HiddenOutputs:
            with recorder():
                return forward(model, batch)

        return recorded

    def _recorder_of(self, states: StoredLayers) -> ActivationRecorder | None:
        needs = ActivationSpec(hidden=states.first | states.whole)
        return watch(self._loaded.model, needs) if states else None

    def _resumed(self, number: int) -> _Shard:
        shard, part = _Shard(number, self._shards[number]), unfinished.load(self._out, number)
        if part is not None:
            shard.position, outputs, states = part
            shard.parts = [Future()]
            shard.parts[0].set_result((outputs, states))
        return shard

    def _say_left(self) -> None:
        """Say what is there already."""
        missing = self._queue.missing()
        left = sum(sum(map(len, self._resumed(number).remaining)) for number in missing)
        if left < len(self._examples):
            done = len(self._examples) - left
            say(f"targets: going on after {done:,} of {len(self._examples):,} examples")

    def _capture(self, *, waits: bool, first: int | None = None) -> int:
        """Capture shard by shard; a signal ends it after the batch under way.

        Returns how many shards this process has captured.
        """
        buckets: deque[np.ndarray] = deque()
        count = 0
        # progress in tokens: the longest examples come first, so their number would mislead
        captured = sum(map(self._shard_tokens, self._queue.new()))
        with (
            closing(self.outputs(_popped(buckets))) as outputs,
            track("targets", int(self._lengths.sum()), position=captured) as progress,
        ):
            for shard in self._claimed(progress, waits=waits, first=first):
                buckets.extend(shard.remaining)
                for batch, outputs_of_batch in islice(outputs, len(buckets)):
                    shard.parts.append(self._keep(shard.number, batch, outputs_of_batch))
                    shard.position += 1
                    progress.advance(tokens := self._tokens(batch.indices), tokens)
                    if stopping.requested():
                        break
                if not shard.remaining:
                    self._stream(partial(self._commit, shard))
                    count += 1
                if stopping.requested():
                    self._leave(shard)
        return count

    def _claimed(self, progress: Track, *, waits: bool, first: int | None) -> Iterator[_Shard]:
        """The shards that this process claims, one after the other; `first` is claimed already.

        With `waits` it ends when all shards are there, else when none is free.
        """
        own: set[int] = set()
        while True:
            number = self._queue.claim() if first is None else first
            first = None
            progress.advance(
                sum(self._shard_tokens(it) for it in self._queue.new() if it not in own)
            )
            if number is not None:
                own.add(number)
                shard = self._resumed(number)
                progress.advance(
                    self._shard_tokens(number) - sum(map(self._tokens, shard.remaining))
                )
                yield shard
                continue
            self._flush()
            self._queue.release()
            if not waits or not self._queue.missing():
                return
            stopping.check()
            time.sleep(LOOK)

    def _keep(self, shard: int, batch: Batch, outputs: Outputs | HiddenOutputs) -> Future[Captured]:
        """Have what is kept of a batch computed beside the next forward pass."""
        rows = batch.indices
        draws = Draws(self._settings.seed, self._examples.keys[rows], self._positions[rows])
        self._writer.describe(outputs, saves_shared=shard == 0)
        activations = None
        if self._recorder is not None:
            activations = (self._recorder.pop(), batch.inputs["attention_mask"])
        return self._stream(partial(self._selected, outputs, draws, activations))

    def _selected(
        self,
        outputs: Outputs | HiddenOutputs,
        draws: Draws,
        activations: tuple[Activations, Tensor] | None,
    ) -> Captured:
        """What the codec keeps of a batch's outputs, and what is kept of its hidden states."""
        check_finite(outputs, key=f"{self._saved.key} = {self._saved.folder}: what it says")
        arrays = self._settings.codec.select(outputs, draws)
        return arrays, self._states_writer.select(*activations) if activations else {}

    def _commit(self, shard: _Shard) -> None:
        """Write a shard that is complete, and forget its arrays."""
        rows = np.concatenate(shard.buckets)
        keys = self._examples.keys[rows]
        outputs, states = shard.joined()
        shard.parts.clear()
        self._writer.write(shard.number, keys, self._positions[rows], outputs)
        if self._recorder is not None:
            self._states_writer.write(shard.number, keys, self._lengths[rows], states)

    def _leave(self, shard: _Shard) -> None:
        """Write what was captured of a shard that is not complete, and end the process."""
        self._stream.wait()
        if shard.remaining:
            unfinished.save(self._out, shard.number, shard.position, *shard.joined())
        self._flush()
        stopping.check()

    def _flush(self) -> None:
        """Return when all that was captured is committed."""
        self._stream.wait()
        for writer in (self._writer, self._states_writer):
            writer.wait()

    def _finish(self, labels: list[str], origin: dict[str, Any]) -> StoreManifest:
        """Write the manifests over all shards."""
        counts = [sum(map(len, shard)) for shard in self._shards]
        tokens = int(self._lengths.sum())
        self._states_writer.finish(counts, tokens=tokens, origin=origin)
        return self._writer.finish(
            counts,
            tokens=tokens,
            labels=labels,
            origin=origin,
            distribution=self._task.distribution,
        )

    def _tokens(self, rows: np.ndarray) -> int:
        return int(self._lengths[rows].sum())

    def _shard_tokens(self, number: int) -> int:
        return sum(map(self._tokens, self._shards[number]))


def _popped(buckets: deque[np.ndarray]) -> Iterator[np.ndarray]:
    """The buckets of the queue, which is filled again before it is asked while empty."""
    while buckets:
        yield buckets.popleft()
