"""A metric: the Brier score, https://doi.org/10.1175/1520-0493(1950)078."""

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from distillkit.metrics import Metric


@dataclass(frozen=True)
class Brier(Metric):
    """The mean squared distance of the probabilities from the labels; `scale` multiplies it."""

    scale: float = 1.0

    title = "Brier"
    falls = True

    def score(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """Between 0 and 2, times the scale."""
        probabilities = softmax(logits.astype(np.float64), axis=-1)
        truth = np.eye(logits.shape[1])[labels]
        return float(self.scale * ((probabilities - truth) ** 2).sum(axis=1).mean())
