"""A loss on hidden states, whose logits are only ever there for a few positions at a time.

The gradient of a sum over positions is known as soon as a position's logits are. So each chunk
projects, computes the loss's own terms, takes their gradient back to hidden states and head, and
forgets its logits; the backward pass has only to scale what was found.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from distillkit.errors import TargetsError
from distillkit.losses.averages import averaged_logits
from distillkit.losses.heads import (
    add_product_,
    finish,
    multiply,
    operands,
    project,
    raw_logits,
)
from distillkit.ragged import stretches
from distillkit.types import (
    AveragedTargets,
    HardLabels,
    Head,
    HiddenOutputs,
    HiddenTargets,
    LossTerms,
    Outputs,
    SoftTargets,
    SparseTargets,
    Targets,
)

CHUNK_BYTES = 128 * 2**20  # of a chunk's logits; a loss holds a few tensors of that size
# On a GPU it is a share of the memory, up to so many times more: there starting operations and
# adding to the head's gradient is what small chunks cost (an H200, a vocabulary of 151,936, 4 times
# the size: a third to a half of the time with 64 kept entries, 0.75 with a whole teacher).
SHARE, MOST = 1 / 160, 4
TILE = 64  # a chunk's positions are a multiple of it: matrix units work in tiles

# (logits [positions, classes], targets, labels) -> each term's values [positions]
Known = SoftTargets | SparseTargets | None
Terms = Callable[[Tensor, Known, HardLabels], dict[str, Tensor]]


def loss_terms(
    terms: Terms,
    weights: Mapping[str, float],
    outputs: Outputs | HiddenOutputs,
    targets: Targets | None,
    labels: HardLabels,
) -> LossTerms:
    """A loss's terms, from logits as they are or from hidden states chunk by chunk.

    Gradients go to the outputs and the head; `terms` has nothing of its own to learn. Raises
    `TargetsError` where the teacher has other classes than the student.
    """
    if isinstance(outputs, HiddenOutputs):
        return _chunk_by_chunk(terms, weights, outputs, targets, labels)
    return LossTerms(terms(outputs.logits, _known_of(targets, outputs.logits), labels), weights)


def _known_of(targets: Targets | None, logits: Tensor) -> Known:
    """The soft targets of some positions, the teacher's logits made if need be."""
    if isinstance(targets, HiddenTargets):
        with torch.no_grad():
            targets = SoftTargets(project(targets.hidden, targets.head))
    elif isinstance(targets, AveragedTargets):
        with torch.no_grad():
            targets = SoftTargets(averaged_logits(targets))
    if isinstance(targets, SoftTargets) and targets.logits.shape[-1] != logits.shape[-1]:
        raise TargetsError(
            f"targets: the teacher has {targets.logits.shape[-1]:,} classes and the student "
            f"{logits.shape[-1]:,}; both need the same labels or the same tokenizer"
        )
    return targets


def _chunk_by_chunk(
    terms: Terms,
    weights: Mapping[str, float],
    outputs: HiddenOutputs,
    targets: Targets | None,
    labels: HardLabels,
) -> LossTerms:
    hidden, head = _ready(outputs.hidden, outputs.head)
    targets = _ready_targets(targets)
    gradients = _Gradients(outputs.hidden, outputs.head)
    sums = {name: torch.zeros((), dtype=gradients.dtype, device=hidden.device) for name in weights}

    def chunk(rows: slice) -> Tensor:
        """Add up the terms of some positions; give their logits' gradient (before the scale)."""
        raw = raw_logits(hidden[rows], head).requires_grad_(gradients.is_wanted)
        with torch.set_grad_enabled(gradients.is_wanted):
            logits = finish(raw, head)
            known_part = _known_of(targets and targets.part(rows), logits)
            values = terms(logits, known_part, labels.part(rows))
            parts = {name: values[name].sum() for name in weights}
            total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        for name, part in parts.items():
            sums[name] += part.detach()
        return torch.autograd.grad(total, raw)[0] if gradients.is_wanted else raw

    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        for rows in _chunks(hidden, head.size, gradients.dtype):
            gradients.add(hidden[rows], head, rows, chunk(rows))
        total = torch.stack([weights[name] * part for name, part in sums.items()]).sum()
    learnt = _Scaled.apply(total, gradients, outputs.hidden, outputs.head.weight, outputs.head.bias)
    return LossTerms(sums, weights, total=learnt)


