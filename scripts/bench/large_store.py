#!/usr/bin/env python3
"""What it costs to open and to read a target store of many positions, in random order.

A store of `--positions` (50 draws a token, 200 positions an example, 65,536 a shard) and one of a
hundredth of that are made, and each is read by a process of its own:

    open       seconds until the store can be asked, in a process that has read nothing of it
    look-up    seconds until the row of each of its examples is known, by its key, in random order
    read       positions a second, decoded, of batches of 16 examples in random order: the first
               reading, which verifies each shard that it meets, and once all of them are verified
    memory     MiB that the process holds of its own, beside what the system keeps of files: before
               opening, after looking up, and at the most while reading

One shard is encoded, and the others have its values under keys of their own: reading does not hang
on them. Opening and looking up are told by the clock and in processor time, reading in processor
time alone. The two stores are read in turn; medians of the rounds count.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from timing import ORIGIN, machine, ratio, shown

from distillkit.artifacts.digests import file_sha256
from distillkit.targets import Draws, Sampled, StoreManifest, TargetStore, TargetWriter
from distillkit.targets.manifest import Shard
from distillkit.types import Outputs

EXAMPLE, BATCH = 200, 16  # positions of an example, examples of a batch
SHARD = 65_536 // EXAMPLE  # examples of a shard, as targets.shard_tokens has it
KEYS = "keys.npy"  # beside the store: what a token table would ask for
ENCODED = 20  # examples that are drawn; a shard repeats them
VOCABULARY = 8192


def make(folder: Path, positions: int) -> None:
    """A store of so many positions, every key its own."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    codec, each = Sampled(draws=50), np.full(ENCODED, EXAMPLE)
    logits = 4.5 * torch.randn(ENCODED * EXAMPLE, VOCABULARY, generator=torch.manual_seed(0))
    picked = codec.select(Outputs(logits), Draws(0, _keys(rng, ENCODED), each))
    repeats = -(-SHARD // ENCODED)
    arrays = {n: np.concatenate([a] * repeats)[: SHARD * EXAMPLE] for n, a in picked.items()}
    with TargetWriter(folder, codec) as writer:
        writer.describe(Outputs(logits))
        writer.write(0, _keys(rng, SHARD), np.full(SHARD, EXAMPLE), arrays)
        manifest = writer.finish([SHARD], tokens=SHARD * EXAMPLE, labels=[], origin=ORIGIN)
    with pa.OSFile(str(folder / writer.name(0))) as source:  # it is written anew below
        first = pa.ipc.open_file(source).get_batch(0)
    keys = [_keys(rng, SHARD) for _ in range(max(1, positions // (SHARD * EXAMPLE)))]
    shards = [_copy(first, folder / writer.name(n), own) for n, own in enumerate(keys)]
    np.save(folder / KEYS, np.concatenate(keys))
    count = sum(shard.examples for shard in shards)
    StoreManifest(
        codec=manifest.codec,
        outputs=manifest.outputs,
        labels=[],
        examples=count,
        positions=count * EXAMPLE,
        tokens=count * EXAMPLE,
        origin=ORIGIN,
        shards=shards,
    ).save(folder)


def _keys(rng: np.random.Generator, count: int) -> np.ndarray:
    keys = rng.integers(1, 256, (count, 16), dtype=np.uint8)
    return keys.view("S16")[:, 0]


def _copy(first: pa.RecordBatch, path: Path, keys: np.ndarray) -> Shard:
    """A shard with the values of the first one, under other keys."""
    column = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(keys), [None, pa.py_buffer(keys.tobytes())]
    )
    batch = pa.record_batch([column, *first.columns[1:]], schema=first.schema)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, first.schema) as file:
        file.write_batch(batch)
    return Shard(path.name, len(keys), path.stat().st_size, file_sha256(path))


def own_memory() -> float:
    """MiB of the process that are no file's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


def measure(folder: Path, batches: int) -> dict[str, Any]:
    """All figures of one store, in a process that has not touched it."""
    keys = np.random.default_rng(1).permutation(np.load(folder / KEYS))
    # glibc keeps what is freed once a block as large as this was: the index of a large store is one
    np.ones(2**21).sum()
    before, times = own_memory(), [(time.perf_counter(), time.process_time())]
    store = TargetStore.open(folder)
    times.append((time.perf_counter(), time.process_time()))
    order = store.rows(keys)
    times.append((time.perf_counter(), time.process_time()))
    after = most = own_memory()
    figures: dict[str, Any] = {
        "positions": store.manifest.positions,
        "examples": store.manifest.examples,
        "shards": len(store.manifest.shards),
        "GB": sum(shard.bytes for shard in store.manifest.shards) / 1e9,
    }
    for what, earlier, later in zip(("open", "look_up"), times, times[1:], strict=False):
        figures |= {f"{what}_s": later[0] - earlier[0], f"{what}_cpu_s": later[1] - earlier[1]}
    first_of_shards = np.arange(0, len(order), SHARD)
    for name, examples in (("first", first_of_shards), ("then", order[: batches * BATCH])):
        spent, read = time.process_time(), 0
        for begin in range(0, len(examples), BATCH):
            part = examples[begin : begin + BATCH]
            store.read(part)
            read += len(part) * EXAMPLE
            most = max(most, own_memory())
        figures[f"read_{name}"] = read / (time.process_time() - spent)
    return figures | {"memory_before": before, "memory_open": after, "memory_most": most}


def in_a_process(folder: Path, batches: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--read", str(folder), "--batches", str(batches)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(answer.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--positions", type=int, default=100_000_000)
    parser.add_argument("--batches", type=int, default=400, help="that are read at random")
    parser.add_argument(
        "--rounds", type=int, default=3, help="each store is read so often, in turn"
    )
    parser.add_argument("--folder", type=Path, help="where the stores are made, and removed")
    parser.add_argument("--read", type=Path, help="only measure this store; figures as JSON")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    chosen = parser.parse_args()
    if chosen.read:
        print(json.dumps(measure(chosen.read, chosen.batches)))
        return
    figures: dict[str, Any] = {"machine": machine()}
    sizes = {"small": chosen.positions // 100, "large": chosen.positions}
    rounds: dict[str, list[dict[str, Any]]] = {label: [] for label in sizes}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        for label, positions in sizes.items():
            make(Path(name) / label, positions)
        for _ in range(chosen.rounds):
            for label in sizes:
                rounds[label].append(in_a_process(Path(name) / label, chosen.batches))
    for label, measured in rounds.items():
        medians = {key: statistics.median(one[key] for one in measured) for key in measured[0]}
        figures[label] = medians
        print(label, {key: round(value, 3) for key, value in medians.items()})
    speeds = ([one["read_then"] for one in rounds[label]] for label in ("large", "small"))
    figures["read in random order, large / small"] = speed = ratio(*speeds)
    print(f"read in random order, large / small: {shown(speed)}")
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
