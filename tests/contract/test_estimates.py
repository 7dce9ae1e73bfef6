"""What the two losses that can be had from entries drawn at random hold to."""

from typing import Any

import pytest
import torch
from torch import Tensor

from distillkit import losses
from distillkit.errors import ConfigError, TargetsError
from distillkit.types import Outputs, SparseTargets
from tests.contract.entries import drawn_entries, no_labels, top_entries, with_unused_entries
from tests.contract.listing import Loss, every, soft

CLASSES, POSITIONS, DRAWS = 11, 4, 50
REPEATS, SIGMAS = 400, 5.0  # 48 numbers, normal but for the rarest classes; the seeds are fixed

estimable = pytest.mark.parametrize("module", [losses.ForwardKL, losses.SoftCrossEntropy])


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, POSITIONS, CLASSES, generator=generator, dtype=torch.float64)
    return logits[0], logits[1]


def values_and_gradient(
    module: Any, student: Tensor, targets: SparseTargets, **settings: Any
) -> tuple[Tensor, Tensor]:
    """The values and the gradient of their sum."""
    student = student.detach().requires_grad_()
    terms = module(**settings)(Outputs(student), targets, no_labels(len(student)))
    values = terms.values["soft"]
    return values.detach(), torch.autograd.grad(values.sum(), student)[0]


def dense(student: Tensor, teacher: Tensor, **settings: Any) -> tuple[Tensor, Tensor]:
    """The cross-entropy to the whole distribution, and the gradient of forward KL to it."""
    student = student.detach().requires_grad_()
    values = losses.soft_cross_entropy(student, teacher, **settings).detach()
    divergence = losses.forward_kl(student, teacher, **settings)
    return values, torch.autograd.grad(divergence.sum(), student)[0]


def sigmas(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The standard deviations of a mean over all draws, of the values and of the gradient.

    A draw's value is -T^2 log q of its class, and it takes T from the gradient of its class.
    """
    p, q = ((logits / temperature).softmax(dim=-1) for logits in (teacher, student))
    value = -(temperature**2) * q.log()
    variance = (p * value**2).sum(dim=-1) - (p * value).sum(dim=-1) ** 2
    draws = DRAWS * REPEATS
    return (variance / draws).sqrt(), temperature * (p * (1 - p) / draws).sqrt()


@estimable
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_right_on_average(module: Any, temperature: float) -> None:
    student, teacher = pair()
    several = [
        values_and_gradient(
            module,
            student,
            drawn_entries(teacher, DRAWS, temperature=temperature, seed=seed),
            temperature=temperature,
        )
        for seed in range(REPEATS)
    ]
    means = (torch.stack(found).mean(dim=0) for found in zip(*several, strict=True))
    whole = dense(student, teacher, temperature=temperature)
    bounds = sigmas(student, teacher, temperature)
    for mean, exact, sigma in zip(means, whole, bounds, strict=True):
        assert ((mean - exact).abs() <= SIGMAS * sigma).all()


@estimable
def test_a_renormalised_top_k_is_not_right_on_average(module: Any) -> None:
    """The bias that drawing avoids, and that the bound above would see."""
    student, teacher = pair()
    _, biased = values_and_gradient(module, student, top_entries(teacher, 6), rest="renormalise")
    _, exact = dense(student, teacher)
    _, sigma = sigmas(student, teacher, 1.0)
    assert ((biased - exact).abs() > SIGMAS * sigma).any()


@estimable
@pytest.mark.parametrize("settings", [{}, {"scale_by_t2": False}, {"reduction": "mean"}], ids=str)
def test_shares_that_are_exact_give_the_whole(module: Any, settings: dict[str, Any]) -> None:
    student, teacher = pair()
    ids = torch.arange(CLASSES).expand(POSITIONS, -1)
    log_p = (teacher / 2).log_softmax(dim=-1)
    log_z = {2.0: torch.zeros(POSITIONS, dtype=log_p.dtype)}
    targets = SparseTargets(ids, log_p, log_z, is_estimate=True)
    exact = dense(student, teacher, temperature=2.0, **settings)
    for rest in ("tail", "renormalise", "ignore"):
        estimate = values_and_gradient(
            module, student, targets, temperature=2.0, rest=rest, **settings
        )
        torch.testing.assert_close(estimate, exact, rtol=1e-9, atol=1e-12)


@estimable
def test_unused_entries_contribute_nothing(module: Any) -> None:
    student, teacher = pair()
    targets = drawn_entries(teacher, DRAWS, temperature=1.0, seed=0)
    torch.testing.assert_close(
        values_and_gradient(module, student, with_unused_entries(targets, 3)),
        values_and_gradient(module, student, targets),
        rtol=1e-12,
        atol=1e-15,
    )


@estimable
def test_another_temperature_than_that_of_the_draws_is_refused(module: Any) -> None:
    student, teacher = pair()
    targets = drawn_entries(teacher, DRAWS, temperature=1.0, seed=0)
    with pytest.raises(TargetsError, match=r"loss.temperature = 2: the store was captured at 1;"):
        values_and_gradient(module, student, targets, temperature=2.0)


@every(where=lambda loss: soft(loss) and not getattr(loss.module, "takes_estimates", False))
def test_what_cannot_be_estimated_is_refused(loss: Loss) -> None:
    student, teacher = pair()
    with pytest.raises(ConfigError, match="choose loss=forward_kl"):
        values_and_gradient(
            loss.module, student, drawn_entries(teacher, DRAWS, temperature=1.0, seed=0)
        )
