"""The one place where a loss becomes a number.

A loss is normalised by the number of positions counted in the whole optimizer step, over all
micro-batches and processes, so that it does not depend on how a step is cut up.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from distillkit.types import LossTerms

Reduction = Literal["batchmean", "mean"]
SQUARED = (1e-12, 1e12)  # sizes whose squares, and sums of them, float32 holds


def at_least_float32(logits: Tensor) -> Tensor:
    """Logits as every loss computes with them; float64 is left as it is."""
    return logits if logits.dtype.itemsize >= 4 else logits.float()


def unit(vectors: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """Vectors of length 1 in the same direction, in float32 at least.

    A vector of 0 has none: it stays 0, without a gradient. However short or long a vector is,
    nothing is added to its length.
    """
    vector: Tensor = _Unit.apply(at_least_float32(vectors))
    return vector


class _Unit(torch.autograd.Function):
    """With g the gradient by the unit vector u, that by the vector is g - u (g u), by its length.

    Fewer passes than autograd's own take.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        if ((length > SQUARED[0]) & (length < SQUARED[1])).all():
            by_length = length.reciprocal()
            units = vectors / length
        else:
            units, by_length = _unit_with_care(vectors)
        ctx.save_for_backward(units, by_length)
        return units

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        units, by_length = ctx.saved_tensors
        along = (gradient * units).sum(dim=-1, keepdim=True)
        across: Tensor = torch.addcmul(gradient, units, along, value=-1)
        return across.mul_(by_length)


def _unit_with_care(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """(unit vectors, 1 / length): both 0 where there is no direction."""
    largest = vectors.abs().amax(dim=-1, keepdim=True)
    nothing = largest == 0
    largest.masked_fill_(nothing, 1.0)
    units = vectors / largest  # whose squares neither overflow nor vanish
    length = torch.linalg.vector_norm(units, dim=-1, keepdim=True).masked_fill_(nothing, 1.0)
    by_length = (length.reciprocal() / largest).masked_fill_(nothing, 0.0)
    return units.div_(length).masked_fill_(nothing, 0.0), by_length


def per_position(
    values: Float[Tensor, "*batch classes"], *, reduction: Reduction
) -> Float[Tensor, "*batch"]:
    """Sum ("batchmean") or average ("mean") a divergence's values over the classes.

    PyTorch's names. Most papers mean "batchmean"; the official code of PKD and TinyBERT takes
    "mean", which divides the loss by the number of classes as well.
    """
    return values.sum(dim=-1) if reduction == "batchmean" else values.mean(dim=-1)


def reduce_terms(terms: LossTerms, *, count: int) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """The weighted sum of all terms over `count` positions, and each term's own share.

    `count` is the number of counted positions of the whole optimizer step, not of this
    micro-batch: the shares of its micro-batches then add up to the loss of the step. That of a step
    that counts none is 0.
    """
    count = max(count, 1)
    shares = {name: values.sum() / count for name, values in terms.values.items()}
    if terms.total is not None:
        total = terms.total / count
    else:
        total = torch.stack([terms.weights[name] * share for name, share in shares.items()]).sum()
    return total, {name: share.detach() for name, share in shares.items()}
