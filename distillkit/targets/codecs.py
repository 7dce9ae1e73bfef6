"""How soft targets are kept: one class a codec."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from distillkit.errors import TargetsError

_DTYPES: dict[str, Any] = {"float32": np.float32, "float16": np.float16}


@dataclass(frozen=True)
class Dense:
    """All logits of an example: [classes] of `dtype`."""

    dtype: Literal["float32", "float16"] = "float32"

    name = "dense"

    def settings(self) -> dict[str, Any]:
        """What a manifest must say for the codec to be made again."""
        return {"name": self.name, "dtype": self.dtype}

    def fields(self, outputs: int) -> list[pa.Field]:
        """The columns that the codec adds to a shard."""
        return [pa.field("logits", pa.list_(pa.from_numpy_dtype(_DTYPES[self.dtype]), outputs))]

    def encode(self, logits: np.ndarray) -> list[pa.Array]:
        """float32 [examples, classes] -> the codec's columns."""
        largest = np.finfo(_DTYPES[self.dtype]).max
        if np.abs(logits[np.isfinite(logits)]).max(initial=0.0) > largest:
            raise TargetsError(
                f"targets.dtype = {self.dtype}: the teacher's outputs go beyond {largest:,.0f}; "
                "set targets.dtype=float32"
            )
        flat = pa.array(np.ascontiguousarray(logits, _DTYPES[self.dtype]).ravel())
        return [pa.FixedSizeListArray.from_arrays(flat, logits.shape[1])]

    def view(self, batch: pa.RecordBatch) -> np.ndarray:
        """A shard's logits [examples, classes] in the stored dtype, without a copy."""
        column = batch.column("logits")
        values = column.flatten().to_numpy(zero_copy_only=True)
        return values.reshape(len(column), -1)


def from_settings(settings: dict[str, Any]) -> Dense:
    """The codec that a manifest names; raises `TargetsError` for one of a newer distillkit."""
    if settings.get("name") != Dense.name:
        raise TargetsError(
            f"targets.codec = {settings.get('name')}: not known to this distillkit; it knows "
            f"{Dense.name}"
        )
    return Dense(dtype=settings["dtype"])
