"""Values and gradients at the corners: classes ruled out, saturated and equal logits, weights of 0.

A corner is a pair of logits. The value must be the reference's, infinite where that is; where it is
finite the gradient must be the reference's by central differences, and 0 at what the student rules
out. In the dtypes that models give their logits in, against float64.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from distillkit.losses import reduce_terms
from distillkit.types import HardLabels, LossTerms, Outputs, SoftTargets
from tests.contract.listing import LOSSES, NAMES, Loss, every, soft
from tests.contract.references import z_scores

CLASSES = 4
OUT = -math.inf
# what settings are tried at beside their defaults, one at a time
ENDS: dict[str, tuple[Any, ...]] = {
    "alpha": (0.0, 1.0),
    "beta": (0.0, 1.0),
    "skew": (0.0, 0.9),
    "head_mass": (0.0, 1.0),
    "t": (0.0, 0.3),
    "top": (2, 3),
    "temperature": (1e-2, 30.0, 1000.0),
    "scale_by_t2": (False,),
    "reduction": ("batchmean", "mean"),
}
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def cases() -> list[Any]:
    """(loss, settings, dtype): the defaults, and each setting at its ends."""
    found = []
    for loss in LOSSES:
        wide = replace(loss, classes=CLASSES) if soft(loss) or loss.target == "class" else loss
        ends = [{}, *({n: v} for n, values in ENDS.items() if loss.takes(n) for v in values)]
        for settings in ends:
            if settings in ({"alpha": 0.0}, {"beta": 0.0}) and loss.name == "alpha_beta":
                settings |= {"beta": 1.0, "alpha": 1.0} | settings
            for dtype in DTYPES:
                name = "-".join([loss.name, *(f"{k}={v}" for k, v in settings.items()), str(dtype)])
                marks = [pytest.mark.slow] if settings and dtype.itemsize < 4 else []
                found.append(pytest.param(wide, settings, dtype, id=name, marks=marks))
    return found


def corners() -> tuple[Tensor, Tensor]:
    """Logits [corners, classes] of a student and a teacher, in float64."""
    rng = np.random.default_rng(0)
    masks = [(), (0,), (0, 2), (0, 1, 3)]
    found = []
    for scale, middle in ((2.0, 0.0), (2.0, 30.0), (0.01, 0.0), (300.0, 0.0)):
        for mine in masks:
            for theirs in masks:
                student, teacher = middle + scale * rng.normal(size=(2, CLASSES))
                student[list(mine)], teacher[list(theirs)] = OUT, OUT
                found.append((student, teacher))
    sure = [np.array(it) for it in ((1e4, -1e4, 0, 0), (-1e4, 1e4, 1e4, 0), (0, -1e4, OUT, 1e4))]
    found += [(mine, theirs) for mine in sure for theirs in sure]
    for mine, theirs in ((), ()), ((1,), (1,)), ((), (1, 2)), ((0, 1, 2), (0, 1, 2)):
        level, other = np.full(CLASSES, 0.1), rng.normal(size=CLASSES)
        for student, teacher in ((level, other), (other, level), (other, other), (level, level)):
            student, teacher = student.copy(), teacher.copy()
            student[list(mine)], teacher[list(theirs)] = OUT, OUT
            found.append((student, teacher))
    student, teacher = (torch.from_numpy(np.stack(side)) for side in zip(*found, strict=True))
    return student, teacher


def pair(loss: Loss, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The corners as a model of this dtype would say them, and as the loss's targets."""
    student, teacher = corners()
    if loss.target == "class":
        return student.to(dtype), torch.arange(len(student)) % CLASSES
    if loss.target == "real":
        return student[:, :1].clamp_min(-100).to(dtype), teacher[:, 0].clamp_min(-100).to(dtype)
    return student.to(dtype), teacher.to(dtype)


def step_of(loss: Loss, settings: dict[str, Any]) -> float:
    """Small where the loss varies: softened logits vary by the temperature, z-scores do not."""
    return 1e-5 * (1.0 if loss.name == "standardised_kl" else settings.get("temperature", 1.0))


def differences(loss: Loss, student: Tensor, target: Tensor, **settings: Any) -> Tensor:
    """The reference's gradient [corners, classes]; NaN where a step leaves the finite."""
    step = step_of(loss, settings)
    held = {"held": student.numpy()} if loss.holds else {}
    by_class = []
    for moved in step * torch.eye(student.shape[-1], dtype=torch.float64):
        ahead, behind = (
            loss.expected(to, target, **held, **settings)
            for to in (student + moved, student - moved)
        )
        by_class.append((ahead - behind) / (2 * step))
    return torch.stack(by_class, dim=-1).masked_fill(student == OUT, 0.0)


