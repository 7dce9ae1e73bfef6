"""Logits as z-scores: their order and shape are learnt, not how far apart they are."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from distillkit.losses.chunked import Known
from distillkit.losses.divergences import Logits, Values, forward_kl
from distillkit.losses.elementwise import NOTHING
from distillkit.losses.loss import SoftmaxLoss
from distillkit.losses.reduction import SQUARED, Reduction, at_least_float32
from distillkit.types import HardLabels


def standardised_kl(
    student: Logits,
    teacher: Logits,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """`forward_kl` of both softmaxes of `z_scores`.

    Sun et al. 2024, https://arxiv.org/abs/2403.01427, algorithm 1.
    """
    return forward_kl(
        z_scores(student),
        z_scores(teacher),
        temperature=temperature,
        scale_by_t2=scale_by_t2,
        reduction=reduction,
    )


def z_scores(logits: Logits) -> Logits:
    """Each position's logits less their mean, over their standard deviation (of n - 1).

    Of the n classes that are not ruled out; those that are, -inf, stay so. Logits that are all
    equal, as that of a single class is, become 0, without a gradient.
    """
    scores: Tensor = _ZScores.apply(at_least_float32(logits))
    return scores


class _ZScores(torch.autograd.Function):
    """Where no class is ruled out and no square is in danger, from few passes; else with care.

    With g the gradient by z, that by the logits is that of g less its mean and less z (g z) /
    (n - 1), over the standard deviation: fewer passes than autograd's own take.
    """

    @staticmethod
    def forward(ctx: Any, logits: Logits) -> Logits:
        largest = logits.amax(dim=-1, keepdim=True)
        span = largest - logits.amin(dim=-1, keepdim=True)
        if ((span > SQUARED[0]) & (span < SQUARED[1])).all():
            n: Tensor | int = logits.shape[-1]
            scores = logits - largest
            scores.sub_(scores.mean(dim=-1, keepdim=True))
            deviation = torch.linalg.vector_norm(scores, dim=-1, keepdim=True) / (n - 1) ** 0.5
            scores.div_(deviation)
            ruled_out, by_unit = None, deviation.reciprocal_()
        else:
            scores, ruled_out, n, by_unit = _with_care(logits, largest)
        ctx.save_for_backward(scores, ruled_out, by_unit)
        ctx.n = n
        return scores if ruled_out is None else scores.masked_fill(ruled_out, NOTHING)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Logits) -> Logits:
        scores, ruled_out, by_unit = ctx.saved_tensors
        if ruled_out is not None:
            gradient = gradient.masked_fill(ruled_out, 0.0)
        n = ctx.n
        less_one = (n - 1).clamp_min(1) if isinstance(n, Tensor) else n - 1
        along = (gradient * scores).sum(dim=-1, keepdim=True) / less_one
        by_logits = gradient - gradient.sum(dim=-1, keepdim=True) / n
        by_logits.addcmul_(scores, along, value=-1).mul_(by_unit)
        return by_logits if ruled_out is None else by_logits.masked_fill_(ruled_out, 0.0)


def _with_care(logits: Logits, largest: Tensor) -> tuple[Logits, Tensor, Tensor, Tensor]:
    """(z-scores, 0 where a class is ruled out; what is; how many are not; 1 / deviation, or 0).

    From the largest logit on and in units of their span: so equal logits are exactly so, and
    squares neither overflow nor vanish. To a z-score both make no difference.
    """
    ruled_out = logits == NOTHING
    n = logits.shape[-1] - ruled_out.sum(dim=-1, keepdim=True)
    below = (logits - largest).masked_fill_(ruled_out, 0.0)
    span = -below.amin(dim=-1, keepdim=True)
    level = span == 0
    below.div_(span.masked_fill(level, 1.0))
    below.sub_(below.sum(dim=-1, keepdim=True) / n).masked_fill_(ruled_out, 0.0)
    square = below.square().sum(dim=-1, keepdim=True) / (n - 1).clamp_min_(1)
    deviation = square.masked_fill_(level, 1.0).sqrt_()
    by_unit = (span * deviation).reciprocal_().masked_fill_(level, 0.0)
    return below.div_(deviation), ruled_out, n, by_unit


@dataclass(eq=False, repr=False, kw_only=True)
class StandardisedKL(SoftmaxLoss):
    """`standardised_kl` to the soft targets, mixed with the task's loss on the hard labels.

    It takes three classes or more: the z-scores of two are 0.71 and -0.71 whatever the logits are.
    """

    least_outputs = 3

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Nats a position."""
        return standardised_kl(logits, self.dense_logits(targets), **self.softmax_settings)
