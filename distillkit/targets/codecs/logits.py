"""What a teacher said, as float32 logits of a few positions at a time."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from distillkit.errors import TargetsError
from distillkit.losses.heads import finish, operands, project, raw_logits
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


def count(said: TeacherOutput) -> int:
    """How many positions the teacher was asked about."""
    return len(said.logits if isinstance(said, Outputs) else said.hidden)


def width(said: TeacherOutput) -> int:
    """How many logits a position has."""
    return said.logits.shape[1] if isinstance(said, Outputs) else said.head.size


def chunks(said: TeacherOutput) -> Iterator[tuple[slice, Tensor]]:
    """(positions, float32 logits [chunk, vocabulary]) of all positions in order.

    The logits are there until the next chunk is asked for.
    """
    answers = said.logits if isinstance(said, Outputs) else said.hidden
    held = CHUNK if answers.device.type == "cpu" else CHUNK * FEWER_LAUNCHES
    step = max(1, held // width(said))
    if isinstance(said, HiddenOutputs):
        make = _projected if answers.device.type == "cpu" else _projected_apart
        yield from make(said, step)
        return
    for part in parts(count(said), step):
        yield part, said.logits[part].float()


def rounded(said: HiddenOutputs) -> Iterator[tuple[slice, Tensor]]:
    """(positions, h W^T rounded to bfloat16, without bias, scale or softcap) in order, likewise.

    Hidden states and weights must be in bfloat16.
    """
    weight = said.head.weight[: said.head.size]

    def product(block: slice, into: Tensor) -> Tensor:
        hidden = said.hidden[block]
        return torch.mm(hidden, weight.T, out=into[: len(hidden)])

    yield from _products(said, max(1, CHUNK // width(said)), torch.bfloat16, product)


def _projected(said: HiddenOutputs, step: int) -> Iterator[tuple[slice, Tensor]]:
    """Chunks of `step` positions out of products of several, which share their memory."""
    kept = torch.promote_types(said.hidden.dtype, said.head.weight.dtype)

    def product(block: slice, into: Tensor) -> Tensor:
        return raw_logits(said.hidden[block], said.head, into=into)

    for part, raw in _products(said, step, torch.promote_types(kept, torch.float32), product):
        yield part, finish(raw, said.head).float()


def _products(
    said: HiddenOutputs,
    step: int,
    dtype: torch.dtype,
    product: Callable[[slice, Tensor], Tensor],
) -> Iterator[tuple[slice, Tensor]]:
    """Chunks of `step` positions of larger products, all written to the same memory."""
    at_once = step * PRODUCT * torch.float32.itemsize // dtype.itemsize
    buffer = said.hidden.new_empty((min(count(said), at_once), said.head.size), dtype=dtype)
    for block in parts(count(said), at_once):
        with torch.no_grad():
            raw = product(block, buffer)
        for part in parts(len(raw), step):
            yield slice(block.start + part.start, block.start + part.stop), raw[part]


def _projected_apart(said: HiddenOutputs, step: int) -> Iterator[tuple[slice, Tensor]]:
    """Chunks of `step` positions, each a product of its own."""
    hidden, weight = operands(said.hidden, said.head.weight[: said.head.size])
    head = replace(said.head, weight=weight)  # converted once
    for part in parts(count(said), step):
        with torch.no_grad():
            logits = project(hidden[part], head).float()
        yield part, logits


def parts(count: int, step: int) -> Iterator[slice]:
    """Stretches of `step` that cover so many; the last may be shorter."""
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def check_mass(mass: Tensor) -> None:
    """Raise `TargetsError` where a distribution [positions] has no mass, or one without bounds."""
    wrong = int((~(mass.isfinite() & (mass > 0))).sum())
    if wrong:
        raise TargetsError(
            f"the teacher's logits at {wrong:,} of {len(mass):,} positions are no distribution "
            "(NaN or infinite); set targets.precision=float32, or take another teacher"
        )