def rounding(student: Tensor, target: Tensor, settings: dict[str, Any], eps: float) -> Tensor:
    """What is rounded of values [corners]: of log-probabilities of such logits, times T^2."""
    temperature = settings.get("temperature", 1.0)
    sizes = [it.masked_fill(it == OUT, 0).abs().reshape(len(it), -1) for it in (student, target)]
    largest = torch.maximum(*(size.amax(dim=-1).double() for size in sizes))
    return eps * (1 + largest / temperature) * max(1.0, temperature**2)


def faint(loss: Loss, logits: Tensor, settings: dict[str, Any]) -> Tensor:
    """Rows with a class that is allowed, and all but ruled out: beside 1 float32 knows none."""
    if loss.name == "standardised_kl":
        logits = torch.from_numpy(z_scores(logits.numpy()))
    log_p = (logits / settings.get("temperature", 1.0)).log_softmax(dim=-1)
    return ((log_p < -15) & (logits != OUT)).any(dim=-1)


def tied(logits: Tensor) -> Tensor:
    """Rows of which two classes that are not ruled out have one logit: they have no one order."""
    ranked = logits.sort(dim=-1).values
    return ((ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] != OUT)).any(dim=-1)


def smooth(loss: Loss, student: Tensor, target: Tensor, settings: dict[str, Any]) -> Tensor:
    """Rows at which the loss has one gradient, on either side of a step."""
    if loss.takes("top"):  # of equal logits a ranking takes any order
        return ~tied(target)
    if loss.name == "standardised_kl":  # equal logits have none, as another test says
        return ~tied(student)
    if loss.name == "total_variation":  # nor has |p - q| at 0
        temperature = settings.get("temperature", 1.0)
        p, q = ((it / temperature).softmax(dim=-1) for it in (target, student))
        return ~(((p > 0) | (q > 0)) & ((p - q).abs() < 2e-5)).any(dim=-1)
    return torch.ones(len(student), dtype=torch.bool)


