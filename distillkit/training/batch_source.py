"""Batch sources: what the training loop trains on, one optimizer step at a time.

A source may cut its batches from a token table by a plan (`PlannedBatches`), or make them as it
goes, from the student that is being trained for one. A new kind is one class with the methods of
`BatchSource`; the loop knows nothing else of it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from distillkit.training.batching import Plan
from distillkit.types import Batch


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A part of one step's batch for one process, as large as its memory allows.

    A filler keeps step with the other processes where there is nothing left for this one: its loss
    and gradient are computed, exchanged and weighted 0.
    """

    batch: Batch
    is_filler: bool = False


class BatchSource(Protocol):
    """The batches of steps 1, 2, …

    For each step, in order, the loop seeds torch from the run's seed, the step and the rank, calls
    `positions(step)`, then iterates over `micro_batches(step, …)` once, and asks for `tokens(step)`
    last. A source that makes its batches as it goes makes those of a step at the first of these
    calls. A resumed run begins with the step after the checkpoint's: whatever a source's batches
    follow from must be the arguments, torch's generator, the model's weights, or `state_dict`, or
    the resumed run has other bits.
    """

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch: how long a run is whose length is given in epochs."""
        ...

    def positions(self, step: int) -> int:
        """Counted positions of the whole step, over all processes: the divisor of its loss."""
        ...

    def micro_batches(self, step: int, rank: int, world: int) -> Iterator[MicroBatch]:
        """The parts of the step's batch for process `rank` of `world`.

        At least one, and the same number for every process: each is an exchange between them.
        """
        ...

    def tokens(self, step: int) -> int:
        """Tokens of the whole step without padding, over all processes, for the log."""
        ...

    def state_dict(self) -> Mapping[str, Tensor]:
        """What a checkpoint must hold of the source after a step, by name; the same on all ranks.

        A checkpoint whose names are not those of the source is of another one and is not used.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state_dict` gave, with the same names and on the CPU."""
        return None  # noqa: RET501 - a body, or type checkers take the method for abstract


@dataclass(frozen=True)
class PlannedBatches(BatchSource):
    """Batches of a token table's examples, as a plan cuts them.

    All follows from the plan's lengths and seed, so that a checkpoint holds nothing of it.
    `example_positions` [examples] counts each example's positions, and `collate` makes the batch of
    some examples' numbers [batch]. A micro-batch has at most `micro_batch_size` rows over all
    processes; None: the step's whole batch.
    """

    plan: Plan
    example_positions: np.ndarray
    collate: Callable[[np.ndarray], Batch]
    micro_batch_size: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps until every example was seen."""
        return self.plan.steps_per_epoch

    def positions(self, step: int) -> int:
        """Counted positions of the step's examples."""
        return int(self.example_positions[self.plan.batch(step)].sum())

    def micro_batches(self, step: int, rank: int, world: int) -> Iterator[MicroBatch]:
        """The parts of the step's batch, each collated when it is due."""
        filler = self.plan.batch(step)[:1]
        for rows in self.plan.pieces(step, rows=self.micro_batch_size, rank=rank, world=world):
            if rows is None:
                yield MicroBatch(self.collate(filler), is_filler=True)
            else:
                yield MicroBatch(self.collate(rows))

    def tokens(self, step: int) -> int:
        """Tokens of the step's examples."""
        return int(self.plan.lengths[self.plan.batch(step)].sum())
