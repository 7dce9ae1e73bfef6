"""Losses against a few entries of the teacher's distribution at each position.

The k entries are k buckets, and all other classes together are one more. What the teacher has in
that one, the rest, is a policy:

tail         what it left over, 1 - sum p: an f-divergence of the buckets is then at most that of
             the whole distributions, for what is not known of the teacher counts as agreed
renormalise  nothing: p is scaled to sum 1 over its entries
ignore       there is no such bucket, and p stays as it is: only the k terms count

Entries that are not used (log-probability -inf) contribute exactly nothing.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from distillkit.errors import TargetsError
from distillkit.losses.elementwise import NOTHING, Elementwise, cross_entropy_terms
from distillkit.losses.reduction import Reduction, at_least_float32
from distillkit.types import SparseTargets

Rest = Literal["tail", "renormalise", "ignore"]
Kept = Float[Tensor, "positions kept"]
Buckets = Float[Tensor, "positions buckets"]  # the kept entries, and last the rest


def sparse_divergence(
    terms: Elementwise,
    student: Float[Tensor, "positions classes"],
    targets: SparseTargets,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
    rest: Rest = "tail",
) -> Float[Tensor, " positions"]:
    """A divergence over the buckets; "mean" divides by the number of the student's classes.

    Of an estimate (entries drawn at random, Anshumann et al. 2025, Random Sampling KD,
    https://arxiv.org/abs/2503.16870) it is always the cross-entropy -sum p log q, whatever the
    terms: unbiased as p is, and so is its gradient, which is also that of forward KL. The value
    of forward KL has no such estimate: it is the expectation of this one less the teacher's
    entropy, which a sample does not tell. The caller sees to it that no other divergence is asked.

    Raises `TargetsError` where the entries are not known at this temperature.
    """
    logits = at_least_float32(student)
    log_p = entries(targets, temperature).to(logits.dtype)
    log_q = _LogBuckets.apply(logits, targets.ids, log_p, temperature)
    if targets.is_estimate:
        values = cross_entropy_terms(log_p, log_q[..., :-1])
    elif rest == "ignore":
        values = terms(log_p, log_q[..., :-1])
    else:
        known_to = torch.finfo(targets.log_probs.dtype).eps
        log_p = teacher_buckets(log_p, student.shape[-1], rest, known_to)
        # a student whose logits rule out all others was told to: the teacher's rest is rounding
        is_nothing = log_q[..., -1:] == NOTHING
        log_p = torch.cat(
            [log_p[..., :-1], log_p[..., -1:].masked_fill(is_nothing, NOTHING)], dim=-1
        )
        values = terms(log_p, log_q)
    per_class = student.shape[-1] if reduction == "mean" else 1
    return values.sum(dim=-1) * ((temperature**2 if scale_by_t2 else 1.0) / per_class)


def entries(targets: SparseTargets, temperature: float) -> Kept:
    """The log-probabilities of the kept entries at the temperature, -inf where not used."""
    log_z = targets.log_z.get(temperature)
    if log_z is None:
        temperatures = ", ".join(f"{t:g}" for t in sorted(targets.log_z))
        needed = ", ".join(f"{t:g}" for t in sorted({*targets.log_z, temperature}))
        way_out = (
            f"targets.codec.temperature={temperature:g}"
            if targets.is_estimate
            else f"targets.codec.temperatures=[{needed}]"
        )
        raise TargetsError(
            f"loss.temperature = {temperature:g}: the store was captured at {temperatures}; "
            f"capture it with {way_out}, or set loss.temperature={min(targets.log_z):g}"
        )
    if targets.is_estimate:
        return targets.log_probs
    return targets.log_probs / temperature - log_z.unsqueeze(-1)


def teacher_buckets(log_p: Kept, classes: int, rest: Rest, known_to: float) -> Buckets:
    """The teacher's buckets, the rest by policy; there is none where every class is kept.

    Under `tail` it never has less than `known_to`, the rounding of 1 - sum p: a rest of 0 would
    make reverse KL infinite although the teacher ruled nothing out.
    """
    mass = log_p.exp().sum(dim=-1, keepdim=True)
    if rest == "renormalise":
        return torch.cat([log_p - _finite(mass.log()), torch.full_like(mass, NOTHING)], dim=-1)
    is_whole = (log_p != NOTHING).sum(dim=-1, keepdim=True) == classes
    log_rest = torch.log1p(-mass.clamp(max=1 - known_to)).masked_fill(is_whole, NOTHING)
    return torch.cat([log_p, log_rest], dim=-1)


class _LogBuckets(torch.autograd.Function):
    """log q of the kept entries and of all other classes together, from logits.

    The others are summed themselves, since 1 - sum q has no digits left where sum q is almost 1.
    One buffer [positions, classes] is kept for the backward pass, which makes one more.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Float[Tensor, "positions classes"],
        ids: Int[Tensor, "positions kept"],
        log_p: Kept,
        temperature: float,
    ) -> Buckets:
        used = log_p != NOTHING
        log_q_kept = logits.gather(-1, ids).div_(temperature).masked_fill_(~used, NOTHING)
        # an unused entry leaves the class that it names alone
        at_most = torch.where(used, NOTHING, -NOTHING).to(logits.dtype)
        elsewhere = logits.scatter_reduce(-1, ids, at_most, reduce="amin")
        largest = _finite(elsewhere.amax(dim=-1, keepdim=True))
        elsewhere.sub_(largest)
        if temperature != 1:  # a pass over the whole buffer
            elsewhere.div_(temperature)
        elsewhere.exp_()
        mass = elsewhere.sum(dim=-1, keepdim=True)
        whole = torch.cat([log_q_kept, mass.log() + largest / temperature], dim=-1)
        log_q = whole - whole.logsumexp(dim=-1, keepdim=True)
        ctx.save_for_backward(elsewhere, mass, ids, used, log_q)
        ctx.temperature = temperature
        return log_q

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Buckets) -> tuple[Tensor, None, None, None]:
        elsewhere, mass, ids, used, log_q = ctx.saved_tensors
        # of the logarithms of the buckets' sums; each of the others has its share of the last one
        by_bucket = gradient - log_q.exp() * gradient.sum(dim=-1, keepdim=True)
        by_bucket /= ctx.temperature
        by_logits = elsewhere * (by_bucket[..., -1:] / mass.masked_fill(mass == 0, 1.0))
        by_logits.scatter_add_(-1, ids, by_bucket[..., :-1].masked_fill(~used, 0.0))
        return by_logits, None, None, None


def _finite(logs: Tensor) -> Tensor:
    """Something to subtract: 0 where there is nothing."""
    return logs.masked_fill(logs == NOTHING, 0.0)
