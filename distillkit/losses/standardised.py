"""Logits as z-scores: their order and shape are learnt, not how far apart they are."""

from torch import Tensor

from distillkit.losses.chunked import Known
from distillkit.losses.divergences import Logits, Values, forward_kl
from distillkit.losses.loss import SoftmaxLoss
from distillkit.losses.reduction import Reduction, at_least_float32
from distillkit.losses.schedules import Temperature, Weight
from distillkit.records import HardLabels


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

    Logits that are all equal become 0, without a gradient.
    """
    wide = at_least_float32(logits)
    centred = wide - wide.mean(dim=-1, keepdim=True)
    variance = centred.square().sum(dim=-1, keepdim=True) / (logits.shape[-1] - 1)
    level = variance == 0
    return centred.masked_fill(level, 0.0) / variance.masked_fill(level, 1.0).sqrt()


class StandardisedKL(SoftmaxLoss):
    """`standardised_kl` to the soft targets, mixed with the task's loss on the hard labels."""

    def __init__(
        self,
        temperature: Temperature = 1.0,
        soft_weight: Weight = 1.0,
        hard_weight: Weight = 0.0,
        scale_by_t2: bool = True,
        reduction: Reduction = "batchmean",
    ) -> None:
        super().__init__(temperature, soft_weight, hard_weight, scale_by_t2, reduction)

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Nats a position."""
        return standardised_kl(logits, self.every_logit(targets), **self.softening)
