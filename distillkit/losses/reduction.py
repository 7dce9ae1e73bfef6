"""The one place where a loss becomes a number.

A loss is normalised by the number of positions counted in the whole optimizer step, over all
micro-batches and processes, so that it does not depend on how a step is cut up.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.records import LossTerms

Reduction = Literal["batchmean", "mean"]


def at_least_float32(logits: Tensor) -> Tensor:
    """Logits as every loss computes with them; float64 is left as it is."""
    return logits if logits.dtype.itemsize >= 4 else logits.float()


def unit(vectors: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """Vectors of length 1 in the same direction, in float32 at least.

    A vector of 0 has none: it stays 0, without a gradient. However short or long a vector is,
    nothing is added to its length.
    """
    wide = at_least_float32(vectors)
    largest = wide.detach().abs().amax(dim=-1, keepdim=True)
    nothing = largest == 0
    scaled = wide / largest.masked_fill(nothing, 1.0)  # whose squares neither overflow nor vanish
    length = scaled.square().sum(dim=-1, keepdim=True).masked_fill(nothing, 1.0).sqrt()
    return (scaled / length).masked_fill(nothing, 0.0)


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
