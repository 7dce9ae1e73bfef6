"""Real labels are kept as they are, or refused with the way out."""

from typing import Any

import numpy as np
import pytest

from distillkit.errors import DataError
from distillkit.tasks import HeldOut, Regression
from distillkit.types import LabelSpace
from tests.tables import one_position_each


def test_values_are_kept_in_float64() -> None:
    space, values = Regression.read_labels([1, 2.5, True, " -.5e1 "])
    assert (space.names, space.outputs) == ((), 1)
    assert values.tolist() == [1.0, 2.5, 1.0, -5.0]
    assert values.dtype == np.float64


@pytest.mark.parametrize(
    ("values", "names", "said"),
    [
        ([1.0, "good"], None, "'good', which is no finite number; for classes choose task=class"),
        ([1.0, 2.0], ["a"], "data.label_names: a real-valued label has no names"),
        ([3, 3.0], None, "every row has the value 3.0"),
        ([1.0, float("inf")], None, "holds 'inf', which is no finite number"),
        (["1", "nan"], None, "holds 'nan', which is no finite number"),
        (["1_000", "1"], None, "holds '1_000', which is no finite number"),
        (["1", "1e999"], None, "holds '1e999', which is no finite number"),
    ],
)
def test_what_is_no_real_value_is_refused(
    values: list[Any], names: list[str] | None, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        Regression.read_labels(values, names)


def test_the_headline_is_pearsons_correlation() -> None:
    labels = np.array([0.0, 1.0, 2.0, 4.0])
    task, held_out = Regression(), HeldOut(one_position_each(labels), LabelSpace(()))
    falling, constant = 3 - 2 * labels[:, None], np.ones((4, 1))
    assert task.headline_score(task.outcomes(falling, held_out)) == pytest.approx(-1)
    assert task.headline_score(task.outcomes(constant, held_out)) == 0
