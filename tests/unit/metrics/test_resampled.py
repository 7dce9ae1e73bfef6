"""Metrics of resampled texts: on all texts, and on any choice of them, what the metrics give."""

from collections.abc import Callable

import numpy as np
import pytest

from distillkit.metrics import resampled, task
from distillkit.metrics.calibration import calibrated
from distillkit.metrics.interval import bootstrap_difference

RNG = np.random.default_rng(0)
ROWS = [np.arange(60), RNG.integers(0, 60, 60), RNG.integers(0, 5, 60)]
each_choice = pytest.mark.parametrize("rows", ROWS)


def texts(count: int = 60) -> np.ndarray:
    return np.arange(count + 1)


@each_choice
def test_one_label_a_text(rows: np.ndarray) -> None:
    logits, labels = RNG.normal(size=(60, 7)).astype(np.float32), RNG.integers(0, 5, 60)
    columns = resampled.class_columns(logits, labels)
    expected = task.classification_scores(logits[rows], labels[rows])
    assert {n: column(rows) for n, column in columns.items()} == pytest.approx(expected)


@each_choice
def test_several_labels_a_text(rows: np.ndarray) -> None:
    logits, labels = RNG.normal(size=(60, 4)).astype(np.float32), RNG.integers(0, 2, (60, 4))
    labels[:, 3] = 0
    logits[:, 3] = -1  # neither there nor predicted
    columns = resampled.label_columns(logits, logits > 0, labels)
    expected = task.multi_label_scores(logits[rows], logits[rows] > 0, labels[rows])
    assert {n: column(rows) for n, column in columns.items()} == pytest.approx(expected)


@each_choice
def test_one_value_a_text(rows: np.ndarray) -> None:
    values = RNG.normal(size=60).round(1)  # some are equal
    predictions = values + RNG.normal(size=60)
    columns = resampled.value_columns(predictions, values)
    expected = task.regression_scores(predictions[rows], values[rows])
    assert {n: column(rows) for n, column in columns.items()} == pytest.approx(expected)


@each_choice
@pytest.mark.parametrize("distribution", ["softmax", "bernoulli"])
def test_the_calibration_error(distribution: str, rows: np.ndarray) -> None:
    logits = RNG.normal(size=(60, 3)).astype(np.float32)
    several = distribution == "bernoulli"
    labels = RNG.integers(0, 2, (60, 3)) if several else RNG.integers(0, 3, 60)
    found = resampled.calibration_column(distribution, logits, labels, texts(), bins=10)  # type: ignore[arg-type]
    expected = calibrated(distribution, logits[rows], labels[rows], bins=10)  # type: ignore[arg-type]
    assert expected is not None
    assert found["ece"](rows) == pytest.approx(expected.expected_calibration_error)


def test_a_value_has_no_calibration_error() -> None:
    assert resampled.calibration_column("real", np.ones((2, 1)), np.ones(2), texts(2), bins=3) == {}


def test_words_count_with_their_texts() -> None:
    offsets, labels = np.array([0, 3, 3, 5]), np.array([0, 1, 0, 1, 1])
    logits = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]]))
    columns = resampled.word_columns(logits, labels, offsets)
    rows = np.array([0, 1, 1])  # a text without words adds none
    assert columns["token_accuracy"](rows) == pytest.approx(2 / 3)
    assert columns["nll"](rows) == pytest.approx(-np.log([0.9, 0.1, 0.6]).mean())
    assert columns["token_accuracy"](np.array([0, 2, 2])) == pytest.approx((2 + 2 * 1) / 7)


def test_counts_give_precision_recall_and_f1() -> None:
    columns = resampled.count_columns(np.array([[1, 2, 4], [3, 3, 3]]))
    rows = np.array([0, 0, 1])
    assert columns["precision"](rows) == pytest.approx(5 / 7)
    assert columns["recall"](rows) == pytest.approx(5 / 11)
    assert columns["f1"](rows) == pytest.approx(10 / 18)


def test_differences_are_paired_and_those_of_the_plain_bootstrap() -> None:
    right = [RNG.random(60) < share for share in (0.9, 0.5)]

    def accuracy(of: np.ndarray) -> dict[str, Callable[[np.ndarray], float]]:
        return {"accuracy": lambda rows: float(of[rows].mean())}

    first, second = (accuracy(values) for values in right)
    drawn = [resampled.draws(it, texts=60, resamples=50) for it in (first, second)]
    found = resampled.differences(*drawn, level=0.9)["accuracy"]
    expected = bootstrap_difference(
        lambda rows, _: float(rows.mean()), *right, right[0], resamples=50, level=0.9
    )
    assert (found["difference"], found["low"], found["high"]) == pytest.approx(expected)
    same = resampled.differences(drawn[0], drawn[0], level=0.9)["accuracy"]
    assert same == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_agreement_is_told_apart_by_whether_the_teacher_is_right() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    teacher = np.eye(2)[[0, 1, 1, 1, 0]]  # right, wrong, right, right, wrong
    student = np.eye(2)[[0, 1, 0, 1, 1]]  # alike: yes, yes, no, yes, no
    columns = resampled.fidelity_columns(student, teacher, labels, texts(5))
    every = np.arange(5)
    assert {name: column(every) for name, column in columns.items()} == pytest.approx(
        {"agreement": 3 / 5, "agreement_right": 2 / 3, "agreement_wrong": 1 / 2}
    )
    assert columns["agreement_wrong"](np.array([0, 2])) == 0.0
    assert columns["agreement_right"](np.array([0, 0, 2])) == pytest.approx(2 / 3)


def test_agreement_of_words_is_counted_by_their_texts() -> None:
    labels = np.array([0, 1, 1])
    both = np.eye(2)[[0, 1, 0]], np.eye(2)[[0, 0, 0]]
    columns = resampled.fidelity_columns(*both, labels, np.array([0, 2, 3]))
    assert columns["agreement"](np.array([0])) == pytest.approx(1 / 2)
    assert columns["agreement"](np.array([0, 1])) == pytest.approx(2 / 3)


def test_the_worst_class_is_of_those_that_are_there() -> None:
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 2])
    assert resampled.worst_class_of(labels, predicted, 4) == 0.0
    predicted = np.array([0, 1, 1, 1])
    assert resampled.worst_class_of(labels, predicted, 4) == pytest.approx(2 / 3)
    assert resampled.macro_f1_of(labels, predicted, 4) == pytest.approx((2 / 3 + 0.8) / 2)
