"""What a teacher might say, and the way through a codec."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.data.splits import example_key
from distillkit.targets import Codec, Draws
from distillkit.targets.codecs.bit_packing import payload
from distillkit.targets.codecs.logits import TeacherOutput, count, width
from distillkit.types import Head, HiddenOutputs, Outputs

CPU = torch.device("cpu")
NOWHERE = Path("/nowhere")  # codecs without files look at no folder


def keys(number: int) -> np.ndarray:
    """The keys of so many examples."""
    return np.array([example_key(f"text {i}") for i in range(number)], "S16")


def random_logits(positions: int, outputs: int, *, seed: int = 0, spread: float = 3.0) -> Tensor:
    """Logits whose distribution is neither flat nor certain."""
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(positions, outputs, generator=generator)


def random_hidden(
    positions: int, outputs: int, *, size: int = 8, seed: int = 1, **head: Any
) -> HiddenOutputs:
    """Hidden states and a head with three rows of padding."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs + 3, size, generator=generator)
    hidden = torch.randn(positions, size, generator=generator)
    return HiddenOutputs(hidden, Head(weight, outputs, **head))


def there_and_back(
    codec: Codec,
    said: TeacherOutput | Tensor,
    positions: Any = None,
    *,
    seed: int = 0,
    folder: Path = NOWHERE,
) -> Any:
    """What is decoded of an answer; without `positions` it is all of one example."""
    said = Outputs(said) if isinstance(said, Tensor) else said
    positions = np.array([count(said)] if positions is None else positions, np.int64)
    picked = codec.select(said, Draws(seed, keys(len(positions)), positions))
    column = codec.encode(picked, positions)
    assert len(column) == len(positions)
    return codec.decoder(folder, width(said), CPU)(payload(column, positions))
