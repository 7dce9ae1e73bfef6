"""One pass of a teacher over all examples, and what is kept of it, shard by shard."""

from collections.abc import Generator
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
from distillkit.console.progress import say, track
from distillkit.models.activations import ActivationRecorder
from distillkit.models.inference import ForwardFn, predict
from distillkit.models.saved import Loaded, SavedModel, ordered
from distillkit.models.shapes import dimensions_of
from distillkit.targets import Draws, StoredTargets, StoreManifest, TargetWriter, unfinished
from distillkit.targets.hidden_states import StatesWriter
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
    keeps of a batch is computed, packed and written beside the next forward pass. Shards, and parts
    of one, that an earlier run left under `out` are not captured again.
    """

    def __init__(
        self,
        loaded: Loaded,
        saved: SavedModel,
        task: Task,
        examples: TokenTable,
        shards: list[list[np.ndarray]],
        *,
        settings: StoredTargets,
        states: StoredLayers,
        out: Path,
    ) -> None:
        self._loaded, self._saved, self._task = loaded, saved, task
        self._examples, self._shards = examples, shards
        self._settings, self._out = settings, out
        self._lengths, self._positions = examples.lengths, examples.positions
        self.device = compute_device()
        self._collate = collator(examples, loaded.tokenizer, self.device)
        self._recorder = self._recorder_of(states)
        self._writer = TargetWriter(out, settings.codec)
        self._states_writer = StatesWriter(out, states, dimensions_of(loaded.model))
        self._stream = SideStream(self.device)

    def run(self, *, labels: list[str], origin: dict[str, Any]) -> StoreManifest:
        """Capture all that is missing, and write the manifest; `labels` are in the data's order."""
        with self._writer, self._states_writer, self._stream:
            missing = self._missing()
            stopping.hold()  # a batch is whole: a signal waits for its end
            self._capture(missing)
            self._stream.wait()
            return self._finish(labels, origin)

    def outputs(
        self, buckets: list[np.ndarray]
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

    def _missing(self) -> list[_Shard]:
        """The shards that are not written, each after what an earlier run captured of it."""
        writers = (self._writer, self._states_writer)
        numbers = range(len(self._shards))
        missing = [n for n in numbers if not all(writer.committed(n) for writer in writers)]
        return [self._resumed(number) for number in missing]

    def _resumed(self, number: int) -> _Shard:
        shard, part = _Shard(number, self._shards[number]), unfinished.load(self._out, number)
        if part is not None:
            shard.position, outputs, states = part
            shard.parts = [Future()]
            shard.parts[0].set_result((outputs, states))
        return shard

    def _capture(self, missing: list[_Shard]) -> None:
        """Capture shard by shard; a signal ends it after the batch under way."""
        buckets = [bucket for shard in missing for bucket in shard.remaining]
        examples_done = len(self._examples) - sum(map(len, buckets))
        if examples_done:
            say(f"targets: going on after {examples_done:,} of {len(self._examples):,} examples")
        # progress in tokens: the longest examples come first, so their number would mislead
        total = int(self._lengths.sum())
        captured = total - sum(map(self._tokens, buckets))
        with (
            closing(self.outputs(buckets)) as outputs,
            track("targets", total, position=captured) as progress,
        ):
            for shard in missing:
                for batch, outputs_of_batch in islice(outputs, len(shard.remaining)):
                    shard.parts.append(self._keep(batch, outputs_of_batch))
                    shard.position += 1
                    progress.advance(tokens := self._tokens(batch.indices), tokens)
                    if stopping.requested():
                        break
                if not shard.remaining:
                    self._stream(partial(self._commit, shard))
                if stopping.requested():
                    self._leave(shard)

    def _keep(self, batch: Batch, outputs: Outputs | HiddenOutputs) -> Future[Captured]:
        """Have what is kept of a batch computed beside the next forward pass."""
        rows = batch.indices
        draws = Draws(self._settings.seed, self._examples.keys[rows], self._positions[rows])
        self._writer.describe(outputs)
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
        for writer in (self._writer, self._states_writer):
            writer.wait()
        stopping.check()

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
