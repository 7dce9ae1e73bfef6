"""The stores of several teachers over the same examples as the store of their average."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.artifacts.workspace import fingerprint, first_difference
from distillkit.console.progress import track
from distillkit.errors import TargetsError
from distillkit.losses.averages import averaged
from distillkit.losses.heads import project
from distillkit.ragged import exclusive_cumsum
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.codec import check_outputs as check_distribution
from distillkit.targets.codecs.logits import CHUNK
from distillkit.targets.codecs.registry import WHOLE
from distillkit.targets.codecs.sampling import Draws
from distillkit.targets.expected_size import check_room, store_bytes
from distillkit.targets.manifest import StoreManifest
from distillkit.targets.quality import quality
from distillkit.targets.reader import TargetStore
from distillkit.targets.writer import TargetWriter
from distillkit.types import Distribution, HiddenTargets, Outputs, SoftTargets

SHARD_VALUES = 2**26  # logits of a shard: 256 MB where all are kept
QUALITY_POSITIONS = 512  # that are averaged again, to measure what the codec keeps


def average(
    stores: Sequence[TargetStore],
    shares: Sequence[float],
    folder: Path,
    *,
    codec: Codec,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> StoreManifest:
    """Write what the teachers of `stores` say on average into `folder`, as `codec` keeps it.

    The mean is weighted by `shares`, which sum to 1, and is that of `losses.averages`. All stores
    are of a codec that keeps all logits and hold the same examples. Raises `TargetsError` if they
    do not, or if the codec keeps hidden states, which an average has none of; `WorkspaceError` if
    the disk has no room.
    """
    first = stores[0].manifest
    for store in stores[1:]:
        check_averaged(stores[0], store)
    if codec.reads_hidden:
        raise TargetsError(no_hidden_states(codec.name))
    codec.check(first.outputs)
    check_distribution(codec, first.distribution, owner="each of these stores")
    _check_room(first, codec, folder)
    mean = _Mean(stores, shares, torch.device(device))
    keys, positions = stores[0].keys, stores[0].positions
    counts: list[int] = []
    with TargetWriter(folder, codec) as writer, track("average", len(keys), unit="examples") as bar:
        for shard in pieces(positions, np.arange(len(keys)), SHARD_VALUES // first.outputs):
            parts = []
            for rows in pieces(positions, shard, CHUNK // first.outputs):
                output = Outputs(mean(keys[rows]))
                writer.describe(output)
                parts.append(codec.select(output, Draws(seed, keys[rows], positions[rows])))
                bar.advance(len(rows))
            arrays = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
            writer.write(len(counts), keys[shard], positions[shard], arrays)
            counts.append(len(shard))
        manifest = writer.finish(
            counts,
            tokens=first.tokens,
            labels=first.labels,
            origin=average_origin([store.manifest.origin for store in stores], shares),
            distribution=first.distribution,
        )
    if first.outputs > 1:
        manifest = replace(manifest, quality=_measured(mean, TargetStore(folder, manifest)))
        manifest.save(folder)
    return manifest


def no_hidden_states(codec: str) -> str:
    """Why the average of several teachers cannot be kept so."""
    return (
        f"targets.codec = {codec}: keeps a teacher's hidden states, and the average of several "
        "teachers has none; choose targets=sampled, top_k or stored (all logits), or "
        "targets=online"
    )


def average_origin(origins: Sequence[dict[str, Any]], shares: Sequence[float]) -> dict[str, Any]:
    """The origin of an average: all its teachers and their shares, and the text they were asked."""
    return origins[0] | {
        "teacher": part(members=[origin["teacher"] for origin in origins], weights=list(shares)),
        "tokenizer": union([origin["tokenizer"] for origin in origins]),
        "data": union([origin["data"] for origin in origins]),
    }


def part(**fields: Any) -> dict[str, Any]:
    """A part of an origin: its fields and their fingerprint."""
    return {"fingerprint": fingerprint(fields), **fields}


def union(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record of all these; each once, and those of a merged store one by one."""
    members = [member for part in parts for member in part.get("members", [part])]
    once = {member["fingerprint"]: member for member in members}
    return members[0] if len(once) == 1 else part(members=[once[f] for f in sorted(once)])


