"""A teacher that moves away from the student as fast as the student learns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from distillkit.errors import ConfigError
from distillkit.losses.chunked import Known
from distillkit.losses.divergences import Logits, Values, forward_kl
from distillkit.losses.elementwise import NOTHING
from distillkit.losses.loss import SoftmaxLoss
from distillkit.losses.reduction import Reduction, at_least_float32
from distillkit.setting_types import Fraction, NonNegative, Share
from distillkit.types import HardLabels


def taid(
    student: Logits,
    teacher: Logits,
    *,
    t: float | Tensor = 1.0,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """KL(p_t || q) in nats, p_t the softmax of (1 - t) student + t teacher.

    The student inside p_t has no gradient. `forward_kl` at t = 1, and 0 at t = 0; between them a
    class that either rules out is ruled out of p_t. Where each rules out all that the other allows
    there is nothing between them, and p_t is the teacher: as in `forward_kl` the value is infinite.
    Shing et al. 2025, https://arxiv.org/abs/2501.16937, equations 3 and 4.
    """
    student, teacher = at_least_float32(student), at_least_float32(teacher)
    to = partial(
        forward_kl,
        student,
        temperature=temperature,
        scale_by_t2=scale_by_t2,
        reduction=reduction,
    )
    t = float(t)
    between = _part(student.detach(), 1 - t) + _part(teacher, t)
    values = to(between)
    if not values.isnan().any():
        return values
    nothing = (between == NOTHING).all(dim=-1, keepdim=True)
    return to(torch.where(nothing, teacher, between))


def _part(logits: Logits, share: float) -> Logits:
    """share * logits; nothing at a share of 0, where 0 * -inf would be no number."""
    return share * logits if share else torch.zeros_like(logits)


@dataclass(eq=False, repr=False, kw_only=True)
class TAID(SoftmaxLoss):
    """`taid` to the soft targets, mixed with the task's loss on the hard labels.

    t begins at `start` and never falls: before each step it is at least what a straight line from
    `start` to `end` says, and after each step it grows by rate * sigmoid(m) * (1 - t), where m is
    the running mean of the loss's relative decrease (algorithm 1 of the paper). The loss is the
    paper's KL; the official code follows the cross-entropy, which decreases relatively less. After
    a step whose loss was 0, as the first is at start 0, m stays: the official code divides by 1e-15
    there, and m would be far below 0 for thousands of steps.
    """

    start: Fraction = 0.4
    end: Share = 1.0
    rate: NonNegative = 5e-4
    momentum: Fraction = 0.99
    t: Tensor = field(init=False)
    decrease: Tensor = field(init=False)
    previous: Tensor = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start > self.end:
            raise ConfigError(
                f"loss.start = {self.start:g}: above loss.end = {self.end:g}; t never falls"
            )
        self.register_buffer("t", torch.tensor(float(self.start)))
        self.register_buffer("decrease", torch.tensor(0.0))
        self.register_buffer("previous", torch.tensor(float("nan")))  # the loss of the last step

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Nats a position."""
        return taid(logits, self.dense_logits(targets), t=self.t, **self.softmax_settings)

    @property
    def scheduled_values(self) -> dict[str, float]:
        """And t."""
        return super().scheduled_values | {"t": float(self.t)}

    def on_step_begin(self, progress: float) -> None:
        """Not below the line, nor beyond its end."""
        super().on_step_begin(progress)
        line = self.start + (self.end - self.start) * progress
        self.t.clamp_(min=line).clamp_(max=self.end)

    def on_step_end(self, shares: Mapping[str, float]) -> None:
        """Move on, the faster the more the loss went down."""
        if self.previous > 0:  # and not NaN
            relative = (self.previous - shares["soft"]) / self.previous
            self.decrease.mul_(self.momentum).add_((1 - self.momentum) * relative)
            self.t.add_(self.rate * self.decrease.sigmoid() * (1 - self.t))
        self.previous.fill_(shares["soft"])
