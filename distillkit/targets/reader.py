"""Reading a target store: memory-mapped, by example key, in any order."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from distillkit.artifacts.digests import Verifier
from distillkit.console.wording import brief
from distillkit.errors import TargetsError
from distillkit.ragged import exclusive_cumsum
from distillkit.targets.codecs.bit_packing import SLACK, Payload
from distillkit.targets.codecs.registry import from_settings
from distillkit.targets.manifest import StoreManifest
from distillkit.targets.validity import check_batch
from distillkit.types import Targets


class TargetStore:
    """A complete target store. `manifest` tells what it holds and who made it."""

    def __init__(self, folder: Path, manifest: StoreManifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.codec = from_settings(manifest.codec)
        self._decoders: dict[torch.device, Callable[[Payload], Targets]] = {}
        keys, positions, begins, self._data = [], [], [], []
        for shard in manifest.shards:
            batch = _batch(folder / shard.file)
            keys.append(_keys(batch.column("key")))
            positions.append(batch.column("positions").to_numpy())
            values, data = _values(batch.column("payload"))
            begins.append(values)
            self._data.append(data)
        all_keys = np.concatenate([np.zeros(0, "S16"), *keys])
        self._order = np.argsort(all_keys, kind="stable")
        self._sorted = all_keys[self._order]
        self._shard_begins = exclusive_cumsum(np.array([len(k) for k in keys], np.int64))
        self._begins = np.concatenate([np.zeros(0, np.int64), *(b[:-1] for b in begins)])
        self._sizes = np.concatenate([np.zeros(0, np.int64), *map(np.diff, begins)])
        self.positions = np.concatenate([np.zeros(0, np.int64), *positions])
        self._even = len(all_keys) > 0 and self._sizes[0] > 0 and bool(np.ptp(self._sizes) == 0)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        expected: dict[str, Any] | None = None,
        verifier: Verifier | None = None,
    ) -> "TargetStore":
        """Check origin and checksums, then map the shards; the `verifier` knows what was read.

        Raises `TargetsError` that names the first damaged file, or the first field in which the
        store's origin is not the `expected` one.
        """
        manifest = StoreManifest.open(folder)
        if expected is not None:
            manifest.check_origin(expected, at=f"targets.path = {folder}")
        damaged = manifest.damaged(folder, verifier)
        if damaged:
            suffix = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
            raise TargetsError(
                f"{folder}: {damaged[0]}{suffix}; remove the folder, and the same command makes it "
                "again"
            )
        return cls(folder, manifest)

    @property
    def keys(self) -> np.ndarray:
        """The keys of all rows, 16 bytes each."""
        keys = np.empty_like(self._sorted)
        keys[self._order] = self._sorted
        return keys

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

    def read(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Targets:
        """The targets of these rows' positions, one row's after the other's.

        `positions` [all rows] says how many each row has.
        """
        device = torch.device(device)
        if device not in self._decoders:
            self._decoders[device] = self.codec.decoder(self.folder, self.manifest.outputs, device)
        return self._decoders[device](self._payload(rows))

    def _payload(self, rows: np.ndarray) -> Payload:
        begins = exclusive_cumsum(self._sizes[rows])
        data = np.zeros(begins[-1] + SLACK, np.uint8)
        if len(rows):
            (self._copy_even if self._even else self._copy)(rows, data[:-SLACK], begins)
        return Payload(data, begins, self.positions[rows])

    def _copy_even(self, rows: np.ndarray, out: np.ndarray, begins: np.ndarray) -> None:
        """A classifier's examples, many and small, all have one size: they are a table's rows."""
        row = np.dtype((np.void, int(self._sizes[0])))
        shards = np.searchsorted(self._shard_begins, rows, side="right") - 1
        for shard in np.unique(shards):
            is_here = shards == shard
            table = self._data[shard].view(row)
            out.view(row)[is_here] = table[rows[is_here] - self._shard_begins[shard]]

    def _copy(self, rows: np.ndarray, out: np.ndarray, begins: np.ndarray) -> None:
        """One copy an example: an index of each byte would take eight times their memory."""
        shards = np.searchsorted(self._shard_begins, rows, side="right") - 1
        sizes = self._sizes[rows]
        pieces = zip(shards, self._begins[rows], sizes, begins[:-1], strict=True)
        for shard, source, size, target in pieces:
            out[target : target + size] = self._data[shard][source : source + size]


def _batch(path: Path) -> pa.RecordBatch:
    """The one batch of a shard; raises `TargetsError` where it is no shard of a store."""
    try:
        with pa.memory_map(str(path)) as source:
            batch = pa.ipc.open_file(source).get_batch(0)
        check_batch(path.name, batch)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise TargetsError(f"{path.parent}: {path.name} is no shard ({brief(error)})") from error
    return batch


def _keys(column: pa.FixedSizeBinaryArray) -> np.ndarray:
    width = column.type.byte_width
    return np.frombuffer(column.buffers()[1], dtype=f"S{width}", count=len(column))


def _values(column: pa.LargeBinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """(where each value begins and the last one ends, their bytes), without a copy."""
    _, offsets, data = column.buffers()
    begins = np.frombuffer(offsets, np.int64, len(column) + 1)
    if not data:
        return begins, np.zeros(0, np.uint8)
    return begins, np.frombuffer(data, np.uint8, begins[-1])
