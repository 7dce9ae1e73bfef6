"""Text classification: one sentence or a pair, two or many classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from distillkit.losses.reduction import at_least_float32
from distillkit.metrics import resampled
from distillkit.metrics import task as scores
from distillkit.models.label_spaces import read_classes
from distillkit.tasks.class_weights import ClassWeights, check_weights, label_weights
from distillkit.tasks.sequence import SequenceTask
from distillkit.tasks.task import HeldOut
from distillkit.types import LabelSpace


@dataclass(frozen=True)
class Classification(SequenceTask):
    """One label out of several; `max_length` is in tokens, longer text is cut.

    Models are ranked by `headline`, and the best weights of a training are kept by it.
    `class_weights` weigh the loss on hard labels by class: a number for each in the labels' order,
    or "balanced": the number of examples, divided by that of the classes and of the class.
    """

    headline: Literal["accuracy", "macro_f1", "worst_class"] = "accuracy"
    class_weights: ClassWeights = None

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

    @property
    def scoring(self) -> dict[str, Any]:
        """The headline and the weights of classes, where they are not the usual ones."""
        usual = {"headline": type(self).headline, "class_weights": None}
        return {name: value for name in usual if (value := getattr(self, name)) != usual[name]}

    def label_weights(self, labels: np.ndarray, classes: int) -> np.ndarray | None:
        """The weight of each class in the loss on hard labels; `labels` are those of the training.

        Raises `ConfigError` where there are not as many weights as classes.
        """
        return label_weights(self.class_weights, labels, classes)

    def check_labels(self, classes: int) -> None:
        """Raise `ConfigError` where there are not as many weights as classes."""
        check_weights(self.class_weights, classes)

    def outcomes(self, logits: np.ndarray, held_out: HeldOut) -> np.ndarray:
        """Whether each text's class is right, [examples, 1].

        With F1 as headline the label and the predicted class of each, [examples, 2].
        """
        labels, predicted = np.asarray(held_out.table.labels), logits.argmax(axis=-1)
        if self.headline == "accuracy":
            return (predicted == labels)[:, None].astype(np.float64)
        return np.stack([labels, predicted], axis=1).astype(np.int64)

    def headline_score(self, outcomes: np.ndarray) -> float:
        """The headline metric of these texts."""
        if self.headline == "accuracy":
            return float(outcomes.mean())
        classes = int(outcomes.max(initial=0)) + 1
        score = resampled.macro_f1_of if self.headline == "macro_f1" else resampled.worst_class_of
        return score(outcomes[:, 0], outcomes[:, 1], classes)

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
