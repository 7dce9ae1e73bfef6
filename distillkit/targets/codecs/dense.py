"""All logits of a position."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from distillkit.errors import TargetsError
from distillkit.targets.codecs.bit_packing import SLACK, Payload, join, rows
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.logits import TeacherOutput, chunks, width
from distillkit.targets.codecs.sampling import Draws
from distillkit.types import DISTRIBUTIONS, SoftTargets

Float = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class Dense(Codec):
    """All logits of a position, in `dtype`: any temperature, any divergence."""

    dtype: Float = "float32"

    name: ClassVar[str] = "dense"
    supported_outputs: ClassVar = DISTRIBUTIONS
    keeps_all: ClassVar = True

    def settings(self) -> dict[str, Any]:
        """What a manifest must say for the codec to be made again."""
        return {"name": self.name, "dtype": self.dtype}

    @torch.inference_mode()
    def select(self, output: TeacherOutput, draws: Draws) -> dict[str, np.ndarray]:
        """`logits` [positions, outputs]; raises `TargetsError` if the dtype cannot hold them."""
        parts = [as_stored(logits, self.dtype) for _, logits in chunks(output)]
        none = as_stored(torch.zeros(0, width(output)), self.dtype)
        return {"logits": np.concatenate([none, *parts])}

    def encode(self, arrays: dict[str, np.ndarray], positions: np.ndarray) -> pa.LargeBinaryArray:
        """The positions' logits as they lie in memory."""
        return join([rows(arrays["logits"], positions)])

    def decoder(
        self, folder: Path, outputs: int, device: torch.device
    ) -> Callable[[Payload], SoftTargets]:
        """Payload -> logits in float32."""

        def decode(payload: Payload) -> SoftTargets:
            stored = stored_tensor(payload.data[:-SLACK], self.dtype).view(-1, outputs)
            return SoftTargets(stored.to(device).float())

        return decode

    def expected_bytes(self, outputs: int, hidden: int) -> float:
        """What a position takes."""
        return float(getattr(torch, self.dtype).itemsize * outputs)


def as_stored(values: Tensor, dtype: Float) -> np.ndarray:
    """Float values as they are kept, bfloat16 as its bits; raises `TargetsError` on overflow."""
    kind = getattr(torch, dtype)
    largest = torch.finfo(kind).max
    if kind == torch.float16 and bool(
        (values.abs() > largest).logical_and(values.isfinite()).any()
    ):
        raise TargetsError(
            f"targets.codec.dtype = {dtype}: the teacher's outputs go beyond {largest:,.0f}; "
            "set targets.codec.dtype=float32"
        )
    stored = values.to(kind, copy=True).cpu()  # the next chunk's logits take the memory of these
    return (stored.view(torch.int16) if kind == torch.bfloat16 else stored).numpy()


def stored_tensor(data: np.ndarray, dtype: Float) -> Tensor:
    """Bytes that `as_stored` made, as a flat tensor of `dtype`."""
    return torch.from_numpy(data).view(getattr(torch, dtype))
