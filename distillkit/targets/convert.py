"""A store of all logits as one of another codec: the teacher is not asked again."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from distillkit.console.progress import track
from distillkit.errors import TargetsError
from distillkit.targets.average import pieces
from distillkit.targets.codecs.codec import check_outputs
from distillkit.targets.codecs.logits import TeacherOutput
from distillkit.targets.codecs.registry import WHOLE
from distillkit.targets.codecs.sampling import Draws
from distillkit.targets.expected_size import check_room, store_bytes
from distillkit.targets.manifest import StoreManifest
from distillkit.targets.merge import appearing
from distillkit.targets.quality import quality
from distillkit.targets.reader import TargetStore
from distillkit.targets.settings import StoredTargets
from distillkit.targets.writer import TargetWriter
from distillkit.types import HiddenOutputs, HiddenTargets, Outputs, SoftTargets

POSITIONS = 4096  # that are decoded and picked at a time
QUALITY_POSITIONS = 512  # of which what is kept is held against what was there


def convert(
    path: Path, out: Path, settings: StoredTargets, *, device: torch.device | str = "cpu"
) -> StoreManifest:
    """Write the store of `path` to `out`, which appears when it is whole, as `settings` say.

    It stays a store of the same teacher, tokenizer and data, and serves the same runs. Draws are
    those that a capture with the same seed makes, up to the rounding of what `path` keeps. Raises
    `TargetsError` for a store that does not keep all logits or an `out` that is there,
    `WorkspaceError` if the disk has no room.
    """
    store = TargetStore.open(path, verifies_all=True)
    record, codec = store.manifest, settings.codec
    if not store.codec.keeps_all:
        raise TargetsError(
            f"{path}: its codec, {record.codec['name']}, does not keep all logits; only a store of "
            f"{' or '.join(WHOLE)} can be converted"
        )
    if codec.reads_hidden and record.codec["name"] != codec.name:
        raise TargetsError(
            f"targets.codec = {codec.name}: {path} keeps logits ({record.codec['name']}), and no "
            "hidden states can be made of them; choose another codec"
        )
    if out.exists():
        raise TargetsError(f"{out}: already there; give another name, or remove it first")
    codec.check(record.outputs)
    check_outputs(codec, record.distribution, owner=f"the store {path}")
    _check_room(store, out, settings)
    with appearing(out) as folder, TargetWriter(folder, codec) as writer:
        examples = _rewritten(store, writer, settings, torch.device(device))
        origin = record.origin | {"converted": {"fingerprint": record.fingerprint, **record.codec}}
        manifest = writer.finish(
            examples,
            tokens=record.tokens,
            labels=record.labels,
            origin=origin,
            distribution=record.distribution,
        )
        manifest = _measured(store, TargetStore(folder, manifest), torch.device(device))
        manifest.save(folder)
    return manifest


def _rewritten(
    store: TargetStore, writer: TargetWriter, settings: StoredTargets, device: torch.device
) -> list[int]:
    """Have all examples written anew, in their order; how many each shard has."""
    keys, positions = store.keys, store.positions
    examples = []
    with track("convert", int(positions.sum()), unit="positions") as bar:
        shards = pieces(positions, np.arange(len(keys)), settings.shard_tokens)
        for number, shard in enumerate(shards):
            parts = []
            for rows in pieces(positions, shard, POSITIONS):
                output = _teacher_output(store, rows, device)
                writer.describe(output)
                draws = Draws(settings.seed, keys[rows], positions[rows])
                parts.append(settings.codec.select(output, draws))
                bar.advance(int(positions[rows].sum()))
            arrays = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
            writer.write(number, keys[shard], positions[shard], arrays)
            examples.append(len(shard))
    return examples


def _teacher_output(store: TargetStore, rows: np.ndarray, device: torch.device) -> TeacherOutput:
    targets = store.read(rows, device)
    assert isinstance(targets, SoftTargets | HiddenTargets), "of a codec that keeps all logits"
    if isinstance(targets, SoftTargets):
        return Outputs(targets.logits)
    return HiddenOutputs(targets.hidden, targets.head)


def _measured(store: TargetStore, converted: TargetStore, device: torch.device) -> StoreManifest:
    """The manifest with its quality: of a few examples from all over the store."""
    manifest, count = converted.manifest, len(store.positions)
    if manifest.outputs < 2 or not count:
        return manifest
    examples = int(QUALITY_POSITIONS / max(1.0, float(store.positions.mean()))) + 1
    rows = np.unique(np.linspace(0, count - 1, min(count, examples)).astype(int))
    targets = converted.read(converted.rows(store.keys[rows]), device)
    means = quality(_teacher_output(store, rows, device), targets, manifest.distribution)
    return replace(manifest, quality=means)


def _check_room(store: TargetStore, out: Path, settings: StoredTargets) -> None:
    manifest = store.manifest
    hidden = 0
    if settings.codec.reads_hidden:
        targets = store.read(np.zeros(1, np.int64))
        assert isinstance(targets, HiddenTargets)
        hidden = targets.hidden.shape[1]
    expected = store_bytes(
        settings.codec,
        examples=manifest.examples,
        positions=manifest.positions,
        outputs=manifest.outputs,
        hidden=hidden,
    )
    folder = next(folder for folder in out.absolute().parents if folder.is_dir())
    check_room(settings.codec, expected, shutil.disk_usage(folder).free, folder)
