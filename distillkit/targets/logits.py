"""What a teacher said, as float32 logits of a few positions at a time."""

from collections.abc import Iterator

from torch import Tensor

from distillkit.errors import TargetsError
from distillkit.losses.heads import project
from distillkit.records import HiddenOutputs, Outputs

Said = Outputs | HiddenOutputs
# logits held at a time, with a few times as much beside them: as many as one allocator hands out
# again without new pages of memory (measured: 1.4 times as fast as 2**20 or 2**23) ...
CHUNK = 2**21
FEWER_LAUNCHES = 16  # ... and so many times more where starting an operation is what costs


def count(said: Said) -> int:
    """How many positions the teacher was asked about."""
    return len(said.logits if isinstance(said, Outputs) else said.hidden)


def width(said: Said) -> int:
    """How many logits a position has."""
    return said.logits.shape[1] if isinstance(said, Outputs) else said.head.size


def chunks(said: Said) -> Iterator[tuple[slice, Tensor]]:
    """(positions, float32 logits [chunk, vocabulary]) of all positions in order."""
    answers = said.logits if isinstance(said, Outputs) else said.hidden
    held = CHUNK if answers.device.type == "cpu" else CHUNK * FEWER_LAUNCHES
    step = max(1, held // width(said))
    for start in range(0, count(said), step):
        part = slice(start, min(start + step, count(said)))
        if isinstance(said, Outputs):
            yield part, said.logits[part].float()
        else:
            yield part, project(said.hidden[part], said.head).float()


def check_mass(mass: Tensor) -> None:
    """Raise `TargetsError` where a distribution [positions] has no mass, or one without bounds."""
    wrong = int((~(mass.isfinite() & (mass > 0))).sum())
    if wrong:
        raise TargetsError(
            f"the teacher's logits at {wrong:,} of {len(mass):,} positions are no distribution "
            "(NaN or infinite); set targets.precision=float32, or take another teacher"
        )
