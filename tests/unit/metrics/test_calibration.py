"""Whether a confidence of 0.8 is right eight times in ten."""

import warnings

import numpy as np
import pytest

from distillkit.metrics.calibration import Reliability, calibrated, reliability


def of(confidences: list[float], right: list[bool], bins: int = 10) -> Reliability:
    """The reliability of binary predictions with these confidences in class 1."""
    p = np.array(confidences)
    with np.errstate(divide="ignore"):
        logits = np.log(np.stack([1 - p, p], axis=-1))
    return reliability(logits, np.where(right, 1, 0), bins=bins)


def test_expected_calibration_error_by_hand() -> None:
    found = of([0.65, 0.65, 0.95, 0.95], [True, False, True, True])
    assert found.count.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 2]
    # |0.5 - 0.65| and |1 - 0.95|, half of the examples each
    assert found.expected_calibration_error == pytest.approx((0.15 + 0.05) / 2)


def test_bins_are_weighted_by_their_counts() -> None:
    found = of([0.65, 0.95, 0.95, 0.95], [False, True, True, True])
    assert found.expected_calibration_error == pytest.approx((0.65 + 3 * 0.05) / 4)


def test_an_empty_bin_is_nan_and_adds_nothing() -> None:
    with warnings.catch_warnings(action="error"):
        found = of([0.95], [True])
    assert np.isnan(found.confidence[:9]).all()
    assert np.isnan(found.accuracy[:9]).all()
    assert found.expected_calibration_error == pytest.approx(0.05)


def test_a_confidence_of_exactly_one_is_in_the_last_bin() -> None:
    found = reliability(np.array([[0.0, 1e4], [1e4, 0.0]]), np.array([1, 1]), bins=15)
    assert found.count.tolist() == [0] * 14 + [2]
    assert found.confidence[-1] == 1.0
    assert found.expected_calibration_error == 0.5


@pytest.mark.parametrize("bins", [1, 2, 15, 100])
def test_every_example_is_in_one_bin_whose_edges_hold_it(bins: int) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=5.0, size=(300, 3)).astype(np.float32)
    found = reliability(logits, rng.integers(0, 3, 300), bins=bins)
    assert found.count.sum() == 300
    assert len(found.edges) == bins + 1
    filled = found.count > 0
    assert (found.confidence[filled] <= found.edges[1:][filled] + 1e-12).all()
    assert (found.confidence[filled] >= found.edges[:-1][filled] - 1e-12).all()


def test_an_edge_belongs_to_the_bin_below_it() -> None:
    found = reliability(np.zeros((4, 2)), np.array([0, 0, 1, 1]), bins=2)  # confidence 1/2
    assert found.count.tolist() == [4, 0]


def test_the_confidence_of_an_even_guess_among_many_classes_is_in_its_bin() -> None:
    found = reliability(np.zeros((10, 20)), np.arange(10), bins=10)  # confidence 1/20
    assert found.count.tolist() == [10] + [0] * 9
    assert found.expected_calibration_error == pytest.approx(0.1 - 0.05)


def test_each_label_of_several_is_a_prediction_of_its_own() -> None:
    p = np.array([[0.9, 0.2], [0.9, 0.6]])
    found = calibrated("bernoulli", np.log(p / (1 - p)), np.array([[1, 1], [0, 1]]), bins=10)
    assert found is not None
    # surely 0.9 and right, 0.8 and wrong, 0.9 and wrong, 0.6 and right
    assert found.count.sum() == 4
    assert found.expected_calibration_error == pytest.approx((2 * 0.4 + 0.8 + 0.4) / 4)


def test_real_values_have_no_confidence() -> None:
    assert calibrated("real", np.zeros((2, 1)), np.zeros(2), bins=10) is None
