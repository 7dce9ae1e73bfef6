"""How sure a score is: percentile bootstrap (Efron, Tibshirani 1993, section 13.3).

An interval covers the choice of test examples, not of training seeds. `scipy.stats.bootstrap`
(paired, method="percentile") gives the same numbers but for their last digit, and takes 3 to 90
times as long; here all columns of all models share their resamples, too.
"""

from collections.abc import Callable, Iterator

import numpy as np

Score = Callable[[np.ndarray, np.ndarray], float]


def bootstrap_score(
    score: Score,
    predictions: np.ndarray,
    labels: np.ndarray,
    *,
    resamples: int,
    level: float,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval (low, high) of `score` (predictions [examples, …], labels [examples])."""
    values = [score(predictions[r], labels[r]) for r in resampled(len(labels), resamples, seed)]
    return percentiles(values, level)


def bootstrap_difference(
    score: Score,
    first: np.ndarray,
    second: np.ndarray,
    labels: np.ndarray,
    *,
    resamples: int,
    level: float,
    seed: int = 0,
) -> tuple[float, float, float]:
    """score(first) - score(second) and its interval: (difference, low, high).

    Paired: both are scored on the same resampled examples.
    """
    values = [
        score(first[rows], labels[rows]) - score(second[rows], labels[rows])
        for rows in resampled(len(labels), resamples, seed)
    ]
    return score(first, labels) - score(second, labels), *percentiles(values, level)


def resampled(examples: int, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Row numbers drawn with replacement, `resamples` times; the same for the same `seed`."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield rng.integers(0, examples, examples)


def percentiles(values: list[float], level: float) -> tuple[float, float]:
    """The interval (low, high) that holds the middle `level` of the values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
