"""Text classification: one sentence or a pair, two or many classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from distillkit.losses.reduction import at_least_float32
from distillkit.metrics import resampled
from distillkit.metrics import task as scores
from distillkit.models.label_spaces import read_classes
from distillkit.tasks.sequence import SequenceTask
from distillkit.tasks.task import HeldOut
from distillkit.types import LabelSpace


@dataclass(frozen=True)
class Classification(SequenceTask):
    """One label out of several; `max_length` is in tokens, longer text is cut."""

    headline = "accuracy"
    problem_type = "single_label_classification"

    @staticmethod
    def read_labels(
        values: Sequence[Any], names: list[str] | None = None
    ) -> tuple[LabelSpace, np.ndarray]:
        """The label space of all label values, and the values as class ids [rows]."""
        return read_classes(values, names)

    @staticmethod
    def per_example(logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, [batch]; float32 inside."""
        return F.cross_entropy(at_least_float32(logits), labels, reduction="none")

    def outcomes(self, logits: np.ndarray, held_out: HeldOut) -> np.ndarray:
        """Whether each text's class is right, [examples, 1]."""
        return (logits.argmax(axis=-1) == held_out.table.labels)[:, None].astype(np.float64)

    def headline_score(self, outcomes: np.ndarray) -> float:
        """Accuracy."""
        return float(outcomes.mean())

    def scores(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, float]:
        """Accuracy, macro-averaged F1 and NLL."""
        return scores.classification_scores(logits, np.asarray(held_out.table.labels))

    def columns(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, resampled.Column]:
        """The same metrics, each as a function of which texts are counted."""
        return resampled.class_columns(logits, np.asarray(held_out.table.labels))
