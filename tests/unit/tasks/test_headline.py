"""What models are ranked by, and what classes weigh, by choice."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.errors import ConfigError
from distillkit.tasks import Classification, HeldOut, MultiLabel, Regression
from distillkit.training.hard_labels import weighted_per_example
from distillkit.types import LabelSpace

RNG = np.random.default_rng(0)
TASKS = [
    *(Classification(headline=name) for name in ("accuracy", "macro_f1", "worst_class")),
    *(MultiLabel(headline=name) for name in ("micro_f1", "macro_f1", "subset_accuracy")),
    *(Regression(headline=name) for name in ("pearson", "spearman")),
]


def held_out(task: Any) -> tuple[np.ndarray, HeldOut]:
    logits = RNG.normal(size=(60, 1 if isinstance(task, Regression) else 4)).astype(np.float32)
    labels: np.ndarray = RNG.integers(0, 4, 60)
    if isinstance(task, MultiLabel):
        labels = RNG.integers(0, 2, (60, 4))
    elif isinstance(task, Regression):
        labels = logits[:, 0] + RNG.normal(size=60)
    table: Any = SimpleNamespace(labels=labels, position_offsets=np.arange(61))
    return logits, HeldOut(table, LabelSpace(("a", "b", "c", "d")))


@pytest.mark.parametrize("task", TASKS, ids=lambda it: f"{type(it).__name__}-{it.headline}")
def test_the_headline_is_the_column_of_that_name(task: Any) -> None:
    logits, it = held_out(task)
    outcomes = task.outcomes(logits, it)
    scores, columns = task.scores(logits, outcomes, it), task.columns(logits, outcomes, it)
    assert task.headline_score(outcomes) == pytest.approx(scores[task.headline])
    for rows in (np.arange(60), RNG.integers(0, 60, 60)):
        found = task.headline_score(outcomes[rows])
        assert found == pytest.approx(columns[task.headline](rows))


@pytest.mark.parametrize("task", TASKS, ids=lambda it: f"{type(it).__name__}-{it.headline}")
def test_a_headline_enters_the_fingerprint_only_where_it_is_chosen(task: Any) -> None:
    usual = type(task)().scoring
    assert (task.scoring == usual) == (task.headline == type(task)().headline)
    assert "headline" not in usual
    assert Classification(class_weights="balanced").scoring == {"class_weights": "balanced"}


def test_balanced_weights_give_each_class_the_same_part() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = Classification(class_weights="balanced").label_weights(labels, 3)
    assert weights is not None
    assert weights == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert weights[labels].sum() == pytest.approx(len(labels))
    assert Classification().label_weights(labels, 3) is None
    unseen = Classification(class_weights="balanced").label_weights(labels, 4)
    assert unseen is not None
    assert np.isfinite(unseen).all()


def test_as_many_weights_as_classes_are_needed() -> None:
    task = Classification(class_weights=[1.0, 2.0])
    assert task.label_weights(np.array([0, 1]), 2) == pytest.approx([1.0, 2.0])
    with pytest.raises(ConfigError, match=r"task.class_weights = \[1.0, 2.0\]: are 2, and the"):
        task.check_labels(3)


def test_the_loss_on_hard_labels_is_weighted() -> None:
    labels = np.array([0, 0, 0, 1, 9])
    table = SimpleNamespace(labels=labels, label_mask=np.array([True] * 4 + [False]))
    names = LabelSpace(("a", "b"))
    logits, values = torch.randn(2, 2), torch.tensor([0, 1])

    def loss(task: Any) -> torch.Tensor:
        examples: Any = table
        per_example = weighted_per_example(task, examples, len(names.names), torch.device("cpu"))
        return per_example(logits, values)

    plain, weighted = loss(Classification()), loss(Classification(class_weights="balanced"))
    assert torch.equal(plain, Classification.per_example(logits, values))
    torch.testing.assert_close(weighted, plain * torch.tensor([4 / 6, 2.0]))


@dataclass(frozen=True)
class Balanced(Classification):
    headline = "balanced_accuracy"  # type: ignore[assignment]


def test_a_derived_task_names_its_own_headline() -> None:
    assert Balanced().headline == "balanced_accuracy"
    assert Balanced().scoring == {}
