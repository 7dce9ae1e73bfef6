"""Decoupled knowledge distillation: the target class against all others, and the others."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from distillkit.errors import ConfigError
from distillkit.losses.chunked import Known
from distillkit.losses.divergences import Logits, Values, log_softmax
from distillkit.losses.elementwise import NOTHING, kl_terms, log_sum
from distillkit.losses.loss import SoftmaxLoss
from distillkit.losses.reduction import Reduction
from distillkit.setting_types import NonNegative
from distillkit.types import HardLabels


def dkd(
    student: Logits,
    teacher: Logits,
    labels: Int[Tensor, "*batch"],
    *,
    alpha: float = 1.0,
    beta: float = 0.5,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """alpha TCKD + beta NCKD in nats; `labels` are the target classes.

    TCKD is the KL of (p_t, 1 - p_t), NCKD that of the other classes among themselves, 0 where the
    teacher rules them all out; at alpha 1 and beta 1 - p_t it is `forward_kl`. One of both weights
    is above 0. Where a label is below 0, none is known, and the target is
    the teacher's likeliest class. Zhao et al. 2022, https://arxiv.org/abs/2203.08679, equation 7.
    """
    target = torch.where(labels < 0, teacher.argmax(dim=-1), labels).unsqueeze(-1)
    pairs = [_decoupled(log_softmax(logits, temperature), target) for logits in (teacher, student)]
    of_target, of_others = (kl_terms(p, q).sum(dim=-1) for p, q in zip(*pairs, strict=True))
    parts = [w * part for w, part in ((alpha, of_target), (beta, of_others)) if w]
    values = torch.stack(parts).sum(dim=0)
    per_class = student.shape[-1] if reduction == "mean" else 1
    return values * ((temperature**2 if scale_by_t2 else 1.0) / per_class)


def _decoupled(log_p: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """log (p_t, 1 - p_t) [*batch, 2], and the log-softmax of the other classes alone."""
    log_p_others = log_p.scatter(-1, target, NOTHING)
    log_others = log_sum(log_p_others)
    alone = log_p_others - log_others.masked_fill(log_others == NOTHING, 0.0)
    return torch.cat([log_p.gather(-1, target), log_others], dim=-1), alone


@dataclass(eq=False, repr=False, kw_only=True)
class DKD(SoftmaxLoss):
    """`dkd` to the soft targets, mixed with the task's loss on the hard labels.

    The target class is the hard label: of a language model the next token of the text. Transfer
    text has no labels; there it is the class that the teacher finds likeliest.
    """

    alpha: NonNegative = 1.0
    beta: NonNegative = 0.5

    def __post_init__(self) -> None:
        if self.alpha + self.beta == 0:
            raise ConfigError(
                "loss.alpha = 0, loss.beta = 0: nothing would be learnt from the teacher; set one "
                "of both above 0"
            )
        super().__post_init__()
        self.least_outputs = 2 if self.alpha else 3  # one class beside the target is all others

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Nats a position."""
        ids = labels.values.long().masked_fill(~labels.label_mask, -1)
        return dkd(
            logits,
            self.dense_logits(targets),
            ids,
            alpha=self.alpha,
            beta=self.beta,
            **self.softmax_settings,
        )
