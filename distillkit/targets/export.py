"""A store as a Parquet file, for other programs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distillkit.artifacts.inside import check_outside
from distillkit.artifacts.leftovers import marked, remove_left
from distillkit.artifacts.workspace import atomic
from distillkit.console.progress import track
from distillkit.errors import TargetsError
from distillkit.losses.heads import project
from distillkit.ragged import stretches
from distillkit.targets.average import pieces
from distillkit.targets.codecs.logits import CHUNK
from distillkit.targets.reader import TargetStore
from distillkit.types import KEY_BYTES, HiddenTargets, SparseTargets

ROWS = 2**15  # of a row group, of a store that keeps some ids of a position


def export(folder: Path, out: Path) -> int:
    """Write a row for each counted position to `out`, and return their number.

    `key` (16 bytes) and `position` (from 0 in each example) say whose they are. A store of all
    logits has `logits` [outputs]; others have `ids` and their `probabilities`, at temperature 1 or,
    of drawn ids, at the codec's. The file's metadata say codec, labels and origin. No more than a
    row group is in memory.
    """
    store = TargetStore.open(folder, verifies_all=True)
    if out.exists():
        raise TargetsError(f"{out}: already there; give another name, or remove it first")
    check_outside(out, str(out))
    is_sparse = not store.codec.keeps_all
    outputs = store.manifest.outputs
    schema = pa.schema(_fields(is_sparse, outputs), metadata=_metadata(store))
    limit = ROWS if is_sparse else max(1, CHUNK // outputs)
    keys, rows_written = store.keys, 0
    remove_left(out.parent, f".{out.name}.", ".tmp")
    try:
        with (
            atomic(out) as temporary,
            marked(temporary),
            pq.ParquetWriter(temporary, schema) as file,
            track("export", len(keys), unit="examples") as bar,
        ):
            for rows in pieces(store.positions, np.arange(len(keys)), limit):
                for batch in _batches(store, keys, rows, schema):
                    file.write_batch(batch)
                    rows_written += len(batch)
                bar.advance(len(rows))
    except OSError as error:
        raise TargetsError(f"{out}: cannot be written ({error.strerror or error})") from error
    return rows_written


def _fields(is_sparse: bool, outputs: int) -> list[pa.Field]:
    values = [pa.field("logits", pa.list_(pa.float32(), outputs))]
    if is_sparse:
        values = [
            pa.field("ids", pa.list_(pa.int32())),
            pa.field("probabilities", pa.list_(pa.float32())),
        ]
    return [pa.field("key", pa.binary(KEY_BYTES)), pa.field("position", pa.int32()), *values]


def _metadata(store: TargetStore) -> dict[str, str]:
    manifest = store.manifest
    metadata = {"codec": manifest.codec, "labels": manifest.labels, "origin": manifest.origin}
    return {f"distillkit.{name}": json.dumps(value) for name, value in metadata.items()}


def _batches(
    store: TargetStore, keys: np.ndarray, rows: np.ndarray, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    counts = store.positions[rows]
    total = int(counts.sum())
    row_keys = np.repeat(np.ascontiguousarray(keys[rows]), counts)
    place = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    targets = store.read(rows)
    # an example may have more positions than there is room for their logits
    step = total if isinstance(targets, SparseTargets) else max(1, CHUNK // store.manifest.outputs)
    for part in stretches(total, step):
        key = pa.array(row_keys[part].view(f"V{KEY_BYTES}").tolist(), schema.field("key").type)
        columns = [key, pa.array(place[part], pa.int32()), *_values(targets.part(part), schema)]
        yield pa.record_batch(columns, schema=schema)


def _values(targets: Any, schema: pa.Schema) -> list[pa.Array]:
    if isinstance(targets, SparseTargets):
        used = targets.log_probs.isfinite().numpy()
        offsets = np.concatenate([[0], np.cumsum(used.sum(axis=1))]).astype(np.int32)
        ids = targets.ids.numpy()[used].astype(np.int32)
        probabilities = targets.log_probs.exp().numpy()[used]
        return [pa.ListArray.from_arrays(offsets, values) for values in (ids, probabilities)]
    logits = (
        project(targets.hidden, targets.head)
        if isinstance(targets, HiddenTargets)
        else targets.logits
    )
    flat = np.ascontiguousarray(logits.float().numpy()).reshape(-1)
    return [pa.FixedSizeListArray.from_arrays(flat, type=schema.field("logits").type)]
