"""Stage: a teacher and text -> a target store."""

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.artifacts.shared_work import remove_drafts
from distillkit.artifacts.versions import VERSIONS
from distillkit.console.progress import say
from distillkit.console.wording import size
from distillkit.errors import ModelError
from distillkit.models.shapes import meta_model, shape_of
from distillkit.stages.target_capture import TargetCapture
from distillkit.stages.target_work import NO_STATES, TargetWork
from distillkit.stages.teacher import TeacherModel
from distillkit.targets import (
    StoredTargets,
    StoreManifest,
    TargetStore,
    expected_size,
    hidden_states,
)
from distillkit.targets.average import average
from distillkit.targets.codecs.registry import record_of
from distillkit.targets.quality import quality
from distillkit.tasks import Task, identity_of
from distillkit.token_table import TokenTable
from distillkit.training.batching import padding_waste
from distillkit.training.learning import environment
from distillkit.types import LabelSpace, StoredLayers

MOST_OUTPUTS, MOST_HIDDEN = 2**19, 2**15  # of a teacher that is not yet known
QUALITY_POSITIONS = 512  # that are asked again, to measure what the codec keeps


def fingerprint_fields(
    settings: StoredTargets, origin: dict[str, Any], task: Task, states: StoredLayers = NO_STATES
) -> dict[str, Any]:
    """What decides a target store: who was asked about what, and how the answers are kept.

    Not the batches of the forward pass nor the shards: they do not change what the store means.
    """
    return {
        "version": VERSIONS["targets"],
        "origin": origin,
        **identity_of(task),
        **task.feature_fields(held_out=False),
        "codec": record_of(settings.codec),
        "seed": settings.seed,
        "precision": settings.precision,
        **({"states": hidden_states.settings(states)} if states else {}),
    }


def generate_targets(work: TargetWork, *, out: Path) -> dict[str, Any]:
    """Capture the teacher's outputs on all examples, as the codec keeps them, under `out`.

    What an earlier, killed run left under `out` is not captured again, and processes that
    `TargetHelp` takes part with capture some of it. Raises `WorkspaceError` before the teacher is
    loaded if the disk has no room for what is expected. Returns the manifest's metadata.
    """
    examples, settings = work.examples, work.settings
    check_room(
        *(work.teacher, work.task, work.space, examples),
        settings=settings,
        out=out,
        states=work.states,
    )
    with closing(work.queue(out)) as queue:
        queue.lead()
        if work.device:
            queue.take_device(work.device)
        capture = work.capture(queue, out)
        manifest = capture.run(labels=list(work.space.names), origin=work.origin)
    remove_drafts(out)  # of processes that died beside this one
    if manifest.outputs > 1:
        sample = _sample(examples, settings.batch_tokens)
        manifest = _measured(manifest, capture, examples.keys, sample, out=out)
    padding = padding_waste(examples.lengths, work.buckets)
    _say_size(manifest, padding, out)
    return {
        "examples": manifest.examples,
        "tokens": manifest.tokens,
        "padding": round(padding, 4),
        "precision": work.precision,
        "environment": environment(),
    }


def _measured(
    manifest: StoreManifest,
    capture: TargetCapture,
    keys: np.ndarray,
    sample: np.ndarray,
    *,
    out: Path,
) -> StoreManifest:
    """The manifest with the codec's loss of a `sample` of examples, which are forwarded again."""
    store = TargetStore(out, manifest)
    (_, outputs), *_ = capture.outputs([sample])
    decoded = store.read(store.rows(keys[sample]), capture.device)
    manifest = replace(manifest, quality=quality(outputs, decoded, manifest.distribution))
    manifest.save(out)
    return manifest


def _say_size(manifest: StoreManifest, padding: float, out: Path) -> None:
    parts = [StoreManifest.open(folder) for folder in hidden_states.parts_of(out)]
    total = sum(shard.bytes for store in (manifest, *parts) for shard in store.shards)
    say(
        f"targets: {manifest.examples:,} examples, {manifest.tokens:,} tokens, "
        f"{size(total)} in {len(manifest.shards)} shard{'s' * (len(manifest.shards) != 1)}; "
        f"padding {padding:.1%}"
    )


def average_targets(
    members: Sequence[TargetStore],
    shares: Sequence[float],
    *,
    settings: StoredTargets,
    device: torch.device,
    out: Path,
) -> dict[str, Any]:
    """Keep the weighted mean of what several teachers said, as the codec keeps it, under `out`."""
    codec, seed = settings.codec, settings.seed
    manifest = average(members, shares, out, codec=codec, seed=seed, device=device)
    say(
        f"targets: the average of {len(members)} teachers, {manifest.examples:,} examples, "
        f"{size(sum(s.bytes for s in manifest.shards))}"
    )
    return {
        "examples": manifest.examples,
        "tokens": manifest.tokens,
        "members": [store.manifest.fingerprint for store in members],
        "environment": environment(),
    }


def check_room(
    teacher: TeacherModel,
    task: Task,
    space: LabelSpace,
    examples: TokenTable,
    *,
    settings: StoredTargets,
    out: Path,
    states: StoredLayers = NO_STATES,
) -> None:
    """Raise `WorkspaceError` if the targets are expected to be larger than the disk has room for.

    The teacher's config and tokenizer are read only where the largest teacher would not fit.
    """
    room = shutil.disk_usage(out).free
    room += sum(shard.stat().st_size for shard in out.rglob("shard-*.arrow"))
    counts = {"examples": len(examples), "positions": int(examples.positions.sum())}

    def expects(outputs: int, hidden: int) -> float:
        states_size = hidden_states.states_bytes(
            states, examples=len(examples), tokens=len(examples.ids), hidden=hidden
        )
        return states_size + expected_size.store_bytes(
            settings.codec, **counts, outputs=outputs, hidden=hidden
        )

    if expects(MOST_OUTPUTS, MOST_HIDDEN) <= room:
        return
    saved = teacher.saved
    options: dict[str, Any] = {"key": saved.key, "trust_remote_code": saved.trust_remote_code}
    try:
        hidden = shape_of(meta_model(saved.folder, task.auto_class, **options)).hidden
        width = task.width(task.load_tokenizer(saved.folder, **options), space)
    except ModelError:
        return  # loading it will say what is wrong
    advice = more_room(settings.codec.name, task.family)
    expected_size.check_room(
        settings.codec, expects(width, hidden), room, out.parent, advice=advice
    )


def more_room(codec: str, family: str) -> str:
    """What to do about a disk that is too small; `codec` is empty where nothing is stored."""
    smaller = family == "language" and codec not in ("", "sampled")
    if smaller:
        return "choose a smaller codec (targets=sampled), or set workspace=FOLDER on another disk"
    return "free some space, or set workspace=FOLDER on another disk"


def _sample(examples: TokenTable, tokens: int) -> np.ndarray:
    """A few examples from all over the data: one forward pass, of `QUALITY_POSITIONS` at most."""
    enough = int(QUALITY_POSITIONS / max(1.0, float(examples.positions.mean()))) + 1
    count = min(len(examples), enough, max(1, tokens // int(examples.lengths.max())))
    return np.unique(np.linspace(0, len(examples) - 1, count).astype(int))