@pytest.mark.parametrize(("loss", "settings", "dtype"), cases())
def test_values_and_gradients_at_the_corners_are_the_references(
    loss: Loss, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    narrow, target = pair(loss, dtype)
    student = narrow.double().clone()
    exact = target.double().clone() if target.is_floating_point() else target
    with np.errstate(all="ignore"):
        expected = loss.expected(student, exact, **settings)
        slopes = differences(loss, student, exact, **settings)
    narrow = narrow.requires_grad_()
    value = loss.values(narrow, target, **settings)
    (gradient,) = torch.autograd.grad(value.sum(), narrow)
    value, gradient = value.detach().double(), gradient.double()

    finite = expected.isfinite()
    assert finite.sum() > len(finite) / 3
    assert not expected.isnan().any()
    assert not value.isnan().any()
    told = ~finite
    if soft(loss):
        told &= ~(faint(loss, exact, settings) | faint(loss, student, settings))
    assert value[told].isposinf().all()

    eps = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    slack = rounding(student, exact, settings, 16 * eps)
    close = (value - expected).abs() <= slack + 16 * eps * expected.abs()
    assert close[finite & ~tied(exact) if loss.takes("top") else finite].all()

    fits = finite & (slopes.abs() < torch.finfo(dtype).max / 2).all(dim=-1)
    assert gradient[fits].isfinite().all()
    assert (gradient[fits][student[fits] == OUT] == 0).all()
    slack = slack / max(1.0, settings.get("temperature", 1.0))
    if loss.name == "standardised_kl":
        spread = student.masked_fill(student == OUT, math.nan)
        slack = slack / (spread - spread.nanmean(dim=-1, keepdim=True)).abs().nan_to_num().amax(-1)
    noise = (rounding(student, exact, settings, 1e-15) + 1e-15 * expected) / step_of(loss, settings)
    own = max(1e-5, torch.finfo(dtype).eps)  # a gradient is rounded to the logits' dtype
    close = (gradient - slopes).abs() <= own * slopes.abs() + (slack + noise)[:, None]
    assert close[fits & smooth(loss, student, exact, settings)].all()


@every(where=soft)
def test_one_class_teaches_nothing(loss: Loss) -> None:
    """A softmax of one class is sure of it; one logit and one label alone say something."""
    student, teacher = replace(loss, classes=1).random(5)
    student.requires_grad_()
    for reduction in ("batchmean", "mean"):
        labels = torch.zeros(5, dtype=torch.int64)
        value = loss.values(student, teacher, labels=labels, reduction=reduction)
        (gradient,) = torch.autograd.grad(value.sum(), student)
        if loss.name in ("logit_mse", "bernoulli_kl"):
            assert (gradient != 0).all()
        else:
            assert (value == 0).all() and (gradient == 0).all()


@pytest.mark.parametrize(
    "logits", [[0.1] * 7, [1e4] * 7, [-3.3] * 3, [0.7, OUT, OUT], [0.3, 0.3, OUT]], ids=str
)
def test_equal_logits_have_no_z_scores_and_no_gradient(logits: list[float]) -> None:
    loss = NAMES["standardised_kl"]
    student = torch.tensor([logits], requires_grad=True)
    teacher = torch.randn(1, len(logits)).masked_fill(student == OUT, OUT)
    value = loss.values(student, teacher)
    assert value.isfinite()
    assert (torch.autograd.grad(value, student)[0] == 0).all()


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_z_scores_do_not_know_the_size_of_the_logits(size: float) -> None:
    loss = NAMES["standardised_kl"]
    student, teacher = loss.random(8, dtype=torch.float32)
    torch.testing.assert_close(
        loss.values(size * student, teacher), loss.values(student, teacher), rtol=1e-5, atol=1e-6
    )


@every()
def test_no_position_at_all_is_a_loss_of_0(loss: Loss) -> None:
    student, target = loss.random(0)
    student.requires_grad_()
    module = loss.make(**({"hard_weight": 0.3} if soft(loss) else {}))
    values = torch.zeros(0, dtype=torch.float64 if loss.target == "real" else torch.int64)
    labels = HardLabels(values, torch.zeros(0, dtype=torch.bool), loss.task.per_example)
    terms: LossTerms = module(Outputs(student), SoftTargets(target) if soft(loss) else None, labels)
    total, shares = reduce_terms(terms, count=0)
    assert total == 0
    assert all(share == 0 for share in shares.values())
    assert torch.autograd.grad(total, student)[0].shape == student.shape


@every(where=soft)
def test_a_row_at_a_corner_changes_nothing_of_the_others(loss: Loss) -> None:
    """Some take few passes where no row needs care, and more where one does: both say the same."""
    wide = replace(loss, classes=CLASSES)
    student, teacher = wide.random(20)
    labels = torch.arange(20) % CLASSES
    odd = corners()
    sides = [torch.cat(both) for both in zip((student, teacher), odd, strict=True)]
    more = torch.cat([labels, torch.arange(len(odd[0])) % CLASSES])
    for settings in ({}, {"t": 0.3}) if loss.takes("t") else ({},):
        found = []
        for mine, theirs, ids in ((student, teacher, labels), (*sides, more)):
            mine = mine.clone().requires_grad_()
            values = wide.values(mine, theirs, labels=ids, **settings)[:20]
            found.append((values, *torch.autograd.grad(values.sum(), mine)))
        torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found[0][1], found[1][1][:20], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 0.9])
def test_taid_between_models_that_share_no_class_is_forward_kl(t: float) -> None:
    """Nothing is between them: the value is infinite, and the gradient a number."""
    student = torch.tensor([[1.0, 2.0, OUT, OUT], [1.0, 2.0, OUT, 0.5]], requires_grad=True)
    teacher = torch.tensor([[OUT, OUT, 0.5, 3.0], [OUT, 1.0, 0.5, OUT]])
    found = []
    for name, settings in (("taid", {"t": t}), ("forward_kl", {})):
        values = NAMES[name].values(student, teacher, **settings)
        found.append((values.detach(), *torch.autograd.grad(values.sum(), student)))
    (value, gradient), (limit, by_limit) = found
    assert gradient.isfinite().all()
    if t == 0:
        assert value.abs().max() < 1e-6 and gradient.abs().max() < 1e-6
        return
    assert value[0].isposinf() and limit[0].isposinf()
    torch.testing.assert_close(gradient[0], by_limit[0])
    share = (torch.tensor([1.0, 2.0, 0.5]).softmax(0))[1]  # the one class that both allow
    torch.testing.assert_close(value[1], -share.log())
