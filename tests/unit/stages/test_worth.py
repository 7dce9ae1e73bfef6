"""Whether a teacher is worth asking, told from its answers on the validation split."""

import numpy as np
import pytest

from distillkit.stages import worth
from distillkit.tasks import (
    Classification,
    MultiLabel,
    QuestionAnswering,
    Regression,
    SequenceTask,
    TokenClassification,
)
from distillkit.tasks.task import HeldOut
from distillkit.token_table import TokenTable
from distillkit.types import KEY_BYTES, LabelSpace

RNG = np.random.default_rng(0)
SPACE = LabelSpace(("a", "b", "c"))


def table(labels: np.ndarray) -> TokenTable:
    """A text of one token for each label."""
    rows = [np.array([1], np.int32)] * len(labels)
    keys = np.arange(len(labels)).astype(f"S{KEY_BYTES}")
    found = TokenTable.of_rows(rows, keys, [np.zeros(1, np.int64)] * len(labels))
    fields = {name: getattr(found, name) for name in TokenTable.__slots__}
    return TokenTable(**fields | {"labels": labels})


def held_out(labels: np.ndarray) -> HeldOut:
    return HeldOut(table(labels), SPACE)


def right(labels: np.ndarray, share: float) -> np.ndarray:
    """Logits that put the label first in `share` of the texts, and another class in the others."""
    named = np.where(np.arange(len(labels)) < share * len(labels), labels, (labels + 1) % 3)
    return 4 * np.eye(3, dtype=np.float32)[named]


def test_the_commonest_label_is_named_with_the_frequencies_of_the_texts() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    found = worth.commonest(Classification(), held_out(labels))
    assert found is not None
    assert found.shape == (10, 3)
    probabilities = np.exp(found) / np.exp(found).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities[0], [0.6, 0.3, 0.1], atol=1e-6)


def test_a_label_that_no_text_has_is_there_and_hardly_likely() -> None:
    found = worth.commonest(Classification(), held_out(np.array([0, 0, 1])))
    assert found is not None
    assert found.shape == (3, 3)
    assert np.isfinite(found).all()
    assert found[0, 2] < found[0, 1] - 5


def test_of_values_it_is_the_mean_and_of_several_labels_each_ones_share() -> None:
    mean = worth.commonest(Regression(), held_out(np.array([1.0, 2.0, 6.0])))
    assert mean is not None
    np.testing.assert_allclose(mean, [[3.0]] * 3)
    several = np.array([[1, 0]] * 9 + [[0, 0]])
    shares = worth.commonest(MultiLabel(), held_out(several))
    assert shares is not None
    assert (shares[0] > 0).tolist() == [True, False]


def test_where_an_answer_is_a_place_nothing_is_commonest() -> None:
    assert worth.commonest(QuestionAnswering(), held_out(np.array([0, 1]))) is None


def test_a_teacher_behind_is_worse_and_one_ahead_is_not() -> None:
    labels = RNG.integers(0, 3, 200)
    good, poor = right(labels, 0.9), right(labels, 0.5)
    behind = worth.compare(Classification(), poor, good, held_out(labels))
    assert (behind.teacher, behind.baseline) == (0.5, pytest.approx(0.9))
    assert behind.is_worse
    assert behind.is_no_better
    ahead = worth.compare(Classification(), good, poor, held_out(labels))
    assert not ahead.is_worse
    assert not ahead.is_no_better


def test_an_equal_one_is_no_better_but_not_worse() -> None:
    labels = RNG.integers(0, 3, 50)
    same = worth.compare(Classification(), right(labels, 0.8), right(labels, 0.8), held_out(labels))
    assert same.is_no_better
    assert not same.is_worse


def test_values_are_held_to_their_squared_error_not_to_their_correlation() -> None:
    values = RNG.normal(size=100)
    scaled = (values[:, None] * 100).astype(np.float32)  # correlates perfectly
    mean = np.zeros((100, 1), np.float32)
    found = worth.compare(Regression(), scaled, mean, HeldOut(table(values), LabelSpace(())))
    assert found.metric == "squared error"
    assert found.is_worse


def test_one_that_is_sure_where_it_may_be_tells_more_than_frequencies() -> None:
    labels = np.array([0] * 95 + [1] * 5)
    task: SequenceTask = Classification()
    frequencies = worth.commonest(task, held_out(labels))
    assert frequencies is not None
    knows = np.where(labels[:, None] == 0, [[5.0, 0.0, -9.0]], [[0.5, 0.0, -9.0]])
    knows = knows.astype(np.float32)
    assert worth.compare(task, knows, frequencies, held_out(labels)).is_no_better
    assert worth.informs(task, knows, frequencies, held_out(labels))
    assert not worth.informs(task, frequencies, frequencies, held_out(labels))
    random = RNG.normal(size=(100, 3)).astype(np.float32)
    assert not worth.informs(task, random, frequencies, held_out(labels))


def test_words_are_compared_by_text() -> None:
    labels = RNG.integers(0, 3, 90)
    task = TokenClassification(entities=False)
    assert worth.compare(task, right(labels, 0.5), right(labels, 0.9), held_out(labels)).is_worse
