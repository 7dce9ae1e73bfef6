"""Multi-label classification: any number of labels a text, each holding by itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from distillkit.console.wording import brief
from distillkit.errors import DataError
from distillkit.losses.reduction import at_least_float32
from distillkit.metrics import resampled
from distillkit.metrics import task as scores
from distillkit.metrics.counts import precision_recall_f1
from distillkit.models.label_spaces import read_classes
from distillkit.setting_types import Fraction
from distillkit.tasks.sequence import SequenceTask
from distillkit.tasks.task import HeldOut
from distillkit.types import Distribution, LabelSpace


@dataclass(frozen=True)
class MultiLabel(SequenceTask):
    """Each label holds or not, with a probability of its own: a sigmoid, no softmax.

    Labels of a probability above `threshold` are predicted. `max_length` is in tokens, longer text
    is cut.
    """

    threshold: Fraction = 0.5
    headline: Literal["micro_f1", "macro_f1", "subset_accuracy"] = "micro_f1"

    distribution: ClassVar[Distribution] = "bernoulli"
    problem_type = "multi_label_classification"

    @property
    def protocol(self) -> str:
        """F1 at another threshold is another number."""
        return f"labels of a probability above {self.threshold:g}"

    @property
    def scoring(self) -> dict[str, Any]:
        """The threshold: it decides F1; the headline, where it is not the usual one."""
        options = {} if self.headline == "micro_f1" else {"headline": self.headline}
        return {"threshold": self.threshold, **options}

    def read_labels(
        self, values: Sequence[Any], names: list[str] | None = None
    ) -> tuple[LabelSpace, np.ndarray]:
        """The label space of all labels, and which hold, int64 [rows, labels] of 0 and 1.

        A text may have none.
        """
        single = next((v for v in values if not isinstance(v, (list, tuple))), None)
        if single is not None:
            raise DataError(
                f"data.label: holds {brief(single, 60)!r}, which is no list of labels; write "
                "lists, set data.label_separator to what stands between the labels of a text, or "
                "name 0/1 columns with data.label=[…] (one label a text is for "
                "task=classification)"
            )
        flat = [label for row in values for label in row]
        if names and len(names) < 2:
            raise DataError(
                f"data.label: {brief(names[0], 60)} is the only label; whether one holds is for "
                "task=classification"
            )
        space, ids = read_classes(flat, names, fewest=1 if names else 2)
        rows = np.repeat(np.arange(len(values)), [len(row) for row in values])
        holds = np.zeros((len(values), space.outputs), np.int64)
        holds[rows, ids] = 1
        return space, holds

    @staticmethod
    def per_example(logits: Tensor, labels: Tensor) -> Tensor:
        """Binary cross-entropy in nats, the mean over the labels, [batch]; float32 inside."""
        wide = at_least_float32(logits)
        values = F.binary_cross_entropy_with_logits(wide, labels.to(wide.dtype), reduction="none")
        return values.mean(dim=-1)

    def outcomes(self, logits: np.ndarray, held_out: HeldOut) -> np.ndarray:
        """Of each text, int64 [examples, 3]: the labels that are right, predicted, and there.

        With macro-F1 as headline which are predicted, and which are there, [examples, 2, labels].
        """
        predictions, labels = self.predicted(logits), np.asarray(held_out.table.labels, bool)
        if self.headline == "macro_f1":
            return np.stack([predictions, labels], axis=1).astype(np.int64)
        counts = [(predictions & labels).sum(axis=1), predictions.sum(axis=1), labels.sum(axis=1)]
        return np.stack(counts, axis=1).astype(np.int64)

    def headline_score(self, outcomes: np.ndarray) -> float:
        """The headline metric of these texts."""
        if self.headline == "micro_f1":
            return precision_recall_f1(outcomes)[2]
        if self.headline == "subset_accuracy":
            return float((outcomes == outcomes[:, :1]).all(axis=1).mean())
        hits, sizes = outcomes.all(axis=1).sum(axis=0), outcomes.sum(axis=(0, 1))
        return float((2 * hits / np.maximum(1, sizes)).mean())

    def scores(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, float]:
        """Micro and macro F1, subset accuracy, and NLL in nats a text."""
        labels = np.asarray(held_out.table.labels)
        return scores.multi_label_scores(logits, self.predicted(logits), labels)

    def columns(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, resampled.Column]:
        """The same metrics, each as a function of which texts are counted."""
        labels = np.asarray(held_out.table.labels)
        return resampled.label_columns(logits, self.predicted(logits), labels)

    def answers_as_text(self, answers: np.ndarray, held_out: HeldOut) -> list[str] | None:
        """The labels that hold, as a JSON list."""
        names = held_out.labels.names
        return [
            json.dumps([names[i] for i in np.flatnonzero(row)], ensure_ascii=False)
            for row in answers
        ]

    def predicted(self, logits: np.ndarray) -> np.ndarray:
        """Which labels are above the threshold, bool [texts, labels]."""
        threshold = np.log(self.threshold / (1 - self.threshold)) if self.threshold else -np.inf
        return logits > threshold
