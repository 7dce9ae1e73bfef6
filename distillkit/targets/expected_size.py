"""How large a store will be, before its teacher was asked: estimates, and room for it."""

from pathlib import Path

import numpy as np
import torch

from distillkit.console.wording import size
from distillkit.errors import WorkspaceError
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.logits import TeacherOutput
from distillkit.targets.codecs.sampling import Draws
from distillkit.types import KEY_BYTES, Head, HiddenOutputs, Outputs

OTHER_DISK = "choose a smaller codec (targets=sampled), or write to another disk"
_EXAMPLE = KEY_BYTES + 4 + 8 + 8  # key, number of positions, offset; headers of the values


def store_bytes(codec: Codec, *, examples: int, positions: int, outputs: int, hidden: int) -> float:
    """The size of a store with what all its examples share."""
    shared = codec.shared_bytes(outputs, hidden)
    return positions * codec.expected_bytes(outputs, hidden) + _EXAMPLE * examples + shared


def check_room(
    codec: Codec,
    expected: float,
    room: float,
    folder: Path,
    *,
    label: str = "targets",
    advice: str = OTHER_DISK,
) -> None:
    """Raise `WorkspaceError` if more bytes are `expected` than there is `room` for in `folder`."""
    if expected > room:
        raise WorkspaceError(
            f"targets.codec = {codec.name}: about {size(expected)} of {label} are expected, and "
            f"{size(room)} are free in {folder}; {advice}"
        )


def selected_bytes(codec: Codec, outputs: int, hidden: int) -> int:
    """What a position takes in memory before it is encoded."""
    output: TeacherOutput = Outputs(torch.zeros(1, outputs))
    if codec.reads_hidden:  # whatever the head is
        output = HiddenOutputs(torch.zeros(1, hidden), Head(torch.zeros(1, hidden), 1))
    draws = Draws(0, np.zeros(1, f"S{KEY_BYTES}"), np.ones(1, np.int64))
    return sum(array.nbytes for array in codec.select(output, draws).values())