def check_averaged(first: TargetStore, second: TargetStore) -> None:
    """Raise `TargetsError` that says why two teachers' stores cannot be averaged."""
    refused = f"{second.folder}: cannot be merged with {first.folder}: "
    for store in (first, second):
        name = store.manifest.codec["name"]
        if not store.codec.keeps_all:
            raise TargetsError(
                f"{refused}their teachers differ, and codec.name is {name} in {store.folder}; only "
                f"stores of all logits ({', '.join(WHOLE)}) can be averaged"
            )
    check_outputs(first, second)
    first_keys, second_keys = np.unique(first.keys), np.unique(second.keys)
    if not np.array_equal(first_keys, second_keys):
        missing = (
            len(np.setdiff1d(first_keys, second_keys)),
            len(np.setdiff1d(second_keys, first_keys)),
        )
        raise TargetsError(
            f"{refused}their teachers differ, so that both must hold the same examples; it lacks "
            f"{missing[0]:,} and has {missing[1]:,} more"
        )
    if not np.array_equal(*(store.positions[store.rows(first_keys)] for store in (first, second))):
        raise TargetsError(
            f"{refused}the same examples have other numbers of positions; both need the same task "
            "settings"
        )


def check_outputs(first: TargetStore, second: TargetStore) -> None:
    """Raise `TargetsError` where the outputs of two stores do not mean the same."""
    manifest, second_manifest = first.manifest, second.manifest
    if (
        not manifest.labels and manifest.outputs > 1
    ):  # what is said is tokens, not labels of the data
        check_same(
            "tokenizer",
            manifest.origin["tokenizer"],
            second_manifest.origin["tokenizer"],
            first,
            second,
        )
    check_same("outputs", manifest.outputs, second_manifest.outputs, first, second)
    check_same("labels", manifest.labels, second_manifest.labels, first, second)
    check_same("distribution", manifest.distribution, second_manifest.distribution, first, second)


def pieces(positions: np.ndarray, rows: np.ndarray, limit: int) -> Iterator[np.ndarray]:
    """Rows in order, about `limit` positions at a time, and at least one row."""
    place = exclusive_cumsum(positions[rows])[:-1] // max(1, limit)
    return iter(np.split(rows, np.flatnonzero(np.diff(place)) + 1) if len(rows) else [])


def check_same(
    name: str, value: Any, second_value: Any, first: TargetStore, second: TargetStore
) -> None:
    """Raise `TargetsError` that names the first field in which two stores differ."""
    difference = first_difference(value, second_value, name)
    if difference:
        field, own, others_value = difference
        raise TargetsError(
            f"{second.folder}: cannot be merged with {first.folder}: the first field that differs "
            f"is {field} ({others_value!r} here, {own!r} there)"
        )


class _Mean:
    """keys [examples] -> the average's logits [positions, outputs] of these examples."""

    def __init__(
        self, stores: Sequence[TargetStore], shares: Sequence[float], device: torch.device
    ) -> None:
        self.stores, self.shares, self.device = stores, shares, device
        first = stores[0].manifest
        # a softmax over one output is constant: what stands there is a value
        is_value = first.outputs == 1 and first.distribution == "softmax"
        self.distribution: Distribution = "real" if is_value else first.distribution

    def __call__(self, keys: np.ndarray) -> Tensor:
        members = [self._logits(store, store.rows(keys)) for store in self.stores]
        return averaged(members, self.shares, self.distribution)

    def _logits(self, store: TargetStore, rows: np.ndarray) -> Tensor:
        targets = store.read(rows, self.device)
        assert isinstance(targets, SoftTargets | HiddenTargets), "of a codec that keeps all logits"
        return (
            targets.logits
            if isinstance(targets, SoftTargets)
            else project(targets.hidden, targets.head)
        )


def _measured(mean: _Mean, store: TargetStore) -> dict[str, Any]:
    """How far what is kept is from the average, on a few examples from all over the store."""
    count = len(store.positions)
    if not count:
        return {}
    examples = int(QUALITY_POSITIONS / max(1.0, float(store.positions.mean()))) + 1
    rows = np.unique(np.linspace(0, count - 1, min(count, examples)).astype(int))
    keys = store.keys[rows]
    targets = store.read(store.rows(keys), mean.device)
    return quality(Outputs(mean(keys)), targets, mean.distribution)


def _check_room(first: StoreManifest, codec: Codec, folder: Path) -> None:
    expected = store_bytes(
        codec,
        examples=first.examples,
        positions=first.positions,
        outputs=first.outputs,
        hidden=0,
    )
    room = shutil.disk_usage(folder).free
    check_room(codec, expected, room, folder.parent, label="averaged targets")
