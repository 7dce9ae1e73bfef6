"""Losses of the student's logits against the teacher's: pure functions, one value a position.

p is the teacher's softmax and q the student's, both softened by the temperature T. With
`scale_by_t2` a value is multiplied by T^2: the gradient of all but `total_variation` falls as 1 /
T^2, and keeps one size so.
"""

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillkit.losses.elementwise import (
    Elementwise,
    alpha_beta_terms,
    cross_entropy_terms,
    jsd_terms,
    kl_terms,
    reverse_kl_terms,
    skew_kl_terms,
    skew_reverse_kl_terms,
    total_variation_terms,
)
from distillkit.losses.reduction import Reduction, at_least_float32, per_position

Logits = Float[Tensor, "*batch classes"]
Values = Float[Tensor, "*batch"]


def forward_kl(
    student: Logits,
    teacher: Logits,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """KL(p || q) in nats.

    Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531, section 2.
    """
    return divergence(kl_terms, student, teacher, temperature, scale_by_t2, reduction)


def soft_cross_entropy(
    student: Logits,
    teacher: Logits,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """-sum p log q in nats: `forward_kl` plus the teacher's entropy, so with the same gradient.

    Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531, section 2.
    """
    return divergence(cross_entropy_terms, student, teacher, temperature, scale_by_t2, reduction)


def reverse_kl(
    student: Logits,
    teacher: Logits,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """KL(q || p) in nats; infinite where the student allows what the teacher rules out.

    Gu et al. 2023 (MiniLLM), https://arxiv.org/abs/2306.08543, section 2.1.
    """
    return divergence(reverse_kl_terms, student, teacher, temperature, scale_by_t2, reduction)


def jsd(
    student: Logits,
    teacher: Logits,
    *,
    beta: float = 0.5,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """beta KL(p || m) + (1 - beta) KL(q || m) in nats, with m = beta p + (1 - beta) q.

    Agarwal et al. 2023 (GKD), https://arxiv.org/abs/2306.13649, section 2, and TRL. At 0 and 1,
    where the formula is 0, it is `forward_kl` and `reverse_kl` as in TRL: the limits of jsd / beta
    and of jsd / (1 - beta). DistiLLM's `lam` (https://arxiv.org/abs/2402.03898) is 1 - beta.
    """
    terms = partial(jsd_terms, beta=beta)
    return divergence(terms, student, teacher, temperature, scale_by_t2, reduction)


def skew_kl(
    student: Logits,
    teacher: Logits,
    *,
    skew: float = 0.1,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """KL(p || skew p + (1 - skew) q) in nats: `forward_kl` at skew 0, constant at 1.

    Ko et al. 2024 (DistiLLM), https://arxiv.org/abs/2402.03898, section 3.1. Its official code
    (distillm/losses.py) leaves sum p log p out: its values are higher by the teacher's entropy, a
    constant, and its gradients are these. Of `skew_reverse_kl` it has both sums, as here.
    """
    terms = partial(skew_kl_terms, skew=skew)
    return divergence(terms, student, teacher, temperature, scale_by_t2, reduction)


def skew_reverse_kl(
    student: Logits,
    teacher: Logits,
    *,
    skew: float = 0.1,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """KL(q || (1 - skew) p + skew q) in nats: `reverse_kl` at skew 0, constant at 1.

    Ko et al. 2024 (DistiLLM), https://arxiv.org/abs/2402.03898, section 3.1.
    """
    terms = partial(skew_reverse_kl_terms, skew=skew)
    return divergence(terms, student, teacher, temperature, scale_by_t2, reduction)


def total_variation(
    student: Logits,
    teacher: Logits,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """sum |p - q| / 2, between 0 and 1 before T^2.

    Wen et al. 2023 (f-distill), https://arxiv.org/abs/2307.15190. Its gradient falls as
    1 / T, so `scale_by_t2` makes it grow with T.
    """
    return divergence(total_variation_terms, student, teacher, temperature, scale_by_t2, reduction)


def alpha_beta(
    student: Logits,
    teacher: Logits,
    *,
    alpha: float = 0.2,
    beta: float = 0.7,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """The alpha-beta divergence: `forward_kl` at (1, 0), `reverse_kl` at (0, 1).

    sum (alpha/s p^s + beta/s q^s - p^alpha q^beta) / (alpha beta), s = alpha + beta. Wang et al.
    2025 (ABKD), https://arxiv.org/abs/2505.04560; Cichocki, Cruces, Amari 2011, whose limits hold
    where alpha or beta is 0. The official code of ABKD has 1 / alpha there for 1 / alpha^2.
    """
    terms = partial(alpha_beta_terms, alpha=alpha, beta=beta)
    return divergence(terms, student, teacher, temperature, scale_by_t2, reduction)


def logit_mse(student: Logits, teacher: Logits, *, reduction: Reduction = "mean") -> Values:
    """The squared difference of the logits; a class that both rule out adds nothing.

    Ba, Caruana 2014, https://arxiv.org/abs/1312.6184, equation 1; Tang et al. 2019,
    https://arxiv.org/abs/1903.12136, section 3. It is also the loss for one real-valued output.
    """
    of_student, of_teacher = at_least_float32(student), at_least_float32(teacher)
    difference = of_student - of_teacher
    values = per_position(difference.square(), reduction=reduction)
    if not values.isnan().any():
        return values
    # -inf less -inf is no number; the gradient of a difference of 0 is 0
    difference = difference.masked_fill(of_student == of_teacher, 0.0)
    return per_position(difference.square(), reduction=reduction)


def bernoulli_kl(
    student: Logits,
    teacher: Logits,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "mean",
) -> Values:
    """KL(p || q) in nats of each label by itself: p and q are sigmoids, and several may hold.

    The one-versus-all reduction of Yang et al. 2023, https://arxiv.org/abs/2308.06453; T as in
    `forward_kl`.
    """
    values = kl_terms(log_sides(teacher, temperature), log_sides(student, temperature))
    per_label = values.sum(dim=-1)
    return per_position(per_label, reduction=reduction) * (temperature**2 if scale_by_t2 else 1.0)


def log_sides(logits: Logits, temperature: float) -> Float[Tensor, "*batch classes 2"]:
    """log sigmoid(logits / T) and log(1 - sigmoid(logits / T))."""
    wide = at_least_float32(logits) / temperature
    return F.logsigmoid(torch.stack([wide, -wide], dim=-1))


def divergence(
    terms: Elementwise,
    student: Logits,
    teacher: Logits,
    temperature: float,
    scale_by_t2: bool,
    reduction: Reduction,
) -> Values:
    """Any divergence of two softmaxes, from its terms."""
    values = terms(log_softmax(teacher, temperature), log_softmax(student, temperature))
    return per_position(values, reduction=reduction) * (temperature**2 if scale_by_t2 else 1.0)


def log_softmax(logits: Logits, temperature: float) -> Logits:
    """log softmax(logits / T)."""
    # float32: log_softmax in bfloat16 keeps 2-3 digits, and the KL of equal logits is not 0
    wide = at_least_float32(logits)
    return F.log_softmax(wide if temperature == 1 else wide / temperature, dim=-1)
