"""A task: classification whose models are ranked by the mean of the classes' recalls."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from distillkit.metrics.resampled import Column
from distillkit.tasks import Classification, HeldOut


@dataclass(frozen=True)
class BalancedClassification(Classification):
    """A rare class counts as much as a common one."""

    headline = "balanced_accuracy"
    measures: ClassVar[dict[str, dict[str, Any]]] = {
        "balanced_accuracy": {"title": "balanced accuracy", "format": ".4f", "falls": False}
    }

    def outcomes(self, logits: np.ndarray, held_out: HeldOut) -> np.ndarray:
        """Class and whether it is right, [texts, 2]."""
        labels = np.asarray(held_out.table.labels)
        return np.stack([labels, logits.argmax(axis=-1) == labels], axis=1).astype(np.float64)

    def headline_score(self, outcomes: np.ndarray) -> float:
        """The mean recall of the classes that occur."""
        classes = np.unique(outcomes[:, 0])
        return float(np.mean([outcomes[outcomes[:, 0] == c, 1].mean() for c in classes]))

    def scores(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, float]:
        """Those of any classification, and the headline."""
        return {
            self.headline: self.headline_score(outcomes),
            **super().scores(logits, outcomes, held_out),
        }

    def columns(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, Column]:
        """The same, by which texts are counted."""
        balanced = {self.headline: lambda rows: self.headline_score(outcomes[rows])}
        return balanced | super().columns(logits, outcomes, held_out)
