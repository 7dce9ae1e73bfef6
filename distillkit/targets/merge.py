"""Several stores as one: more examples of one teacher, or the average of several teachers."""

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.artifacts import commit, file_sha256, fingerprint, first_difference
from distillkit.errors import TargetsError
from distillkit.losses.heads import project
from distillkit.progress import track
from distillkit.records import HiddenTargets, Outputs, SoftTargets
from distillkit.targets.dense import Dense
from distillkit.targets.draws import Draws
from distillkit.targets.logits import CHUNK
from distillkit.targets.manifest import Shard, StoreManifest
from distillkit.targets.packing import before
from distillkit.targets.reader import TargetStore
from distillkit.targets.writer import TargetWriter

SHARD_VALUES = 2**26  # logits of a shard: 256 MB
WHOLE = ("dense", "last_hidden")  # codecs that keep all logits


def merge(
    paths: Sequence[Path], out: Path, *, weights: Sequence[float] | None = None
) -> StoreManifest:
    """Write the stores of `paths` as one to `out`, which appears when it is whole.

    Those of one teacher are joined: all their examples, as they are kept. Those of several teachers
    over the same examples are averaged: the mean of the probabilities, weighted by `weights`, as
    logits of temperature 1. Raises `TargetsError` that names the first difference for anything
    else.
    """
    if len(paths) < 2:
        raise TargetsError(f"{out}: merge takes two stores or more")
    stores = [TargetStore.open(path) for path in paths]
    if out.exists():
        raise TargetsError(f"{out}: already there; give another name, or remove it first")
    first, *others = stores
    is_join = all(_teacher(other) == _teacher(first) for other in others)
    if is_join and weights is not None:
        raise TargetsError(
            "--weights: the stores are of one teacher, so that their examples are joined and "
            "nothing is averaged; leave it out"
        )
    for other in others:
        (_check_joined if is_join else _check_averaged)(first, other)
    shares = None if is_join else _shares(weights, len(stores))
    with appearing(out) as folder:
        return _joined(stores, folder) if shares is None else _averaged(stores, shares, folder)


def _teacher(store: TargetStore) -> Any:
    return store.manifest.origin["teacher"]["fingerprint"]


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    """Weights that sum to 1."""
    given = [1.0] * count if weights is None else list(weights)
    shown = ",".join(f"{w:g}" for w in given)
    if len(given) != count:
        raise TargetsError(f"--weights {shown}: {len(given)} for {count} stores; one each")
    if not all(w > 0 and math.isfinite(w) for w in given):
        raise TargetsError(f"--weights {shown}: must be positive; they are divided by their sum")
    return [w / sum(given) for w in given]


# what may be merged


def _check_joined(first: TargetStore, other: TargetStore) -> None:
    ours, theirs = first.manifest, other.manifest
    _same("codec.name", ours.codec["name"], theirs.codec["name"], first, other)
    _same("codec", ours.codec, theirs.codec, first, other)
    _check_outputs(first, other)
    here, there = ({f.file: f.sha256 for f in manifest.files} for manifest in (ours, theirs))
    _same("files", here, there, first, other)


def _check_averaged(first: TargetStore, other: TargetStore) -> None:
    for store in (first, other):
        name = store.manifest.codec["name"]
        if name not in WHOLE:
            raise TargetsError(
                f"{other.folder}: cannot be merged with {first.folder}: their teachers differ, and "
                f"codec.name is {name} in {store.folder}; only stores of all logits "
                f"({', '.join(WHOLE)}) can be averaged"
            )
    _check_outputs(first, other)
    if first.manifest.outputs == 1:
        raise TargetsError(
            f"{other.folder}: cannot be merged with {first.folder}: their teachers differ, and one "
            "real value has no probabilities to be averaged"
        )
    ours, theirs = np.unique(first.keys), np.unique(other.keys)
    if not np.array_equal(ours, theirs):
        missing = len(np.setdiff1d(ours, theirs)), len(np.setdiff1d(theirs, ours))
        raise TargetsError(
            f"{other.folder}: cannot be merged with {first.folder}: their teachers differ, so that "
            f"both must hold the same examples; it lacks {missing[0]:,} and has {missing[1]:,} more"
        )
    if not np.array_equal(*(store.positions[store.rows(ours)] for store in (first, other))):
        raise TargetsError(
            f"{other.folder}: cannot be merged with {first.folder}: the same examples have other "
            "numbers of positions; both need the same task settings"
        )


def _check_outputs(first: TargetStore, other: TargetStore) -> None:
    ours, theirs = first.manifest, other.manifest
    _same("tokenizer", ours.origin["tokenizer"], theirs.origin["tokenizer"], first, other)
    _same("outputs", ours.outputs, theirs.outputs, first, other)
    _same("labels", ours.labels, theirs.labels, first, other)


