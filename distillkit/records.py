"""Frozen records that travel between the layers; tensors never travel in dicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


KEY_BYTES = 16  # an example's key: what its soft targets are filed under


@dataclass(frozen=True, slots=True)
class Batch:
    """One collated micro-batch.

    `inputs` are the model's keyword arguments. `indices` [batch] are positions in the token table
    that the batch was cut from. `labels` [batch] are class ids or real values; `labelled` [batch]
    is False where the label means nothing (transfer text has none).
    """

    inputs: Mapping[str, Tensor]
    indices: np.ndarray
    labels: Tensor
    labelled: Tensor


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the student said about one batch: `logits` [batch, classes]."""

    logits: Tensor


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """What the teacher said of one batch: `logits` [batch, classes], in the data's label order."""

    logits: Tensor


@dataclass(frozen=True, slots=True)
class HardLabels:
    """The data's own labels: `values` [batch] and where they mean something, `labelled` [batch].

    `per_example` is the task's loss against them (cross-entropy for classes, squared error for a
    real value): (logits [batch, classes], values [batch]) -> [batch].
    """

    values: Tensor
    labelled: Tensor
    per_example: Any


@dataclass(frozen=True, slots=True)
class LossTerms:
    """A loss before reduction: a value for each position, and a weight for each term.

    `values[name]` is [batch] or [batch, tokens]; positions that do not count are exactly 0.
    """

    values: Mapping[str, Tensor]
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """The labels of a task in their one order. `names` is empty for a real-valued label."""

    names: tuple[str, ...]
    numeric: bool = False  # the data spelt its labels as numbers, so LABEL_i can only mean i

    @property
    def outputs(self) -> int:
        """The width of the model's head."""
        return max(1, len(self.names))


@dataclass(frozen=True, slots=True)
class FitReport:
    """What one training run did. `history` holds the logged rows, `best_step` the weights kept."""

    steps: int
    best_step: int
    best_score: float | None
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list)
