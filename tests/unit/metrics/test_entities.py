"""Entities are told from IOB1 and IOB2 alike, and counted as conlleval does."""

import numpy as np
import pytest

from distillkit.metrics.counts import precision_recall_f1
from distillkit.metrics.entities import entity_counts

IOB2 = ["B-A", "I-A", "B-A", "O", "B-B", "I-B"]


def test_iob1_and_iob2_name_the_same_entities() -> None:
    iob1 = ["I-A", "I-A", "B-A", "O", "I-B", "I-B"]
    assert entity_counts([iob1], [IOB2]).tolist() == [[3, 3, 3]]


@pytest.mark.parametrize(
    ("predicted", "counts"),
    [
        (IOB2, [3, 3, 3]),
        (["B-A", "I-A", "I-A", "O", "B-B", "I-B"], [1, 2, 3]),  # two entities run together
        (["B-A", "I-B", "B-A", "O", "B-B", "I-B"], [2, 4, 3]),  # another type begins another
        (["O", "O", "B-B", "O", "B-B", "O"], [0, 2, 3]),  # a wrong type, a wrong end
        (["O"] * 6, [0, 0, 3]),
    ],
)
def test_an_entity_needs_both_ends_and_its_type(predicted: list[str], counts: list[int]) -> None:
    assert entity_counts([predicted], [IOB2]).tolist() == [counts]


def test_precision_recall_and_f1_by_hand() -> None:
    found = precision_recall_f1(np.array([[1, 2, 3], [1, 1, 1]]))
    assert found == (pytest.approx(2 / 3), pytest.approx(2 / 4), pytest.approx(4 / 7))
    assert precision_recall_f1(np.zeros((2, 3), np.int64)) == (0.0, 0.0, 0.0)
