"""Losses of the student's logits against the teacher's: pure functions, one value a position."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillkit.losses.reduction import Reduction, at_least_float32, per_position


def forward_kl(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Float[Tensor, "*batch"]:
    r"""KL(p || q) in nats, of teacher p against student q, both softened by the temperature T.

    Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531, section 2. With `scale_by_t2`
    the value is multiplied by T^2, which keeps the gradient of one size as T grows.
    """
    # float32: log_softmax in bfloat16 keeps 2-3 digits, and the KL of equal logits is not 0
    log_p = F.log_softmax(at_least_float32(teacher) / temperature, dim=-1)
    log_q = F.log_softmax(at_least_float32(student) / temperature, dim=-1)
    # a class that the teacher rules out (-inf) adds 0, not nan
    values = log_p.exp() * (log_p - log_q).masked_fill(log_p == float("-inf"), 0.0)
    return per_position(values, reduction=reduction) * (temperature**2 if scale_by_t2 else 1.0)


def soft_cross_entropy(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Float[Tensor, "*batch"]:
    r"""-sum p log q in nats: `forward_kl` plus the teacher's entropy, so with the same gradient.

    Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531, section 2.
    """
    p = F.softmax(at_least_float32(teacher) / temperature, dim=-1)
    log_q = F.log_softmax(at_least_float32(student) / temperature, dim=-1)
    values = -p * log_q.masked_fill(p == 0, 0.0)
    return per_position(values, reduction=reduction) * (temperature**2 if scale_by_t2 else 1.0)


def logit_mse(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    reduction: Reduction = "mean",
) -> Float[Tensor, "*batch"]:
    """The squared difference of the logits.

    Ba, Caruana 2014, https://arxiv.org/abs/1312.6184, equation 1; Tang et al. 2019,
    https://arxiv.org/abs/1903.12136, section 3. It is also the loss for one real-valued output.
    """
    difference = at_least_float32(student) - at_least_float32(teacher)
    return per_position(difference.square(), reduction=reduction)
