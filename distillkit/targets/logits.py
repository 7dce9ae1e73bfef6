"""What a teacher said, as float32 logits of a few positions at a time."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from distillkit.errors import TargetsError
from distillkit.losses.heads import finish, operands, project, raw_logits
from distillkit.records import HiddenOutputs, Outputs

Said = Outputs | HiddenOutputs
# logits held at a time, with a few times as much beside them: as many as one allocator hands out
# again without new pages of memory (measured: 1.4 times as fast as 2**20 or 2**23) ...
CHUNK = 2**21
FEWER_LAUNCHES = 32  # ... and so many times more where starting an operation is what costs
# chunks of which a processor makes one product, in memory that the next one takes again: it reads
# the head's weights fewer times (measured with 49,152 x 576 weights: 2.1 times as fast as 1, on one
# thread and on two)
PRODUCT = 8


def count(said: Said) -> int:
    """How many positions the teacher was asked about."""
    return len(said.logits if isinstance(said, Outputs) else said.hidden)


def width(said: Said) -> int:
    """How many logits a position has."""
    return said.logits.shape[1] if isinstance(said, Outputs) else said.head.size


def chunks(said: Said) -> Iterator[tuple[slice, Tensor]]:
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
    for part in _parts(count(said), step):
        yield part, said.logits[part].float()


def _projected(said: HiddenOutputs, step: int) -> Iterator[tuple[slice, Tensor]]:
    """Chunks of `step` positions out of products of several, which share their memory."""
    wide = torch.promote_types(
        torch.promote_types(said.hidden.dtype, said.head.weight.dtype), torch.float32
    )
    most = min(count(said), step * PRODUCT)
    buffer = said.hidden.new_empty((most, said.head.size), dtype=wide)
    for block in _parts(count(said), step * PRODUCT):
        with torch.no_grad():
            raw = raw_logits(said.hidden[block], said.head, into=buffer)
        for part in _parts(len(raw), step):
            placed = slice(block.start + part.start, block.start + part.stop)
            yield placed, finish(raw[part], said.head).float()


def _projected_apart(said: HiddenOutputs, step: int) -> Iterator[tuple[slice, Tensor]]:
    """Chunks of `step` positions, each a product of its own."""
    hidden, weight = operands(said.hidden, said.head.weight[: said.head.size])
    head = replace(said.head, weight=weight)  # converted once
    for part in _parts(count(said), step):
        with torch.no_grad():
            logits = project(hidden[part], head).float()
        yield part, logits


def _parts(count: int, step: int) -> Iterator[slice]:
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
