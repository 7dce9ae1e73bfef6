"""What every loss holds to as a function of logits; the losses are in listing.py."""

import inspect
import itertools
import math
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from distillkit import losses
from distillkit.config.paths import CONF
from tests.contract.inside_listing import CONTRAST
from tests.contract.inside_listing import LOSSES as INSIDE_ALONE
from tests.contract.listing import LOSSES, Loss, each_setting, every, soft

CASES = each_setting()
every_setting = pytest.mark.parametrize(("loss", "settings"), CASES)


UNDER_CONTRACT = (*LOSSES, *INSIDE_ALONE, CONTRAST)
FILES = {file.stem: yaml.safe_load(file.read_text()) for file in (CONF / "loss").glob("*.yaml")}


def test_every_exported_loss_is_under_contract() -> None:
    exported = {getattr(losses, name) for name in losses.__all__}
    classes = {c for c in exported if isinstance(c, type) and issubclass(c, nn.Module)}
    modules = {c for c in classes if not inspect.isabstract(c)} - {losses.Mixture}
    assert modules == {loss.module for loss in UNDER_CONTRACT}
    functions = exported - classes - {losses.reduce_terms}
    assert functions <= {loss.function for loss in LOSSES}


@pytest.mark.parametrize("choice", sorted(FILES))
def test_every_choice_of_a_loss_is_under_contract(choice: str) -> None:
    """A paper's settings are a choice of their own, of losses that are in the tables."""
    listed = {loss.module.__name__ for loss in UNDER_CONTRACT}
    node = FILES[choice]
    terms = node["terms"].values() if node["_target_"] == "distillkit.losses.Mixture" else [node]
    assert {term["_target_"].rpartition(".")[2] for term in terms} <= listed


def test_every_loss_is_a_choice_of_its_own_name() -> None:
    of_task = {"hard_values"}  # the same module as hard_labels, of another task
    assert {loss.name for loss in UNDER_CONTRACT} - of_task <= set(FILES)


@every()
def test_value_by_hand(loss: Loss) -> None:
    student, teacher = torch.tensor([loss.student]), torch.tensor([loss.teacher])
    value = loss.values(student, teacher, **loss.by_hand)
    torch.testing.assert_close(value, torch.tensor([loss.value]))


@every_setting
def test_agrees_with_an_independent_reference(loss: Loss, settings: dict[str, Any]) -> None:
    student, target = loss.random(16)
    value = loss.values(student, target, **settings)
    expected = loss.expected(student, target, **settings)
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-12)


@every_setting
def test_whole_agreement_is_the_minimum(loss: Loss, settings: dict[str, Any]) -> None:
    student, target = loss.agreeing_pair(loss.random(16, dtype=torch.float32)[0])
    student.requires_grad_()
    value = loss.values(student, target, **settings)
    if loss.agreement != "minimum":
        torch.testing.assert_close(value, torch.zeros(16), rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(value.sum(), student)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-5)
    other, _ = loss.random(16, seed=1, dtype=torch.float32)
    assert (loss.values(other, target, **settings) > value).all()


@every_setting
def test_gradient_is_that_of_the_value(loss: Loss, settings: dict[str, Any]) -> None:
    student, target = loss.random(4)
    if loss.holds:
        expected = differences(loss, student, target, **settings)
        torch.testing.assert_close(
            gradient(loss, student, target, **settings), expected, rtol=1e-6, atol=1e-8
        )
        return
    assert torch.autograd.gradcheck(
        lambda logits: loss.values(logits, target, **settings), student.requires_grad_()
    )


def differences(
    loss: Loss, student: torch.Tensor, target: torch.Tensor, **settings: Any
) -> torch.Tensor:
    """The gradient of the reference by central differences, what it holds being held."""
    by_class = []
    for moved in 1e-5 * torch.eye(loss.classes, dtype=student.dtype):
        ahead, behind = (
            loss.expected(to, target, held=student.numpy(), **settings)
            for to in (student + moved, student - moved)
        )
        by_class.append((ahead - behind) / 2e-5)
    return torch.stack(by_class, dim=-1)


def gradient(loss: Loss, student: torch.Tensor, target: torch.Tensor, **settings: Any) -> Any:
    student = student.detach().requires_grad_()
    return torch.autograd.grad(loss.values(student, target, **settings).sum(), student)[0]


