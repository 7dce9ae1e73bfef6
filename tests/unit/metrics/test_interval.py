"""How sure a score is."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from distillkit.metrics.interval import bootstrap_difference, bootstrap_score

RESAMPLES = 300


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(predictions == labels))


def guesses(rng: np.random.Generator, labels: np.ndarray, share: float) -> np.ndarray:
    """Predictions that are right about this share of the time."""
    return np.where(rng.random(len(labels)) < share, labels, 1 - labels)


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, 200)


def test_the_interval_holds_the_score(labels: np.ndarray) -> None:
    predictions = guesses(np.random.default_rng(1), labels, 0.8)
    low, high = bootstrap_score(accuracy, predictions, labels, resamples=RESAMPLES, level=0.95)
    assert low < accuracy(predictions, labels) < high


def test_the_interval_covers_the_truth_about_as_often_as_its_level_says() -> None:
    rng = np.random.default_rng(0)
    held, worlds = 0, 100
    for _ in range(worlds):
        labels = rng.integers(0, 2, 100)
        low, high = bootstrap_score(
            accuracy, guesses(rng, labels, 0.7), labels, resamples=100, level=0.8
        )
        held += low <= 0.7 <= high
    assert 0.7 <= held / worlds <= 0.9


def test_a_difference_is_covered_and_has_the_sign_of_first_minus_second() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    first, second = guesses(rng, labels, 0.9), guesses(rng, labels, 0.7)
    difference, low, high = bootstrap_difference(
        accuracy, first, second, labels, resamples=RESAMPLES, level=0.95
    )
    assert difference == pytest.approx(accuracy(first, labels) - accuracy(second, labels))
    assert 0 < low < difference < high
    assert low < 0.2 < high


def test_pairing_makes_the_interval_of_alike_models_narrow(labels: np.ndarray) -> None:
    first = guesses(np.random.default_rng(1), labels, 0.8)
    second = first.copy()
    second[0] = 1 - second[0]
    _, low, high = bootstrap_difference(
        accuracy, first, second, labels, resamples=RESAMPLES, level=0.95
    )
    alone = bootstrap_score(accuracy, first, labels, resamples=RESAMPLES, level=0.95)
    assert high - low < (alone[1] - alone[0]) / 4


def test_equal_predictions_differ_by_nothing_for_sure(labels: np.ndarray) -> None:
    same = guesses(np.random.default_rng(1), labels, 0.8)
    assert bootstrap_difference(
        accuracy, same, same.copy(), labels, resamples=RESAMPLES, level=0.95
    ) == (0.0, 0.0, 0.0)


def test_the_seed_decides_the_interval(labels: np.ndarray) -> None:
    predictions = guesses(np.random.default_rng(1), labels, 0.8)

    def mixed(p: np.ndarray, y: np.ndarray) -> float:
        return accuracy(p, y) + p.mean() / 1e3  # so fine that two seeds hardly give one value

    first, again, other = (
        bootstrap_score(mixed, predictions, labels, resamples=RESAMPLES, level=0.9, seed=seed)
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_higher_level_gives_a_wider_interval(labels: np.ndarray) -> None:
    predictions = guesses(np.random.default_rng(1), labels, 0.8)
    widths = []
    for level in (0.5, 0.9, 0.99):
        low, high = bootstrap_score(accuracy, predictions, labels, resamples=RESAMPLES, level=level)
        widths.append(high - low)
    assert widths == sorted(set(widths))


def test_rows_of_logits_are_resampled_with_their_labels(labels: np.ndarray) -> None:
    def first_is_right(logits: np.ndarray, labels: np.ndarray) -> float:
        return accuracy(logits.argmax(axis=-1), labels)

    logits = np.eye(2)[labels]  # every example is right: so is every resample
    score = bootstrap_score(first_is_right, logits, labels, resamples=RESAMPLES, level=0.95)
    assert score == (1.0, 1.0)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_it_is_the_interval_of_scipy(level: float) -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=90), rng.normal(size=90)

    def error(predictions: np.ndarray, values: np.ndarray) -> float:
        return float(np.mean((predictions - values) ** 2))

    found = bootstrap_score(error, first, second, resamples=RESAMPLES, level=level)
    expected = bootstrap(
        (first, second),
        error,
        paired=True,
        vectorized=False,
        n_resamples=RESAMPLES,
        batch=1,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert found == pytest.approx(tuple(expected), rel=1e-14)
