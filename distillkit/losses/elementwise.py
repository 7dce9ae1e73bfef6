"""Each divergence once, class by class: functions of log p (teacher) and log q (student).

They are summed over the classes of a softmax in `divergences`, and over a few kept entries and the
bucket of all the others in `sparse`. A class that is impossible has log-probability -inf: where
the divergence is finite its value is, and so is its gradient.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

Classes = Float[Tensor, "*batch classes"]
Elementwise = Callable[[Tensor, Tensor], Tensor]
NOTHING = float("-inf")  # the log of no probability


def log_sum(logs: Classes) -> Float[Tensor, "*batch 1"]:
    """log of the sum, over the last axis, of what `logs` are the logs of.

    -inf where there is nothing to be summed, and without a gradient there, which torch's has NaN.
    """
    total: Tensor = _LogSum.apply(logs)
    return total


def weighted(share: Tensor, terms: Elementwise, log_p: Classes, log_q: Classes) -> Classes:
    """share * terms; what has no share adds nothing, not even where its terms are infinite."""
    none = share == 0
    if not none.any():
        return share * terms(log_p, log_q)
    return share * terms(log_p.masked_fill(none, 0.0), log_q.masked_fill(none, 0.0))


def cross_entropy_terms(log_p: Classes, log_q: Classes) -> Classes:
    """-p log q."""
    terms: Tensor = _CrossEntropy.apply(log_p, log_q)
    return terms


def kl_terms(log_p: Classes, log_q: Classes) -> Classes:
    """p log(p / q): the terms of KL(p || q)."""
    terms: Tensor = _KL.apply(log_p, log_q)
    return terms


def reverse_kl_terms(log_p: Classes, log_q: Classes) -> Classes:
    """The terms of KL(q || p)."""
    return kl_terms(log_q, log_p)


def jsd_terms(log_p: Classes, log_q: Classes, *, beta: float) -> Classes:
    """The terms of beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q.

    It vanishes as beta goes to 0 or 1; there it is KL(p || q) and KL(q || p), which are what it
    goes to when divided by beta and by 1 - beta.
    """
    if beta in (0, 1):
        return kl_terms(log_q, log_p) if beta else kl_terms(log_p, log_q)
    log_m = log_mixture(log_p, log_q, share=beta)
    return beta * kl_terms(log_p, log_m) + (1 - beta) * kl_terms(log_q, log_m)


def skew_kl_terms(log_p: Classes, log_q: Classes, *, skew: float) -> Classes:
    """The terms of KL(p || skew p + (1 - skew) q)."""
    return kl_terms(log_p, log_mixture(log_p, log_q, share=skew))


def skew_reverse_kl_terms(log_p: Classes, log_q: Classes, *, skew: float) -> Classes:
    """The terms of KL(q || (1 - skew) p + skew q)."""
    return skew_kl_terms(log_q, log_p, skew=skew)


def total_variation_terms(log_p: Classes, log_q: Classes) -> Classes:
    """|p - q| / 2."""
    return 0.5 * (log_p.exp() - log_q.exp()).abs()


def alpha_beta_terms(log_p: Classes, log_q: Classes, *, alpha: float, beta: float) -> Classes:
    """The terms of the alpha-beta divergence, for alpha and beta that are 0 or more, not both 0.

    (alpha/s p^s + beta/s q^s - p^alpha q^beta) / (alpha beta) with s = alpha + beta; where one of
    both is 0, its limit.
    """
    if alpha == 0 or beta == 0:
        power = alpha or beta
        first, second = (log_p, log_q) if alpha else (log_q, log_p)
        first, second = power * first, power * second
        return (kl_terms(first, second) - first.exp() + second.exp()) / power**2
    terms: Tensor = _AlphaBeta.apply(log_p, log_q, alpha, beta)
    return terms


def log_mixture(log_p: Classes, log_q: Classes, *, share: float) -> Classes:
    """log(share p + (1 - share) q)."""
    if share in (0, 1):
        return log_p if share else log_q
    mixed: Tensor = _LogMixture.apply(log_p, log_q, share)
    return mixed


class _LogSum(torch.autograd.Function):
    """torch's own, with a gradient of 0 where nothing is summed."""

    @staticmethod
    def forward(ctx: Any, logs: Classes) -> Tensor:
        total = logs.logsumexp(dim=-1, keepdim=True)
        ctx.save_for_backward(logs, total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Classes:
        logs, total = ctx.saved_tensors
        shares: Tensor = logs - total.masked_fill(total == NOTHING, 0.0)
        return shares.exp_().mul_(gradient)


class _CrossEntropy(torch.autograd.Function):
    """With its gradients -p by log q, -p log q by log p: fewer passes than autograd's own take."""

    @staticmethod
    def forward(ctx: Any, log_p: Classes, log_q: Classes) -> Classes:
        p = log_p.exp()
        terms = (log_q * p).masked_fill_(p == 0, 0.0).neg_()
        ctx.save_for_backward(p, terms if ctx.needs_input_grad[0] else None)
        return terms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Classes) -> tuple[Tensor | None, Tensor | None]:
        p, terms = ctx.saved_tensors
        by_p, by_q = ctx.needs_input_grad
        return terms * gradient if by_p else None, _minus(p, gradient) if by_q else None


