"""How close the student stays to its teacher."""

import math

import numpy as np
import pytest
import torch

from distillkit.losses import forward_kl
from distillkit.metrics.fidelity import agreement, closeness, mean_bernoulli_kl, mean_kl


def logits(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=3.0, size=(50, 4))


def test_agreement_counts_the_same_first_class() -> None:
    student = np.array([[2.0, 1.0], [0.0, 1.0], [5.0, 0.0], [0.0, 3.0]])
    teacher = np.array([[9.0, 8.0], [1.0, 0.0], [0.1, 0.0], [0.0, 0.1]])
    assert agreement(student, teacher) == 0.75


def test_kl_by_hand() -> None:
    student, teacher = np.zeros((1, 2)), np.log([[0.75, 0.25]])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert mean_kl(student, teacher) == pytest.approx(expected)


def test_a_model_agrees_with_itself() -> None:
    assert agreement(logits(0), logits(0)) == 1.0
    assert mean_kl(logits(0), logits(0)) == 0.0


def test_kl_is_the_loss_at_temperature_one() -> None:
    value = forward_kl(torch.from_numpy(logits(0)), torch.from_numpy(logits(1))).mean()
    assert mean_kl(logits(0), logits(1)) == pytest.approx(float(value))


def test_kl_of_a_class_that_the_teacher_rules_out_is_the_loss_too() -> None:
    teacher = logits(1)
    teacher[:, 0] = -np.inf
    value = forward_kl(torch.from_numpy(logits(0)), torch.from_numpy(teacher)).mean()
    assert mean_kl(logits(0), teacher) == pytest.approx(float(value))


def test_float32_logits_of_sure_models_give_a_finite_kl() -> None:
    student = np.array([[-1e4, 1e4]], np.float32)
    assert mean_kl(student, -student) == pytest.approx(2e4)


def test_bernoulli_kl_is_that_of_two_classes_for_each_label() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 5, 3))
    pairs = [np.stack([np.zeros(15), logits.ravel()], axis=1) for logits in (student, teacher)]
    assert mean_bernoulli_kl(student, teacher) == pytest.approx(3 * mean_kl(*pairs))
    found = closeness("bernoulli", student, teacher)
    assert found["kl_to_teacher"] == mean_bernoulli_kl(student, teacher)
    assert found["agreement"] == np.mean((student > 0) == (teacher > 0))


def test_what_outputs_mean_decides_how_close_they_are() -> None:
    student, teacher = np.array([[1.0], [2.0]]), np.array([[1.0], [4.0]])
    assert closeness("real", student, teacher) == {"rmse_to_teacher": pytest.approx(2**0.5)}
    assert closeness("softmax", student, None) == {}


def test_positions_that_both_rule_out_add_nothing() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 5, 3))
    wide = [np.concatenate([x, np.full((5, 2), -np.inf)], axis=1) for x in (student, teacher)]
    assert closeness("choice", *wide) == pytest.approx(closeness("softmax", student, teacher))
