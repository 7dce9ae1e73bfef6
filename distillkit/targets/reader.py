"""Reading a target store: memory-mapped, by example key, in any order.

Opening reads the manifest, and looks at names and sizes. Shards of up to 256 MB in all are verified
there and then; of a larger store each shard is verified when it is first read, so that a store of
any size opens at once and nothing is decoded that is not as it was written. An index of the keys is
made when examples are first looked up: 24 bytes an example, and all that is held in memory.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.artifacts.digests import Verifier, deferred
from distillkit.errors import TargetsError
from distillkit.ragged import exclusive_cumsum
from distillkit.targets.codecs.bit_packing import SLACK, Payload
from distillkit.targets.codecs.registry import from_settings
from distillkit.targets.manifest import StoreManifest
from distillkit.targets.shards import Shards, damaged_store
from distillkit.types import Targets


class TargetStore:
    """A complete target store. `manifest` tells what it holds and who made it."""

    def __init__(self, folder: Path, manifest: StoreManifest, shards: Shards | None = None) -> None:
        self.folder, self.manifest = folder, manifest
        self.codec = from_settings(manifest.codec)
        self._decoders: dict[torch.device, Callable[[Payload], Targets]] = {}
        self._shards = Shards(folder, manifest) if shards is None else shards

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        expected: dict[str, Any] | None = None,
        verifier: Verifier | None = None,
        verifies_all: bool = False,
    ) -> "TargetStore":
        """Check origin, names and sizes; the `verifier` knows what was read.

        All checksums are verified here with `verifies_all`, or by a verifier that defers nothing.
        Raises `TargetsError` that names the first damaged file, or the first field in which the
        store's origin is not the `expected` one.
        """
        manifest = StoreManifest.open(folder)
        if expected is not None:
            manifest.check_origin(expected, at=f"targets.path = {folder}")
        defers = not verifies_all and (verifier is None or verifier.defers)
        verifier = verifier or Verifier("always")
        later = deferred(manifest.records) if defers else {}
        now = {name: record for name, record in manifest.records.items() if name not in later}
        damaged = Verifier("never").damage(folder, later) + verifier.damage(folder, now)
        if damaged:
            raise damaged_store(folder, damaged)
        shards = Shards(folder, manifest, verifier.unread(folder, later), verifier)
        if not later:
            for number in range(len(shards)):
                _ = shards[number]  # one that is none is refused here
        return cls(folder, manifest, shards)

    @property
    def keys(self) -> np.ndarray:
        """The keys of all rows, 16 bytes each."""
        return self._shards.keys()

    @cached_property
    def positions(self) -> np.ndarray:
        """How many positions each row has, [all rows]."""
        each = [self._shards[number].positions for number in range(len(self._shards))]
        return np.concatenate([np.zeros(0, np.int64), *each])

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        """(all keys in order, the row of each)."""
        keys = self.keys
        order = np.argsort(keys, kind="stable")
        return keys[order], order

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """Where the examples stand, [examples]; raises `TargetsError` if one is not there."""
        in_order, order = self._index
        if not len(order):
            raise TargetsError(f"{self.folder}: the store is empty")
        places = np.searchsorted(in_order, keys).clip(max=len(order) - 1)
        missing = int((in_order[places] != keys).sum())
        if missing:
            self._shards.verify()  # what is altered is named for what it is
            raise TargetsError(
                f"{self.folder}: has no soft targets for {missing:,} of the {len(keys):,} examples"
            )
        return order[places]

    def read(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Targets:
        """The targets of these rows' positions, one row's after the other's.

        `positions` [all rows] says how many each row has.
        """
        device = torch.device(device)
        if device not in self._decoders:
            self._decoders[device] = self.codec.decoder(self.folder, self.manifest.outputs, device)
        return self._decoders[device](self._payload(rows))

    def _payload(self, rows: np.ndarray) -> Payload:
        rows = np.asarray(rows)
        places = np.searchsorted(self._shards.begins, rows, side="right") - 1
        local = rows - self._shards.begins[places]
        parts = [(self._shards[int(n)], np.flatnonzero(places == n)) for n in np.unique(places)]
        sizes, positions = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        for shard, here in parts:
            own = local[here]
            sizes[here] = shard.begins[own + 1] - shard.begins[own]
            positions[here] = shard.positions[own]
        begins = exclusive_cumsum(sizes)
        data = np.zeros(begins[-1] + SLACK, np.uint8)
        for shard, here in parts:
            shard.copy(local[here], data[:-SLACK], begins[:-1][here])
        return Payload(data, begins, positions)
