"""Whether a confidence of 0.8 is right eight times in ten."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, softmax

from distillkit.types import Distribution


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidence against accuracy in equal-width bins; an empty bin has count 0 and nan values."""

    edges: Float[np.ndarray, " edges"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    count: Int[np.ndarray, " bins"]

    @property
    def expected_calibration_error(self) -> float:
        """The mean gap between confidence and accuracy, weighted by the bins' counts.

        Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3.
        """
        filled = self.count > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float((gaps * self.count[filled]).sum() / self.count.sum())

    def record(self) -> dict[str, list[float | None]]:
        """The bins as JSON; None where a bin is empty."""
        names = ("edges", "confidence", "accuracy", "count")
        return {n: [None if v != v else v for v in getattr(self, n).tolist()] for n in names}

    @classmethod
    def of_record(cls, record: Mapping[str, list[float | None]]) -> "Reliability":
        """The bins that `record` gave."""
        floats = {name: np.array(values, np.float64) for name, values in record.items()}
        return cls(**floats | {"count": floats["count"].astype(np.int64)})


def calibrated(
    distribution: Distribution, logits: np.ndarray, labels: np.ndarray, *, bins: int
) -> Reliability | None:
    """The reliability of outputs of this meaning; None where they are no probabilities."""
    if distribution == "real":
        return None
    if distribution == "bernoulli":
        predictions = logits > 0  # the likelier of holding and not holding
        confidence = expit(np.abs(logits.astype(np.float64)))
        return binned(confidence.ravel(), (predictions == labels).ravel(), bins=bins)
    return reliability(logits, np.asarray(labels), bins=bins)


def reliability(
    logits: Float[np.ndarray, "examples classes"],
    labels: Int[np.ndarray, " examples"],
    *,
    bins: int,
) -> Reliability:
    """Bin the examples by the probability of their predicted class."""
    confidence = softmax(logits.astype(np.float64), axis=-1).max(axis=-1)
    return binned(confidence, logits.argmax(axis=-1) == labels, bins=bins)


def binned(
    confidence: Float[np.ndarray, " examples"], correct: Bool[np.ndarray, " examples"], *, bins: int
) -> Reliability:
    """Bin predictions of these confidences, right or not."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    # right-closed bins, so that a confidence of exactly 1 falls into the last
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            edges=edges,
            confidence=np.bincount(place, weights=confidence, minlength=bins) / count,
            accuracy=np.bincount(place, weights=correct, minlength=bins) / count,
            count=count,
        )
