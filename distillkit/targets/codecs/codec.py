"""The protocol of a codec: how soft targets are kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import torch

from distillkit.errors import ConfigError
from distillkit.targets.codecs.bit_packing import Payload
from distillkit.targets.codecs.logits import Said
from distillkit.targets.codecs.sampling import Draws
from distillkit.types import Distribution, Targets


class Codec(Protocol):
    """What is kept of a teacher's answers, and how.

    `name` is that of a manifest; `files` are those beside the shards that all examples share.
    `supported_outputs` are the meanings of outputs that it can keep.
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    supported_outputs: ClassVar[tuple[Distribution, ...]]

    @property
    def captured(self) -> tuple[float, ...] | None:
        """The temperatures at which the targets are known; None: at any."""

    def settings(self) -> dict[str, Any]:
        """All that a manifest must say for the codec to be made again: its name and its fields."""

    def check(self, outputs: int) -> None:
        """Raise `ConfigError` if the codec does not fit a teacher of so many outputs."""

    def pick(self, said: Said, draws: Draws) -> dict[str, np.ndarray]:
        """What is kept of some positions; the first axis of each array is [positions].

        Positions are looked at in chunks, so that nothing more of [positions, outputs] is held.
        Raises `TargetsError` for what cannot be kept.
        """

    def keep(self, said: Said, folder: Path) -> None:
        """Write `files` into the folder; what they hold is the same whatever was asked."""

    def encode(self, picked: dict[str, np.ndarray], positions: np.ndarray) -> pa.LargeBinaryArray:
        """One value an example; `positions` [examples] int64 says how many of the rows it has."""

    def decoder(
        self, folder: Path, outputs: int, device: torch.device
    ) -> Callable[[Payload], Targets]:
        """A function that turns stored values into targets on the device, positions in order."""

    def expected_bytes(self, outputs: int, hidden: int) -> float:
        """About what a position takes, of a teacher with so many outputs and hidden channels."""


def check_outputs(codec: Codec, distribution: Distribution, *, whose: str) -> None:
    """Raise `ConfigError` if the codec cannot keep outputs of this meaning."""
    if distribution not in codec.supported_outputs:
        says = "one real value" if distribution == "real" else "labels of which several may hold"
        raise ConfigError(
            f"targets.codec = {codec.name}: keeps entries of a softmax, and {whose} says {says}; "
            "choose targets=stored, which keeps all outputs"
        )


def described(codec: dict[str, Any]) -> str:
    """A codec's settings in a line, its name first."""
    return ", ".join(f"{v}" if k == "name" else f"{k} {v}" for k, v in codec.items())
