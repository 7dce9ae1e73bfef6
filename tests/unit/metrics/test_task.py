"""How well predictions fit the labels."""

import math

import numpy as np
import pytest

from distillkit.metrics.task import classification_scores, regression_scores

LOGITS = np.log([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.25, 0.5, 0.25]])
LABELS = np.array([0, 1, 1, 0])


def test_classification_by_hand() -> None:
    # predicted 0 0 1 1: class 0 and class 1 each have precision 1/2 and recall 1/2
    scores = classification_scores(LOGITS, LABELS)
    assert scores["accuracy"] == 0.5
    assert scores["macro_f1"] == 0.5
    expected = -(math.log(0.7) + math.log(0.25) + math.log(0.8) + math.log(0.25)) / 4
    assert scores["nll"] == pytest.approx(expected)


def test_macro_f1_leaves_out_a_class_that_does_not_occur() -> None:
    assert classification_scores(LOGITS[[0, 2]], LABELS[[0, 2]])["macro_f1"] == 1.0


def test_macro_f1_of_a_class_that_is_never_predicted_is_zero() -> None:
    scores = classification_scores(LOGITS[[0, 1]], LABELS[[0, 1]])
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_a_constant_on_all_logits_changes_no_score() -> None:
    shifted = classification_scores(LOGITS + 1000.0, LABELS)
    assert shifted == pytest.approx(classification_scores(LOGITS, LABELS))


def test_float32_logits_of_a_sure_model_give_a_finite_likelihood() -> None:
    logits = np.array([[1e4, -1e4], [1e4, -1e4]], np.float32)
    assert classification_scores(logits, np.array([0, 1]))["nll"] == pytest.approx(1e4)


def test_regression_by_hand() -> None:
    scores = regression_scores(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0]))
    assert scores["pearson"] == pytest.approx(7 / math.sqrt(2 * 26))
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["rmse"] == pytest.approx(math.sqrt((1 + 4 + 36) / 3))


@pytest.mark.parametrize("constant", ["predictions", "values"])
def test_a_constant_side_has_no_correlation(constant: str) -> None:
    sides = {"predictions": np.array([1.0, 2.0, 3.0]), "values": np.array([3.0, 1.0, 2.0])}
    sides[constant] = np.full(3, 2.0)
    scores = regression_scores(sides["predictions"], sides["values"])
    assert scores["pearson"] == scores["spearman"] == 0.0
    assert scores["rmse"] == pytest.approx(math.sqrt(2 / 3))
