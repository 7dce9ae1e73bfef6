"""Several stores as one: more examples of one teacher, or the average of several teachers."""

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distillkit.artifacts.digests import file_sha256
from distillkit.artifacts.inside import check_outside
from distillkit.artifacts.workspace import commit
from distillkit.errors import TargetsError
from distillkit.targets.average import average, check_averaged, check_outputs, same, union
from distillkit.targets.codecs.dense import Dense
from distillkit.targets.manifest import Shard, StoreManifest
from distillkit.targets.reader import TargetStore
from distillkit.targets.writer import TargetWriter


def merge(
    paths: Sequence[Path], out: Path, *, weights: Sequence[float] | None = None
) -> StoreManifest:
    """Write the stores of `paths` as one to `out`, which appears when it is whole.

    Those of one teacher are joined: all their examples, as they are kept. Those of several teachers
    over the same examples are averaged: the mean of the probabilities (of real values: of these),
    weighted by `weights`, as logits of temperature 1. Raises `TargetsError` that names the first
    difference for anything else.
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
        (_check_joined if is_join else check_averaged)(first, other)
    shares = None if is_join else _shares(weights, len(stores))
    with appearing(out) as folder:
        if shares is None:
            return _joined(stores, folder)
        return average(stores, shares, folder, codec=Dense("float32"))


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
    same("codec.name", ours.codec["name"], theirs.codec["name"], first, other)
    same("codec", ours.codec, theirs.codec, first, other)
    same("tokenizer", ours.origin["tokenizer"], theirs.origin["tokenizer"], first, other)
    check_outputs(first, other)
    here, there = ({f.file: f.sha256 for f in manifest.files} for manifest in (ours, theirs))
    same("files", here, there, first, other)


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
        distribution=first.distribution,
        labels=first.labels,
        examples=sum(m.examples for m in every),
        positions=sum(m.positions for m in every),
        tokens=sum(m.tokens for m in every),
        origin=first.origin | {"data": union([m.origin["data"] for m in every])},
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
    check_outside(out, str(out))
    folder = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True)
        yield folder
        commit(folder, out)
    except OSError as error:
        raise TargetsError(f"{out}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
