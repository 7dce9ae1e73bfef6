"""From hidden states to logits: a language model's head, in float32 whatever it is kept in."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from distillkit.fast_paths import FastPath
from distillkit.types import Head

# a product of bfloat16 matrices whose sums come out in float32; PyTorch has it for CUDA only
FLOAT32_OUT = hasattr(torch.ops.aten.mm, "dtype")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, as far as PyTorch can tell."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        tell = getattr(torch.cpu, "get_capabilities", dict)  # PyTorch 2.9 cannot tell
        capabilities: Mapping[str, Any] = tell()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def project(
    hidden: Float[Tensor, "*batch hidden"], head: Head
) -> Float[Tensor, "*batch {head.size}"]:
    """The logits of hidden states, in float32 (in float64 if hidden states or weights are).

    A vocabulary's padding is cut off before the product. Autocast has no say here: logits that
    were rounded to bfloat16 change the gradient of a divergence by several per cent.
    """
    flat = hidden.reshape(-1, hidden.shape[-1])
    return finish(raw_logits(flat, head), head).view(*hidden.shape[:-1], head.size)


def raw_logits(
    hidden: Float[Tensor, "positions hidden"], head: Head, *, into: Tensor | None = None
) -> Float[Tensor, "positions {head.size}"]:
    """h W^T + b, before scale and softcap.

    Written to the first rows of `into` if it is given; it takes part in no gradient then. Of
    bfloat16 hidden states that need no gradient a processor makes the products that it has for
    them, with sums in float32.
    """
    assert head.size <= len(head.weight), "a head cannot have more classes than rows"
    weight = head.weight[: head.size]
    narrow = hidden.dtype == torch.bfloat16 and hidden.device.type == "cpu"
    if into is None and narrow and not torch.is_grad_enabled():
        wide = torch.promote_types(weight.dtype, torch.float32)
        into = hidden.new_empty((len(hidden), head.size), dtype=wide)
    with torch.autocast(hidden.device.type, enabled=False):
        logits: Tensor
        if into is None:
            logits = _Product.apply(hidden, weight)
        else:
            h, w = operands(hidden, weight)
            with _products(narrow=narrow):
                logits = torch.mm(h, w.T, out=into[: len(h)])
        return logits if head.bias is None else logits.add_(head.bias[: head.size])


def finish(
    raw: Float[Tensor, "positions classes"], head: Head
) -> Float[Tensor, "positions classes"]:
    """What the head does to its product: the scale, and cap(x) = softcap * tanh(x / softcap)."""
    scaled = raw if head.scale == 1 else raw * head.scale
    if head.softcap is None:
        return scaled
    return torch.tanh(scaled / head.softcap) * head.softcap


def operands(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states and weights as they are multiplied.

    That is float32 or float64; on CUDA bfloat16 where the hidden states are, with sums in float32.
    """
    if hidden.is_cuda and hidden.dtype == torch.bfloat16 and FLOAT32_OUT:
        return hidden, weight.to(torch.bfloat16)
    wide = torch.promote_types(torch.promote_types(hidden.dtype, weight.dtype), torch.float32)
    return hidden.to(wide), weight.to(wide)


@contextmanager
def _products(*, narrow: bool) -> Iterator[None]:
    """Within, a processor's float32 matrices may be rounded to bfloat16 as they are multiplied."""
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # made at run time
    before = matmul.fp32_precision
    if narrow and FastPath.BFLOAT16_PRODUCTS.is_enabled:
        matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """The product of matrices out of `operands`, or of a gradient and one of them: float32 up."""
    if torch.bfloat16 in (left.dtype, right.dtype):
        narrow = left.to(torch.bfloat16), right.to(torch.bfloat16)
        return torch.mm(*narrow, out_dtype=torch.float32)
    return left @ right


def add_product_(into: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a product to a matrix, which may be in float32 where the product is of bfloat16."""
    if into.dtype == left.dtype == right.dtype:
        into.addmm_(left, right)
    elif into.is_cuda and left.dtype == right.dtype == torch.bfloat16:
        # another matrix of that size to add from would be most of a chunk's memory and time
        torch.addmm(into, left, right, out_dtype=into.dtype, out=into)
    else:
        into.add_(multiply(left, right))


class _Product(torch.autograd.Function):
    """h W^T; the backward pass rounds no more than the forward pass does."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        h, w = operands(hidden, weight)
        return multiply(h, w.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        hidden, weight = ctx.saved_tensors
        h, w = operands(hidden, weight)
        by_hidden, by_weight = ctx.needs_input_grad
        return (
            multiply(gradient, w).to(hidden.dtype) if by_hidden else None,
            multiply(gradient.T, h).to(weight.dtype) if by_weight else None,
        )
