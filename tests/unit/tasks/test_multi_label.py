"""Several labels a text: read from lists, learnt and scored each by itself."""

from typing import Any

import numpy as np
import pytest
import torch

from distillkit.errors import DataError
from distillkit.tasks import Classification, HeldOut, MultiLabel
from distillkit.token_table import TokenTable
from distillkit.types import LabelSpace
from tests.tables import one_position_each

SPACE = LabelSpace(("a", "b", "c"))
LABELS = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
LOGITS = np.array([[2.0, -1.0, -1.0], [-3.0, 1.0, -3.0], [-1.0, 4.0, -2.0]])


def test_lists_of_labels_become_a_row_of_zeros_and_ones() -> None:
    space, holds = MultiLabel().read_labels([["c", "a"], [], ["b"]])
    assert space == SPACE
    np.testing.assert_array_equal(holds, LABELS)


def test_given_names_fix_the_order() -> None:
    space, holds = MultiLabel().read_labels([["c", "a"], ["b"]], ["c", "b", "a", "unseen"])
    assert space.names == ("c", "b", "a", "unseen")
    assert holds.tolist() == [[1, 0, 1, 0], [0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("values", "names", "said"),
    [
        (["a,b", "c"], None, "'a,b', which is no list of labels; .* data.label_separator"),
        ([["a"], ["a"]], None, "needs two classes"),
        ([["a", "d"]], ["a", "b"], r"\[a, b\]: the data also has d"),
    ],
)
def test_what_are_no_lists_of_labels_is_refused(
    values: list[Any], names: list[str] | None, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        MultiLabel().read_labels(values, names)


def test_one_label_a_text_says_which_task_takes_several() -> None:
    with pytest.raises(DataError, match=r"\['a', 'b'\], which is no single label.*multi_label"):
        Classification.read_labels([["a", "b"], ["a"]])


def test_the_loss_is_transformers_own() -> None:
    logits, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    found = MultiLabel.per_example(logits, labels)
    assert found.shape == (3,)
    expected = torch.nn.BCEWithLogitsLoss()(logits, labels.double())
    torch.testing.assert_close(found.mean(), expected)


def test_scores_by_hand() -> None:
    # right: a, b; predicted: a, b (wrongly), b; there: a, c, b
    task, held_out = MultiLabel(), HeldOut(one_position_each(LABELS), SPACE)
    outcomes = task.outcomes(LOGITS, held_out)
    assert outcomes.tolist() == [[1, 1, 2], [0, 1, 0], [1, 1, 1]]
    found = task.scores(LOGITS, outcomes, held_out)
    assert found["micro_f1"] == pytest.approx(task.headline_score(outcomes)) == pytest.approx(2 / 3)
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["subset_accuracy"] == pytest.approx(1 / 3)
    nats = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(LOGITS), torch.tensor(LABELS).double(), reduction="none"
    )
    assert found["nll"] == pytest.approx(float(nats.sum(dim=1).mean()))


def test_a_higher_threshold_predicts_fewer_labels() -> None:
    held_out = HeldOut(one_position_each(LABELS), SPACE)
    predicted = [
        int(MultiLabel(threshold=t).outcomes(LOGITS, held_out)[:, 1].sum()) for t in (0, 0.5, 0.9)
    ]
    assert predicted == [9, 3, 1]  # sigmoid(2) = 0.88


def test_unlabelled_text_joins_with_labels_that_mean_nothing() -> None:
    labelled, bare = one_position_each(LABELS), one_position_each(np.zeros(2, np.int64))
    fields = {name: getattr(bare, name) for name in TokenTable.__slots__}
    bare = TokenTable(**fields | {"label_mask": np.zeros(2, bool)})
    joined = labelled.joined(bare)
    assert joined.labels.shape == (5, 3)
    np.testing.assert_array_equal(joined.labels[:3], LABELS)
    assert joined.label_mask.tolist() == [True, True, True, False, False]
