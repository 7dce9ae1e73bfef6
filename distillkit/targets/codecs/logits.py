"""What a teacher said, as float32 logits of a few positions at a time."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from distillkit.errors import TargetsError
from distillkit.losses.heads import finish, operands, project, raw_logits
from distillkit.ragged import stretches
from distillkit.types import HiddenOutputs, Outputs

TeacherOutput = Outputs | HiddenOutputs
# logits held at a time, with a few times as much beside them: as many as one allocator hands out
# again without new pages of memory (measured: 1.4 times as fast as 2**20 or 2**23) ...
CHUNK = 2**21
FEWER_LAUNCHES = 32  # ... and so many times more where starting an operation is what costs
# float32 chunks of which a processor makes one product, in memory that the next one takes again: it
# reads the head's weights fewer times (measured with 49,152 x 576 weights: 2.1 times as fast as 1,
# on one thread and on two)
PRODUCT = 8


def count(output: TeacherOutput) -> int:
    """How many positions the teacher was asked about."""
    return len(output.logits if isinstance(output, Outputs) else output.hidden)


def width(output: TeacherOutput) -> int:
    """How many logits a position has."""
    return output.logits.shape[1] if isinstance(output, Outputs) else output.head.size


def chunks(output: TeacherOutput) -> Iterator[tuple[slice, Tensor]]:
    """(positions, float32 logits [chunk, vocabulary]) of all positions in order.

    The logits are there until the next chunk is asked for.
    """
    answers = output.logits if isinstance(output, Outputs) else output.hidden
    size = CHUNK if answers.device.type == "cpu" else CHUNK * FEWER_LAUNCHES
    step = max(1, size // width(output))
    if isinstance(output, HiddenOutputs):
        make = _projected if answers.device.type == "cpu" else _projected_apart
        yield from make(output, step)
        return
    for part in stretches(count(output), step):
        yield part, output.logits[part].float()


def rounded(output: HiddenOutputs) -> Iterator[tuple[slice, Tensor]]:
    """(positions, h W^T rounded to bfloat16, without bias, scale or softcap) in order, likewise.

    Hidden states and weights must be in bfloat16.
    """
    weight = output.head.weight[: output.head.size]

    def product(block: slice, into: Tensor) -> Tensor:
        hidden = output.hidden[block]
        return torch.mm(hidden, weight.T, out=into[: len(hidden)])

    yield from _products(output, max(1, CHUNK // width(output)), torch.bfloat16, product)


def _projected(output: HiddenOutputs, step: int) -> Iterator[tuple[slice, Tensor]]:
    """Chunks of `step` positions out of products of several, which share their memory."""
    dtype = torch.promote_types(output.hidden.dtype, output.head.weight.dtype)

    def product(block: slice, into: Tensor) -> Tensor:
        return raw_logits(output.hidden[block], output.head, into=into)

    for part, raw in _products(output, step, torch.promote_types(dtype, torch.float32), product):
        yield part, finish(raw, output.head).float()


def _products(
    output: HiddenOutputs,
    step: int,
    dtype: torch.dtype,
    product: Callable[[slice, Tensor], Tensor],
) -> Iterator[tuple[slice, Tensor]]:
    """Chunks of `step` positions of larger products, all written to the same memory."""
    at_once = step * PRODUCT * torch.float32.itemsize // dtype.itemsize
    buffer = output.hidden.new_empty((min(count(output), at_once), output.head.size), dtype=dtype)
    for block in stretches(count(output), at_once):
        with torch.no_grad():
            raw = product(block, buffer)
        for part in stretches(len(raw), step):
            yield slice(block.start + part.start, block.start + part.stop), raw[part]


def _projected_apart(output: HiddenOutputs, step: int) -> Iterator[tuple[slice, Tensor]]:
    """Chunks of `step` positions, each a product of its own."""
    hidden, weight = operands(output.hidden, output.head.weight[: output.head.size])
    head = replace(output.head, weight=weight)  # converted once
    for part in stretches(count(output), step):
        with torch.no_grad():
            logits = project(hidden[part], head).float()
        yield part, logits


def check_mass(mass: Tensor) -> None:
    """Raise `TargetsError` where a distribution [positions] has no mass, or one without bounds."""
    bad_rows = int((~(mass.isfinite() & (mass > 0))).sum())
    if bad_rows:
        raise TargetsError(
            f"the teacher's logits at {bad_rows:,} of {len(mass):,} positions are no distribution "
            "(NaN or infinite); set targets.precision=float32, or take another teacher"
        )