class _KL(torch.autograd.Function):
    """With its gradients -p by log q, p + p log(p / q) by log p."""

    @staticmethod
    def forward(ctx: Any, log_p: Classes, log_q: Classes) -> Classes:
        p = log_p.exp()
        terms = (log_p - log_q).mul_(p).masked_fill_(p == 0, 0.0)
        ctx.save_for_backward(p, terms if ctx.needs_input_grad[0] else None)
        return terms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Classes) -> tuple[Tensor | None, Tensor | None]:
        p, terms = ctx.saved_tensors
        by_p, by_q = ctx.needs_input_grad
        return (
            (terms + p).mul_(gradient) if by_p else None,
            _minus(p, gradient) if by_q else None,
        )


def _minus(p: Tensor, gradient: Tensor) -> Tensor:
    """-p * gradient, in one pass."""
    return torch.addcmul(p.new_zeros(()), p, gradient, value=-1)


class _LogMixture(torch.autograd.Function):
    """From the greater of both, so that it is exact where they agree and never underflows."""

    @staticmethod
    def forward(ctx: Any, log_p: Classes, log_q: Classes, share: float) -> Classes:
        p_is_greater, greater, gap = _gap(log_p, log_q)
        share_of_less = _either(p_is_greater, 1 - share, share)
        ratio = gap.expm1_()
        log_m = greater.add_(ratio.mul_(share_of_less).log1p_())
        ctx.save_for_backward(log_p, log_q, log_m)
        ctx.share = share
        return log_m

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Classes) -> tuple[Tensor | None, Tensor | None, None]:
        log_p, log_q, log_m = ctx.saved_tensors

        def of(log_part: Tensor, share: float) -> Tensor:
            """The part's share of the mixture, 0 where there is nothing of either."""
            part = (log_part - log_m).exp_().masked_fill_(log_m == NOTHING, 0.0)
            return part.mul_(gradient).mul_(share)

        by_p, by_q, _ = ctx.needs_input_grad
        return (
            of(log_p, ctx.share) if by_p else None,
            of(log_q, 1 - ctx.share) if by_q else None,
            None,
        )


class _AlphaBeta(torch.autograd.Function):
    """From the ratio of the less to the greater of p and q, so that it is exact where they agree.

    The gradients are q^beta (q^alpha - p^alpha) / alpha by log q, and as much by log p with p and
    q, alpha and beta in each other's place.
    """

    @staticmethod
    def forward(ctx: Any, log_p: Classes, log_q: Classes, alpha: float, beta: float) -> Classes:
        ctx.save_for_backward(log_p, log_q)
        ctx.alpha, ctx.beta = alpha, beta
        p_is_greater, greater, gap = _gap(log_p, log_q)
        whole = alpha + beta
        # with r = less / greater, w the power of the less and o the other, it is greater^s
        # (r^w (r^o - 1) / o - (r^w - 1) / w) / s, which keeps its digits where w or o is small
        of_less = _either(p_is_greater, beta, alpha)
        of_greater = _either(p_is_greater, alpha, beta)
        exponent = (gap * of_greater).expm1_().div_(of_greater)
        less = of_less.mul(gap).expm1_()
        ratio = torch.addcmul(exponent, less, exponent).sub_(less.div_(of_less))
        return greater.mul_(whole).exp_().mul_(ratio).div_(whole)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Classes) -> tuple[Tensor | None, Tensor | None, None, None]:
        log_p, log_q = ctx.saved_tensors
        p_is_greater, greater, gap = _gap(log_p, log_q)
        sign = _either(p_is_greater, -1.0, 1.0)

        def of(own: Tensor, sign: Tensor, power: float, exponent: float) -> Tensor:
            size = (
                (exponent * gap)
                .expm1_()
                .mul_((power * own + exponent * greater).exp_())
                .div_(exponent)
            )
            return size.mul_(sign).mul_(gradient)

        by_p, by_q, _, _ = ctx.needs_input_grad
        return (
            of(log_p, sign, ctx.alpha, ctx.beta) if by_p else None,
            of(log_q, -sign, ctx.beta, ctx.alpha) if by_q else None,
            None,
            None,
        )


def _gap(log_p: Classes, log_q: Classes) -> tuple[Tensor, Tensor, Tensor]:
    """(1 where p is the greater, or 0; the greater; log(less / greater), 0 where both are none)."""
    p_is_greater = (log_p >= log_q).to(log_p.dtype)
    greater = torch.maximum(log_p, log_q)
    gap = torch.minimum(log_p, log_q).sub_(greater)
    # a pass to look is cheap on a CPU; elsewhere the answer would have to be waited for
    if gap.device.type != "cpu" or (gap.numel() and greater.amin() == NOTHING):
        gap.masked_fill_(greater == NOTHING, 0.0)
    return p_is_greater, greater, gap


def _either(condition: Classes, yes: float, no: float) -> Classes:
    """`yes` where the condition is 1, `no` where it is 0: a fifth of the time of `torch.where`."""
    return torch.lerp(condition.new_full((), no), condition.new_full((), yes), condition)