def _ready(hidden: Tensor, head: Head) -> tuple[Tensor, Head]:
    """Both without a graph and converted once, not in every chunk."""
    hidden, weight = operands(hidden.detach(), head.weight.detach()[: head.size])
    bias = None if head.bias is None else head.bias.detach()[: head.size]
    return hidden, replace(head, weight=weight, bias=bias)


def _ready_targets(targets: Targets | None) -> Targets | None:
    if isinstance(targets, HiddenTargets):
        return _ready_teacher(targets)
    if isinstance(targets, AveragedTargets):
        members = tuple(
            _ready_teacher(member) if isinstance(member, HiddenTargets) else member
            for member in targets.members
        )
        return replace(targets, members=members)
    return targets


def _ready_teacher(targets: HiddenTargets) -> HiddenTargets:
    """The head converted; how exact the hidden states are decides which products will do."""
    _, head = _ready(targets.hidden, targets.head)
    return HiddenTargets(targets.hidden, head)


def chunk_bytes(memory: float | None = None) -> int:
    """The budget of a chunk's logits; `memory` is a GPU's in bytes, None elsewhere."""
    size = 0 if memory is None else int(memory * SHARE)
    return max(CHUNK_BYTES, min(size, MOST * CHUNK_BYTES))


def _chunks(hidden: Tensor, classes: int, dtype: torch.dtype) -> Iterator[slice]:
    """Ranges of positions whose logits fit into the budget."""
    memory = None
    if hidden.is_cuda:
        memory = torch.cuda.get_device_properties(hidden.device).total_memory
    size = max(1, chunk_bytes(memory) // (dtype.itemsize * classes))
    size -= size % TILE if size > TILE else 0
    return stretches(len(hidden), size)


class _Gradients:
    """The gradients of hidden states, weights and bias, as far as anyone wants them."""

    def __init__(self, hidden: Tensor, head: Head) -> None:
        narrow = torch.promote_types(hidden.dtype, head.weight.dtype)
        self.dtype = torch.promote_types(narrow, torch.float32)
        sources = (hidden, head.weight, head.bias) if torch.is_grad_enabled() else (None,) * 3
        self.by_hidden, self.by_weight, self.by_bias = (
            torch.zeros_like(tensor, dtype=self.dtype)
            if tensor is not None and tensor.requires_grad
            else None
            for tensor in sources
        )
        gradients = (self.by_hidden, self.by_weight, self.by_bias)
        self.is_wanted = any(gradient is not None for gradient in gradients)

    def add(self, hidden: Tensor, head: Head, rows: slice, by_logits: Tensor) -> None:
        """Take the gradient of a chunk's logits back through the head's product."""
        if self.by_bias is not None:
            self.by_bias[: head.size] += by_logits.sum(dim=0)
        by_logits = by_logits.to(hidden.dtype)  # once for both products
        if self.by_hidden is not None:
            self.by_hidden[rows] = multiply(by_logits, head.weight)
        if self.by_weight is not None:
            add_product_(self.by_weight[: head.size], by_logits.T, hidden)

    def scaled(self, upstream: Tensor, kinds: list[torch.dtype | None]) -> list[Tensor | None]:
        """All three times the gradient of the total; they are handed over, not kept."""
        gradients = (self.by_hidden, self.by_weight, self.by_bias)
        self.by_hidden = self.by_weight = self.by_bias = None
        return [
            None if gradient is None or kind is None else gradient.mul_(upstream).to(kind)
            for gradient, kind in zip(gradients, kinds, strict=True)
        ]


class _Scaled(torch.autograd.Function):
    """A total whose gradients are known: the backward pass scales them, once."""

    @staticmethod
    def forward(
        ctx: Any,
        total: Tensor,
        gradients: _Gradients,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        ctx.gradients = gradients
        ctx.kinds = [None if t is None else t.dtype for t in (hidden, weight, bias)]
        return total.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of a chunked loss can be taken only once")
        gradients, ctx.gradients = ctx.gradients, None
        return (None, None, *gradients.scaled(upstream, ctx.kinds))
