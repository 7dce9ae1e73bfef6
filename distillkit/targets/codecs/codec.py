"""What a codec has to do: what a target store keeps of a teacher's outputs, and how.

A new one is a frozen dataclass derived from `Codec` in a file of its own. Inside the project that
file stands beside this one, and a YAML in conf/targets names the class; outside it is named by
`targets.codec._target_`, and the store remembers its class.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from distillkit.errors import ConfigError
from distillkit.targets.codecs.bit_packing import Payload, payload
from distillkit.targets.codecs.logits import TeacherOutput
from distillkit.targets.codecs.sampling import Draws
from distillkit.types import KEY_BYTES, Distribution, Head, HiddenOutputs, Outputs, Targets


class Codec(ABC):
    """What is kept of a teacher's outputs, and how. Its fields are its settings.

    `name` is that of a manifest, and `supported_outputs` are the meanings of outputs that it can
    keep. One that `keeps_all` decodes to all logits (`SoftTargets`, or `HiddenTargets` with their
    head), from which any loss can be had and averages can be made; all others decode to
    `SparseTargets`. One that `reads_hidden` takes last hidden states, of a language model alone.
    `shared_files` are those beside the shards that all examples share.
    """

    name: ClassVar[str]
    shared_files: ClassVar[tuple[str, ...]] = ()
    supported_outputs: ClassVar[tuple[Distribution, ...]] = ("softmax", "choice")
    keeps_all: ClassVar[bool] = False
    reads_hidden: ClassVar[bool] = False

    @property
    def supported_temperatures(self) -> tuple[float, ...] | None:
        """The temperatures at which the targets hold; None: at any."""
        return None

    def at_temperatures(self, temperatures: Collection[float]) -> "Codec":
        """The same codec for a loss that softens the teacher by these temperatures.

        Raises `ConfigError` where one store cannot serve them all.
        """
        return self

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All that a manifest must have for the codec to be made again: its name and its fields."""

    def check(self, outputs: int) -> None:  # noqa: B027  (most fit any teacher)
        """Raise `ConfigError` if the codec does not fit a teacher of so many outputs."""

    @abstractmethod
    def select(self, output: TeacherOutput, draws: Draws) -> dict[str, np.ndarray]:
        """What is kept of some positions; the first axis of each array is [positions].

        Positions are taken in chunks (`logits.chunks`), so that never all of [positions, outputs]
        is held in float32. Raises `TargetsError` for what cannot be kept.
        """

    def save_shared(self, output: TeacherOutput, folder: Path) -> None:  # noqa: B027
        """Write `shared_files` into the folder; what they hold is the same for every batch."""

    @abstractmethod
    def encode(self, arrays: dict[str, np.ndarray], positions: np.ndarray) -> pa.LargeBinaryArray:
        """One value an example; `positions` [examples] int64 are how many of the rows it has."""

    @abstractmethod
    def decoder(
        self, folder: Path, outputs: int, device: torch.device
    ) -> Callable[[Payload], Targets]:
        """A function that turns stored values into targets on the device, positions in order."""

    @abstractmethod
    def expected_bytes(self, outputs: int, hidden: int) -> float:
        """About how many bytes a position takes, of a teacher with so many outputs and channels."""

    def shared_bytes(self, outputs: int, hidden: int) -> float:
        """About how many bytes `shared_files` take."""
        return 0.0

    @property
    def trial_outputs(self) -> int:
        """How many outputs the made-up teacher of `trial` has: as many as `check` demands."""
        return 256

    def trial(self) -> Targets | None:
        """Targets of one position, selected, encoded and decoded again: what a loss will be given.

        The teacher behind them has equal logits. None where any loss can be had: all is kept.
        """
        if self.keeps_all:
            return None
        outputs, count = self.trial_outputs, np.ones(1, np.int64)
        output: TeacherOutput = Outputs(torch.zeros(1, outputs))
        if self.reads_hidden:
            output = HiddenOutputs(torch.zeros(1, 1), Head(torch.zeros(outputs, 1), outputs))
        arrays = self.select(output, Draws(0, np.zeros(1, f"S{KEY_BYTES}"), count))
        with TemporaryDirectory() as folder:
            self.save_shared(output, Path(folder))
            decode = self.decoder(Path(folder), outputs, torch.device("cpu"))
            return decode(payload(self.encode(arrays, count), count))


def check_outputs(codec: Codec, distribution: Distribution, *, owner: str) -> None:
    """Raise `ConfigError` if the codec cannot keep outputs of this meaning."""
    if distribution not in codec.supported_outputs:
        meaning = "one real value" if distribution == "real" else "labels of which several may hold"
        raise ConfigError(
            f"targets.codec = {codec.name}: keeps entries of a softmax, and {owner} says {meaning}"
            "; choose targets=stored, which keeps all outputs"
        )


def listed_temperatures(temperatures: Iterable[float]) -> str:
    """Temperatures in words, for a message."""
    return " and ".join(f"{t:g}" for t in sorted(temperatures))


def described(codec: dict[str, Any]) -> str:
    """A codec's settings in a line, its name first."""
    settings = ((k, v) for k, v in codec.items() if k != "sources")
    return ", ".join(f"{v}" if k == "name" else f"{k} {v}" for k, v in settings)
