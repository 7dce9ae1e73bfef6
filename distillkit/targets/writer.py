"""Writing a target store: shard by shard, each whole or not there."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from distillkit.artifacts.digests import place_of
from distillkit.artifacts.workspace import atomic
from distillkit.background import Background
from distillkit.ragged import exclusive_cumsum
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.logits import TeacherOutput, width
from distillkit.targets.codecs.registry import record_of
from distillkit.targets.committed import RECORDS as RECORDS
from distillkit.targets.committed import CommittedFiles, shard_name
from distillkit.targets.manifest import Shard, SharedFile, StoreManifest
from distillkit.types import KEY_BYTES, Distribution

_WAITING = 2  # shards that may wait to be written: the capture must not outrun the disk's memory
_PIECE = 4096  # positions that are encoded at a time: their arrays fit into a processor's caches
_OUTPUTS = b"outputs"


class TargetWriter:
    """Writes shards into a folder that may hold those of a killed run.

    Shards are encoded and written by one thread, in the order in which they were given, beside the
    teacher's next forward pass. What fails there is raised by the next call, as it is.
    """

    def __init__(self, folder: Path, codec: Codec) -> None:
        self.folder, self.codec = folder, codec
        self._outputs: int | None = None
        self._has_shared = False
        self._files = CommittedFiles(folder, codec)
        self._background = Background("targets", limit=_WAITING)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._background.__exit__(kind, error, trace)

    @staticmethod
    def name(shard: int) -> str:
        """The file of the shard with this number."""
        return shard_name(shard)

    def committed(self, shard: int) -> bool:
        """Whether this shard is there and as it was written; what is damaged is named once.

        The first one stands for the files that all share, too.
        """
        return self._files.is_whole(shard)

    def describe(self, output: TeacherOutput, *, saves_shared: bool = True) -> None:
        """Learn from a first answer what all have in common; further ones are passed over.

        Of several processes that write one store, the one that writes its first shard
        `saves_shared`. Raises `ConfigError` if the codec does not fit the teacher.
        """
        if self._outputs is None:
            self.codec.check(width(output))
            self._outputs = width(output)
        if saves_shared and not self._has_shared:
            self.codec.save_shared(output, self.folder)
            for name in self.codec.shared_files:
                self._files.record(name, self.folder / name)
            self._has_shared = True

    def write(
        self, shard: int, keys: np.ndarray, positions: np.ndarray, arrays: dict[str, np.ndarray]
    ) -> None:
        """Have one shard committed: `keys` [examples] of 16 bytes, `positions` [examples].

        `arrays` is what the codec picked at all these positions, in order. The arrays must not be
        written to any more. Waits if too many shards are under way.
        """
        assert self._outputs is not None, "a shard cannot be written before `describe`"
        self._background(partial(self._write, shard, self._outputs, keys, positions, arrays))

    def wait(self) -> None:
        """Return when all shards are committed."""
        self._background.wait()

    def finish(
        self,
        examples: list[int],
        *,
        tokens: int,
        labels: list[str],
        origin: dict[str, Any],
        quality: dict[str, Any] | None = None,
        distribution: Distribution = "softmax",
    ) -> StoreManifest:
        """Write the manifest over all shards, of which number i holds `examples[i]`.

        `quality` is what was measured at capture: how far what is kept is from what was said.
        `distribution` says what an average of several stores would be of. The records beside the
        shards stay in an artifact that is being made, for a run that is killed before it is whole.
        """
        self.wait()
        paths = [self.folder / self.name(number) for number in range(len(examples))]
        recorded = self._files.recorded_file
        manifest = StoreManifest(
            codec=record_of(self.codec),
            outputs=self._outputs or _outputs(paths),
            labels=labels,
            examples=sum(examples),
            positions=sum(map(_positions, paths)),
            tokens=tokens,
            origin=origin,
            shards=[
                Shard(name, count, size, sha256)
                for (name, size, sha256), count in zip(
                    [recorded(path.name) for path in paths], examples, strict=True
                )
            ],
            files=[
                SharedFile(*self._files.recorded_file(name)) for name in self.codec.shared_files
            ],
            quality=quality or {},
            distribution=distribution,
        )
        manifest.save(self.folder)
        if not place_of(self.folder):
            self._files.remove_records()
        return manifest

    def _write(
        self,
        shard: int,
        outputs: int,
        keys: np.ndarray,
        positions: np.ndarray,
        arrays: dict[str, np.ndarray],
    ) -> None:
        columns = [
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(KEY_BYTES),
                len(keys),
                [None, pa.py_buffer(np.ascontiguousarray(keys).tobytes())],
            ),
            pa.array(positions, pa.uint32()),
            pa.concat_arrays(list(self._encoded(positions.astype(np.int64), arrays))),
        ]
        schema = pa.schema(
            [
                pa.field("key", columns[0].type, nullable=False),
                pa.field("positions", columns[1].type, nullable=False),
                pa.field("payload", columns[2].type, nullable=False),
            ],
            metadata={_OUTPUTS: str(outputs)},
        )
        with atomic(self.folder / self.name(shard)) as temporary:
            with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as file:
                file.write_batch(pa.record_batch(columns, schema=schema))
            self._files.record(self.name(shard), temporary)

    def _encoded(
        self, positions: np.ndarray, arrays: dict[str, np.ndarray]
    ) -> Iterator[pa.LargeBinaryArray]:
        """The examples' values, whole examples of about `_PIECE` positions at a time."""
        begins = exclusive_cumsum(positions)
        assert all(len(array) == begins[-1] for array in arrays.values())
        cuts = np.flatnonzero(np.diff(begins[:-1] // _PIECE)) + 1
        edges = [0, *cuts.tolist(), len(positions)]
        for first, last in pairwise(edges):
            part = slice(begins[first], begins[last])
            piece = {name: array[part] for name, array in arrays.items()}
            yield self.codec.encode(piece, positions[first:last])


def _outputs(paths: list[Path]) -> int:
    """What `describe` learnt in the run that wrote the shards."""
    if not paths:
        return 0
    with pa.memory_map(str(paths[0])) as source:
        return int(pa.ipc.open_file(source).schema.metadata[_OUTPUTS])


def _positions(path: Path) -> int:
    with pa.memory_map(str(path)) as source:
        column = pa.ipc.open_file(source).get_batch(0).column("positions")
        return int(column.to_numpy().sum(dtype=np.int64))
