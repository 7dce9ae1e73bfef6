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
from distillkit.artifacts.leftovers import marked, remove_left
from distillkit.artifacts.workspace import commit
from distillkit.errors import TargetsError
from distillkit.targets.average import average, check_averaged, check_outputs, check_same, union
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
    stores = [TargetStore.open(path, verifies_all=True) for path in paths]
    if out.exists():
        raise TargetsError(f"{out}: already there; give another name, or remove it first")
    first, *later = stores
    is_join = all(_teacher(store) == _teacher(first) for store in later)
    if is_join and weights is not None:
        raise TargetsError(
            "--weights: the stores are of one teacher, so that their examples are joined and "
            "nothing is averaged; leave it out"
        )
    for store in later:
        (_check_joined if is_join else check_averaged)(first, store)
    shares = None if is_join else _shares(weights, len(stores))
    with appearing(out) as folder:
        if shares is None:
            return _joined(stores, folder)
        return average(stores, shares, folder, codec=Dense("float32"))


def _teacher(store: TargetStore) -> Any:
    return store.manifest.origin["teacher"]["fingerprint"]


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    """Weights that sum to 1."""
    numbers = [1.0] * count if weights is None else list(weights)
    text = ",".join(f"{w:g}" for w in numbers)
    if len(numbers) != count:
        raise TargetsError(f"--weights {text}: {len(numbers)} for {count} stores; one each")
    if not all(w > 0 and math.isfinite(w) for w in numbers):
        raise TargetsError(f"--weights {text}: must be positive; they are divided by their sum")
    return [w / sum(numbers) for w in numbers]


# what may be merged


def _check_joined(first: TargetStore, second: TargetStore) -> None:
    first_manifest, second_manifest = first.manifest, second.manifest
    check_same(
        "codec.name", first_manifest.codec["name"], second_manifest.codec["name"], first, second
    )
    check_same("codec", first_manifest.codec, second_manifest.codec, first, second)
    check_same(
        "tokenizer",
        first_manifest.origin["tokenizer"],
        second_manifest.origin["tokenizer"],
        first,
        second,
    )
    check_outputs(first, second)
    files, second_files = (
        {f.file: f.sha256 for f in manifest.files} for manifest in (first_manifest, second_manifest)
    )
    check_same("files", files, second_files, first, second)


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
    manifests = [store.manifest for store in stores]
    manifest = StoreManifest(
        codec=first.codec,
        outputs=first.outputs,
        distribution=first.distribution,
        labels=first.labels,
        examples=sum(m.examples for m in manifests),
        positions=sum(m.positions for m in manifests),
        tokens=sum(m.tokens for m in manifests),
        origin=first.origin | {"data": union([m.origin["data"] for m in manifests])},
        shards=shards,
        files=first.files,
        quality=_mean_quality([m.quality for m in manifests]),
    )
    manifest.save(folder)
    return manifest


def _copy(source: Path, target: Path, sha256: str) -> None:
    shutil.copyfile(source, target)
    if file_sha256(target) != sha256:
        raise TargetsError(f"{source}: it changed while it was copied; merge again")


def _mean_quality(qualities: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was measured, averaged over positions; nothing where some store was not measured."""
    if not all(qualities):
        return {}
    total = sum(quality["positions"] for quality in qualities)
    names = set.intersection(*(set(quality) for quality in qualities)) - {"positions"}
    means = {n: sum(q[n] * q["positions"] for q in qualities) / total for n in sorted(names)}
    return {"positions": total, **means}


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that gets its name when the block ends well."""
    check_outside(out, str(out))
    folder = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    remove_left(out.parent, f".{out.name}.", ".tmp")
    try:
        folder.mkdir(parents=True)
        with marked(folder):
            yield folder
        commit(folder, out)
    except OSError as error:
        raise TargetsError(f"{out}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
