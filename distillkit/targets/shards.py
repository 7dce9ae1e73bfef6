"""The shards of a target store: each mapped, and where need be verified, when it is first read."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa

from distillkit.artifacts.digests import Verifier, place_of
from distillkit.console.wording import brief
from distillkit.errors import TargetsError
from distillkit.ragged import exclusive_cumsum
from distillkit.targets.manifest import StoreManifest
from distillkit.targets.validity import check_batch
from distillkit.types import KEY_BYTES

MOST_MAPPED = 16_384  # shards; Linux gives a process 65,530 mappings


class MappedShard:
    """One shard's columns, without a copy: what is read of them is what the system loads.

    `keys` [examples] of 16 bytes, `positions` [examples], `begins` [examples + 1] in bytes of
    `data`. `width` is the size of every value; 0 where they differ.
    """

    def __init__(self, path: Path) -> None:
        batch = _batch(path)
        self.keys = _keys(batch.column("key"))
        self.positions: np.ndarray = batch.column("positions").to_numpy()
        self.begins, self.data = _values(batch.column("payload"))
        sizes = np.diff(self.begins)
        self.width = int(sizes[0]) if len(sizes) and not np.ptp(sizes) else 0

    def copy(self, rows: np.ndarray, out: np.ndarray, begins: np.ndarray) -> None:
        """Write the values of `rows` [rows] into `out`, each where `begins` [rows] says.

        A classifier's are many and small, and all of one size: they are a table's rows. Of others
        each is a copy: an index of each byte would take eight times their memory.
        """
        width = self.width
        if width and not len(out) % width and not (begins % width).any():
            value = np.dtype((np.void, width))
            out.view(value)[begins // width] = self.data.view(value)[rows]
            return
        pieces = zip(self.begins[rows], self.begins[rows + 1], begins, strict=True)
        for first, last, target in pieces:
            out[target : target + last - first] = self.data[first:last]


class Shards:
    """All shards of a store in order; those that are `pending` are verified at their first reading.

    Raises `TargetsError` for one that is damaged, then or at once.
    """

    def __init__(
        self,
        folder: Path,
        manifest: StoreManifest,
        pending: Collection[str] = (),
        verifier: Verifier | None = None,
    ) -> None:
        self.folder, self._manifest = folder, manifest
        self._verifier = verifier or Verifier("always")
        self._pending, self._records = {*pending}, manifest.records
        self._mapped: dict[int, MappedShard] = {}
        counts = np.array([shard.examples for shard in manifest.shards], np.int64)
        self.begins = exclusive_cumsum(counts)  # [shards + 1], in examples

    def __len__(self) -> int:
        return len(self._manifest.shards)

    def __getitem__(self, number: int) -> MappedShard:
        if number in self._mapped:
            return self._mapped[number]
        record = self._manifest.shards[number]
        if record.file in self._pending:
            self._verify(record.file)
        shard = self._map(number)
        while len(self._mapped) >= MOST_MAPPED:
            del self._mapped[next(iter(self._mapped))]
        self._mapped[number] = shard
        return shard

    def keys(self) -> np.ndarray:
        """The keys of all examples, of shards that are still to be verified, too."""
        every = [self._keys_of(number) for number in range(len(self))]
        return np.concatenate([np.zeros(0, f"S{KEY_BYTES}"), *every])

    def verify(self) -> None:
        """Verify all that are pending."""
        for name in sorted(self._pending):
            self._verify(name)

    def _keys_of(self, number: int) -> np.ndarray:
        if number in self._mapped:
            return self._mapped[number].keys
        try:
            return self._map(number).keys
        except TargetsError:
            if (name := self._manifest.shards[number].file) in self._pending:
                self._verify(name)  # what is altered is named for what it is
            raise

    def _map(self, number: int) -> MappedShard:
        record = self._manifest.shards[number]
        shard = MappedShard(self.folder / record.file)
        if len(shard.keys) != record.examples:
            raise TargetsError(
                f"{self.folder}: {record.file} has {len(shard.keys):,} examples, and its manifest "
                f"says {record.examples:,}"
            )
        return shard

    def _verify(self, name: str) -> None:
        records = self._records
        damaged = Verifier("always").damage(self.folder, {name: records[name]})
        if damaged:
            raise damaged_store(self.folder, damaged)
        self._pending.remove(name)
        if not self._pending:
            self._verifier.remember(self.folder, records)


def damaged_store(folder: Path, damaged: list[str]) -> TargetsError:
    """What to say of a store some of whose files are not as they were written."""
    suffix = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
    way_out = "remove the folder, and the same command makes it again"
    if place_of(folder):
        way_out = "the same command with --repair makes it again"
    return TargetsError(f"{folder}: {damaged[0]}{suffix}; {way_out}")


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
