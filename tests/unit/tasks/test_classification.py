"""Class labels become ids in one order, or are refused with the way out."""

from typing import Any

import numpy as np
import pytest

from distillkit.errors import DataError
from distillkit.records import LabelSpace
from distillkit.tasks import Classification, HeldOut
from tests.tables import one_position_each


@pytest.mark.parametrize(
    ("values", "names", "space", "ids"),
    [
        (["b", "a", "b"], None, LabelSpace(("a", "b")), [1, 0, 1]),
        (["b", "a", "b"], ["b", "a"], LabelSpace(("b", "a")), [0, 1, 0]),
        ([10, 9, -1], None, LabelSpace(("-1", "9", "10"), numeric=True), [2, 1, 0]),
        (["10", "9", "-1"], None, LabelSpace(("-1", "9", "10"), numeric=True), [2, 1, 0]),
        (["1.0", "0.0"], None, LabelSpace(("0.0", "1.0"), numeric=True), [1, 0]),
        (["True", "False"], None, LabelSpace(("False", "True")), [1, 0]),
        (["1", "0"], ["bad", "good"], LabelSpace(("bad", "good"), numeric=True), [1, 0]),
        (["1", "2"], ["2", "1"], LabelSpace(("2", "1")), [1, 0]),
        (["01", "1", "2"], None, LabelSpace(("01", "1", "2"), numeric=True), [0, 1, 2]),
        (["1.10", "1.1"], None, LabelSpace(("1.1", "1.10")), [1, 0]),
        (["1e3", "NA"], None, LabelSpace(("1e3", "NA")), [0, 1]),
    ],
)
def test_labels_are_put_in_order(
    values: list[Any], names: list[str] | None, space: LabelSpace, ids: list[int]
) -> None:
    found, encoded = Classification.read_labels(values, names)
    assert found == space
    assert encoded.tolist() == ids
    assert encoded.dtype == np.int64


@pytest.mark.parametrize(
    ("values", "names", "said"),
    [
        (["a", "a"], None, "'a'; a classifier needs two classes"),
        ([], None, "needs two classes"),
        (["1", "01"], ["a", "b"], "01 and 1 in the data would both be b"),
        (["a", "c"], ["a", "b"], r"\[a, b\]: the data also has c"),
        ([0, 2], ["a", "b"], "labels 0 to 1, but the data has 0 to 2"),
        (list(range(1001)), None, "1,001 different labels; is this the right column"),
        ([f"id {i}" for i in range(1001)], None, "1,001 different labels"),
    ],
)
def test_what_are_no_classes_is_refused(
    values: list[Any], names: list[str] | None, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        Classification.read_labels(values, names)


def test_classes_spelt_as_real_values_are_taken_and_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    space, _ = Classification.read_labels(["0.5", "1.0", "0.5"])
    assert space == LabelSpace(("0.5", "1.0"))
    assert (
        "2 classes that are spelt as real values, as 0.5; for regression" in capsys.readouterr().err
    )


def test_the_headline_is_the_accuracy() -> None:
    logits, labels = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), np.array([0, 1, 1])
    task, held_out = Classification(), HeldOut(one_position_each(labels), LabelSpace(("a", "b")))
    outcomes = task.outcomes(logits, held_out)
    assert task.headline_score(outcomes) == pytest.approx(2 / 3)
    assert task.scores(logits, outcomes, held_out)["accuracy"] == pytest.approx(2 / 3)
