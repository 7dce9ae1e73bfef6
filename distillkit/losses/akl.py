"""Forward and reverse KL by where the student is wrong: at the teacher's head, or at its tail."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.losses.chunked import Known
from distillkit.losses.divergences import Logits, Values, log_softmax
from distillkit.losses.elementwise import kl_terms, reverse_kl_terms, weighted
from distillkit.losses.loss import SoftmaxLoss
from distillkit.losses.reduction import Reduction, per_position
from distillkit.setting_types import Share
from distillkit.types import HardLabels


def akl(
    student: Logits,
    teacher: Logits,
    *,
    head_mass: float = 0.5,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """h KL(p || q) + (1 - h) KL(q || p) in nats; h is the head's part of sum |p - q|.

    The head is the likeliest classes of the teacher whose sum is at most `head_mass`, and always
    the first. h has no gradient, as in the official code. At `head_mass` 1 it is `forward_kl`;
    below, as reverse KL, it is infinite where the student allows what the teacher rules out. Wu et
    al. 2024, https://arxiv.org/abs/2404.02657, section 4.2.
    """
    log_p, log_q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    of_head = _share_of_head(log_p.exp(), log_q.detach().exp(), head_mass).unsqueeze(-1)
    values = weighted(of_head, kl_terms, log_p, log_q)
    values = values + weighted(1 - of_head, reverse_kl_terms, log_p, log_q)
    scale = temperature**2 if scale_by_t2 else 1.0
    return per_position(values, reduction=reduction) * scale


def _share_of_head(p: Tensor, q: Tensor, head_mass: float) -> Float[Tensor, "*batch"]:
    """The head's part of the whole difference; a half where there is none."""
    if head_mass == 1:  # the sum of all may be rounded to more than 1
        return torch.ones_like(p[..., 0])
    ranked, ids = p.sort(dim=-1, descending=True, stable=True)
    is_head = ranked.cumsum(dim=-1) <= head_mass
    is_head[..., 0] = True
    gaps = (ranked - q.gather(-1, ids)).abs()
    of_head, whole = (gaps * is_head).sum(dim=-1), gaps.sum(dim=-1)
    return torch.where(whole > 0, of_head / whole.masked_fill(whole == 0, 1.0), 0.5)


@dataclass(eq=False, repr=False, kw_only=True)
class AKL(SoftmaxLoss):
    """`akl` to the soft targets, mixed with the task's loss on the hard labels."""

    head_mass: Share = 0.5

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Nats a position."""
        all_logits = self.dense_logits(targets)
        return akl(logits, all_logits, head_mass=self.head_mass, **self.softmax_settings)