def _same(what: str, ours: Any, theirs: Any, first: TargetStore, other: TargetStore) -> None:
    found = first_difference(ours, theirs, what)
    if found:
        field, here, there = found
        raise TargetsError(
            f"{other.folder}: cannot be merged with {first.folder}: the first field that differs "
            f"is {field} ({there!r} here, {here!r} there)"
        )


# how it is done


def _joined(stores: Sequence[TargetStore], folder: Path) -> StoreManifest:
    """All shards under new numbers."""
    first = stores[0].manifest
    shards: list[Shard] = []
    for store in stores:
        for shard in store.manifest.shards:
            name = TargetWriter.name(len(shards))
            _copy(store.folder / shard.file, folder / name, shard.sha256)
            shards.append(Shard(name, shard.examples, shard.bytes, shard.sha256))
    for file in first.files:
        _copy(stores[0].folder / file.file, folder / file.file, file.sha256)
    every = [store.manifest for store in stores]
    manifest = StoreManifest(
        codec=first.codec,
        outputs=first.outputs,
        labels=first.labels,
        examples=sum(m.examples for m in every),
        positions=sum(m.positions for m in every),
        tokens=sum(m.tokens for m in every),
        origin=first.origin | {"data": _union([m.origin["data"] for m in every])},
        shards=shards,
        files=first.files,
        quality=_mean_quality([m.quality for m in every]),
    )
    manifest.save(folder)
    return manifest


def _copy(source: Path, target: Path, sha256: str) -> None:
    shutil.copyfile(source, target)
    if file_sha256(target) != sha256:
        raise TargetsError(f"{source}: it changed while it was copied; merge again")


def _averaged(
    stores: Sequence[TargetStore], shares: Sequence[float], folder: Path
) -> StoreManifest:
    """The mean of the teachers' probabilities, as log-probabilities that all logits stand for."""
    first = stores[0].manifest
    keys, positions = stores[0].keys, stores[0].positions
    codec = Dense("float32")
    counts: list[int] = []
    with TargetWriter(folder, codec) as writer, track("merge", len(keys), unit="examples") as bar:
        for shard in pieces(positions, np.arange(len(keys)), SHARD_VALUES // first.outputs):
            parts = []
            for rows in pieces(positions, shard, CHUNK // first.outputs):
                said = Outputs(_mean([_log_probs(s, s.rows(keys[rows])) for s in stores], shares))
                writer.describe(said)
                parts.append(codec.pick(said, Draws(0, keys[rows], positions[rows]))["logits"])
                bar.advance(len(rows))
            logits = {"logits": np.concatenate(parts)}
            writer.write(len(counts), keys[shard], positions[shard], logits)
            counts.append(len(shard))
        return writer.finish(
            counts,
            tokens=first.tokens,
            labels=first.labels,
            origin=first.origin
            | {
                "teacher": _part(
                    members=[store.manifest.origin["teacher"] for store in stores],
                    weights=list(shares),
                ),
                "data": _union([store.manifest.origin["data"] for store in stores]),
            },
        )


def pieces(positions: np.ndarray, rows: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Rows in order, about `most` positions at a time, and at least one row."""
    place = before(positions[rows])[:-1] // max(1, most)
    return iter(np.split(rows, np.flatnonzero(np.diff(place)) + 1) if len(rows) else [])


def _log_probs(store: TargetStore, rows: np.ndarray) -> Tensor:
    kept = store.read(rows)
    assert isinstance(kept, SoftTargets | HiddenTargets)
    logits = kept.logits if isinstance(kept, SoftTargets) else project(kept.hidden, kept.head)
    return torch.log_softmax(logits.float(), dim=-1)


def _mean(log_probs: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """log of the weighted mean of probabilities; nothing is lost where they are very small."""
    weighted = [logs + math.log(share) for logs, share in zip(log_probs, shares, strict=True)]
    return torch.logsumexp(torch.stack(weighted), dim=0)


def _part(**fields: Any) -> dict[str, Any]:
    return {"fingerprint": fingerprint(fields), **fields}


def _union(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record of all these data; each once, and those of a merged store one by one."""
    every = [member for part in parts for member in part.get("members", [part])]
    once = {member["fingerprint"]: member for member in every}
    return every[0] if len(once) == 1 else _part(members=[once[f] for f in sorted(once)])


def _mean_quality(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was measured, averaged over positions; nothing where some store was not measured."""
    if not all(found):
        return {}
    total = sum(quality["positions"] for quality in found)
    names = set.intersection(*(set(quality) for quality in found)) - {"positions"}
    means = {n: sum(q[n] * q["positions"] for q in found) / total for n in sorted(names)}
    return {"positions": total, **means}


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that gets its name when the block ends well."""
    folder = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True)
        yield folder
        commit(folder, out)
    except OSError as error:
        raise TargetsError(f"{out}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
