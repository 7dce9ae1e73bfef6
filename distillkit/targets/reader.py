"""Reading a target store: memory-mapped, by example key, in any order."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from distillkit.errors import TargetsError
from distillkit.targets.codecs import from_settings
from distillkit.targets.manifest import StoreManifest


class TargetStore:
    """A complete target store. `manifest` tells what it holds and who made it."""

    def __init__(self, folder: Path, manifest: StoreManifest) -> None:
        self.folder, self.manifest = folder, manifest
        codec = from_settings(manifest.codec)
        keys, self._logits = [], []
        for shard in manifest.shards:
            with pa.memory_map(str(folder / shard.file)) as source:
                batch = pa.ipc.open_file(source).get_batch(0)
            keys.append(_keys(batch.column("key")))
            self._logits.append(codec.view(batch))
        every = np.concatenate(keys) if keys else np.zeros(0, "S16")
        self._order = np.argsort(every, kind="stable")
        self._sorted = every[self._order]
        self._begins = np.cumsum([0, *(len(k) for k in keys)])

    @classmethod
    def open(cls, folder: Path, *, expected: dict[str, Any] | None = None) -> "TargetStore":
        """Check origin and checksums, then map the shards.

        Raises `TargetsError` that names the first damaged shard, or the first field in which the
        store's origin is not the `expected` one.
        """
        manifest = StoreManifest.open(folder)
        if expected is not None:
            manifest.check_origin(expected, at=f"targets.path = {folder}")
        damaged = manifest.damaged(folder)
        if damaged:
            more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
            raise TargetsError(
                f"{folder}: {damaged[0]}{more}; remove the folder, and the same command makes it "
                "again"
            )
        return cls(folder, manifest)

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """Where the examples stand, [examples]; raises `TargetsError` if one is not there."""
        if not len(self._sorted):
            raise TargetsError(f"{self.folder}: the store is empty")
        places = np.searchsorted(self._sorted, keys).clip(max=len(self._sorted) - 1)
        missing = int((self._sorted[places] != keys).sum())
        if missing:
            raise TargetsError(
                f"{self.folder}: has no soft targets for {missing:,} of the {len(keys):,} examples"
            )
        return self._order[places]

    def logits(self, rows: np.ndarray) -> Tensor:
        """The teacher's logits of these rows, float32 [rows, classes]."""
        out = np.empty((len(rows), self.manifest.outputs), np.float32)
        shards = np.searchsorted(self._begins, rows, side="right") - 1
        for shard in np.unique(shards):
            here = shards == shard
            out[here] = self._logits[shard][rows[here] - self._begins[shard]]
        return torch.from_numpy(out)


def _keys(column: pa.FixedSizeBinaryArray) -> np.ndarray:
    width = column.type.byte_width
    return np.frombuffer(column.buffers()[1], dtype=f"S{width}", count=len(column))