@every_setting
def test_gradient_in_float32_is_that_in_float64(loss: Loss, settings: dict[str, Any]) -> None:
    student, target = loss.random(16)
    narrow = target.float() if target.is_floating_point() else target
    torch.testing.assert_close(
        gradient(loss, student.float(), narrow, **settings).double(),
        gradient(loss, student, target, **settings),
        rtol=1e-5,
        atol=1e-6,
    )


@every()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_logits_are_computed_in_float32(loss: Loss, dtype: torch.dtype) -> None:
    student, target = loss.random(16, dtype=dtype)
    wide = target.float() if target.is_floating_point() else target
    value = loss.values(student, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss.values(student.float(), wide), rtol=0, atol=0)


@every_setting
def test_extreme_logits_give_finite_values_and_gradients(
    loss: Loss, settings: dict[str, Any]
) -> None:
    corners = torch.tensor(list(itertools.product([-1e4, 0.0, 1e4], repeat=loss.classes)))
    for target in {
        "logits": corners,
        "class": torch.arange(loss.classes),
        "real": torch.tensor([-1e4, 0.0, 1e4]),
    }[loss.target]:
        targets = target.expand(len(corners), *target.shape)
        assert loss.values(corners, targets, **settings).isfinite().all()
        assert gradient(loss, corners, targets, **settings).isfinite().all()


@pytest.mark.parametrize(("loss", "settings"), [c for c in CASES if c.values[0].rules_out])
def test_a_class_that_the_teacher_rules_out_adds_nothing(
    loss: Loss, settings: dict[str, Any]
) -> None:
    student, teacher = loss.random(16)
    teacher[:, 0] = -math.inf
    value = loss.values(student, teacher, **settings)
    expected = loss.expected(student, teacher, **settings)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-12)
    assert gradient(loss, student, teacher, **settings).isfinite().all()


@pytest.mark.parametrize(("loss", "settings"), [c for c in CASES if c.values[0].is_divergence])
def test_a_class_that_both_rule_out_is_as_if_it_were_not_there(
    loss: Loss, settings: dict[str, Any]
) -> None:
    student, teacher = loss.random(16)
    wide = [torch.cat([t, torch.full((16, 1), -math.inf)], dim=-1) for t in (student, teacher)]
    share = 4 / 3 if settings.get("reduction") == "mean" else 1.0
    torch.testing.assert_close(
        loss.values(*wide, **settings) * share, loss.values(student, teacher, **settings)
    )
    grown = gradient(loss, *wide, **settings)
    torch.testing.assert_close(grown[:, :-1] * share, gradient(loss, student, teacher, **settings))
    assert (grown[:, -1] == 0).all()


@every(where=lambda loss: loss.takes("scale_by_t2"))
@pytest.mark.parametrize("temperature", [0.5, 2.0, 8.0])
def test_t2_multiplies_the_value_by_the_temperature_squared(loss: Loss, temperature: float) -> None:
    pair = loss.random(16)
    on, off = (loss.values(*pair, temperature=temperature, scale_by_t2=t2) for t2 in (True, False))
    torch.testing.assert_close(on, temperature**2 * off)


@every(where=lambda loss: loss.takes("scale_by_t2"))
def test_the_gradient_falls_with_a_power_of_the_temperature(loss: Loss) -> None:
    pair = loss.random(16)
    warm, hot = (
        t**loss.order * gradient(loss, *pair, temperature=t, scale_by_t2=False).norm()
        for t in (50.0, 500.0)
    )
    torch.testing.assert_close(hot, warm, rtol=0.05, atol=0)


@every(where=lambda loss: loss.takes("reduction"))
def test_batchmean_is_mean_times_the_number_of_classes(loss: Loss) -> None:
    pair = loss.random(16)
    total, mean = (loss.values(*pair, reduction=name) for name in ("batchmean", "mean"))
    torch.testing.assert_close(total, loss.classes * mean)


@every(where=soft)
def test_tokens_are_examples_of_their_own(loss: Loss) -> None:
    student, teacher = loss.random(4, 5)
    by_token = loss.values(student, teacher)
    assert by_token.shape == (4, 5)
    flat = loss.values(student.flatten(0, 1), teacher.flatten(0, 1))
    torch.testing.assert_close(by_token.flatten(), flat, rtol=0, atol=0)
