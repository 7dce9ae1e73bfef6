"""Writing a target store: shard by shard, each whole or not there."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distillkit.artifacts import atomic, file_sha256
from distillkit.records import KEY_BYTES
from distillkit.targets.codecs import Dense
from distillkit.targets.manifest import Shard, StoreManifest


class TargetWriter:
    """Writes shards into a folder that may hold those of a killed run."""

    def __init__(self, folder: Path, codec: Dense, outputs: int) -> None:
        self.folder, self.codec, self.outputs = folder, codec, outputs
        self._schema = pa.schema(
            [pa.field("key", pa.binary(KEY_BYTES), nullable=False), *codec.fields(outputs)]
        )

    @staticmethod
    def name(shard: int) -> str:
        """The file of the shard with this number."""
        return f"shard-{shard:05d}.arrow"

    def committed(self, shard: int) -> bool:
        """Whether an earlier run wrote this shard: its name appears only when it is whole."""
        return (self.folder / self.name(shard)).is_file()

    def write(self, shard: int, keys: np.ndarray, logits: np.ndarray) -> None:
        """Commit one shard: `keys` [examples] of 16 bytes, `logits` [examples, classes]."""
        fixed = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(KEY_BYTES),
            len(keys),
            [None, pa.py_buffer(np.ascontiguousarray(keys).tobytes())],
        )
        batch = pa.record_batch([fixed, *self.codec.encode(logits)], schema=self._schema)
        with (
            atomic(self.folder / self.name(shard)) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, self._schema) as file,
        ):
            file.write_batch(batch)

    def finish(
        self, examples: list[int], *, tokens: int, labels: list[str], origin: dict[str, Any]
    ) -> StoreManifest:
        """Write the manifest over all shards, of which number i holds `examples[i]`."""
        shards = []
        for number, count in enumerate(examples):
            path = self.folder / self.name(number)
            shards.append(Shard(path.name, count, path.stat().st_size, file_sha256(path)))
        manifest = StoreManifest(
            codec=self.codec.settings(),
            outputs=self.outputs,
            labels=labels,
            examples=sum(examples),
            tokens=tokens,
            origin=origin,
            shards=shards,
        )
        manifest.save(self.folder)
        return manifest
