"""Stage: a teacher and text -> a target store."""

import shutil
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit import stopping
from distillkit.artifacts.versions import VERSIONS
from distillkit.artifacts.workspace import read_json, write_json
from distillkit.console.progress import say, track
from distillkit.console.wording import size
from distillkit.errors import ModelError, WorkspaceError
from distillkit.models.activations import Watch
from distillkit.models.inference import Ask, answers
from distillkit.models.precision import resolve
from distillkit.models.saved import ordered
from distillkit.models.shapes import dimensions_of, meta_model, shape_of
from distillkit.stages.teacher import TeacherModel
from distillkit.targets import (
    Draws,
    StoredTargets,
    StoreManifest,
    TargetStore,
    TargetWriter,
    unfinished,
)
from distillkit.targets import hidden_states as kept
from distillkit.targets.average import average
from distillkit.targets.codecs.registry import record_of
from distillkit.targets.expected_size import store_bytes
from distillkit.targets.manifest import FILE as STORE
from distillkit.targets.quality import quality
from distillkit.targets.unfinished import Picked, joined
from distillkit.tasks import Task, identity_of
from distillkit.token_table import TokenTable
from distillkit.training.batching import length_buckets, padding_waste
from distillkit.training.distributed import compute_device
from distillkit.training.learning import collator, environment
from distillkit.training.online_teacher import check_finite, watch
from distillkit.training.side_stream import Beside
from distillkit.types import Batch, HiddenOutputs, Inside, LabelSpace, Needs, Outputs, States

PLAN = "plan.json"
MOST_OUTPUTS, MOST_HIDDEN = 2**19, 2**15  # of a teacher that is not yet known
NO_STATES = States()
QUALITY_POSITIONS = 512  # that are asked again, to measure what the codec keeps


def inputs(
    settings: StoredTargets, origin: dict[str, Any], task: Task, states: States = NO_STATES
) -> dict[str, Any]:
    """What decides a target store: who was asked about what, and how the answers are kept.

    Not the batches of the forward pass nor the shards: they do not change what the store means.
    """
    return {
        "version": VERSIONS["targets"],
        "origin": origin,
        **identity_of(task),
        **task.feature_inputs(held_out=False),
        "codec": record_of(settings.codec),
        "seed": settings.seed,
        "precision": settings.precision,
        **({"states": kept.settings(states)} if states else {}),
    }


def generate_targets(
    teacher: TeacherModel,
    task: Task,
    space: LabelSpace,
    examples: TokenTable,
    *,
    settings: StoredTargets,
    origin: dict[str, Any],
    out: Path,
    states: States = NO_STATES,
) -> dict[str, Any]:
    """Ask the teacher about all examples; keep what it says, as the codec keeps it, under `out`.

    The hidden states that `states` names are kept beside it, out of the same forward passes.
    Shards that an earlier, killed run committed are kept. Picking on a GPU, packing and writing go
    on beside the teacher's next forward pass. Raises `WorkspaceError` before the teacher is loaded
    if the disk has no room for what is expected.
    """
    check_room(teacher, task, space, examples, settings=settings, out=out, states=states)
    loaded, saved = teacher.place(task, space), teacher.saved
    device = compute_device()
    lengths, positions = examples.lengths, examples.positions
    buckets = length_buckets(lengths, tokens=settings.batch_tokens)
    shards = _shards(buckets, lengths, settings.shard_tokens)
    _keep_only_this_plan(out, {"batch_tokens": settings.batch_tokens, "shards": len(shards)})
    collate = collator(examples, loaded.tokenizer, device)
    look = watch(loaded.model, Needs(hidden=states.first | states.whole)) if states else None
    ask = task.ask(loaded.tokenizer)
    if look:
        ask = _watched(ask, look)

    def say_of(
        some: list[np.ndarray],
    ) -> Generator[tuple[Batch, Outputs | HiddenOutputs], None, None]:
        answered = answers(loaded.model, ask, some, collate, precision=settings.precision)
        for batch, said in answered:
            yield batch, ordered(said, loaded.order)

    with (
        TargetWriter(out, settings.codec) as writer,
        kept.StatesWriter(out, states, dimensions_of(loaded.model)) as inside,
        Beside(device) as beside,
    ):

        def kept_of(
            said: Outputs | HiddenOutputs, draws: Draws, seen: tuple[Inside, Tensor] | None
        ) -> tuple[Picked, Picked]:
            """What is kept of a batch's answers, and of what was seen inside under the mask."""
            check_finite(said, key=f"{saved.key} = {saved.folder}: what it says")
            return settings.codec.pick(said, draws), inside.pick(*seen) if seen else {}

        def commit(number: int, parts: list[Future[tuple[Picked, Picked]]]) -> None:
            rows = np.concatenate(shards[number])
            keys = examples.keys[rows]
            of_answers, of_states = zip(*(part.result() for part in parts), strict=True)
            writer.write(number, keys, positions[rows], joined(of_answers))
            if look:
                inside.write(number, keys, lengths[rows], joined(of_states))

        def leave(number: int, batches: int, parts: list[Future[tuple[Picked, Picked]]]) -> None:
            """Keep what is done; of a shard that is not full, what its batches gave."""
            beside.wait()
            if batches < len(shards[number]):
                of_answers, of_states = zip(*(part.result() for part in parts), strict=True)
                unfinished.save(out, number, batches, joined(of_answers), joined(of_states))
            for it in both:
                it.wait()
            stopping.check()

        both = (writer, inside)
        todo = [n for n in range(len(shards)) if not all(it.committed(n) for it in both)]
        begun = {n: part for n in todo if (part := unfinished.load(out, n))}
        first = {n: begun[n][0] if n in begun else 0 for n in range(len(shards))}
        before = [b for n, s in enumerate(shards) for b in (s[: first[n]] if n in todo else s)]
        if before:
            done = sum(map(len, before))
            say(f"targets: going on after {done:,} of {len(examples):,} examples")
        # counted in tokens: the longest come first, so their number would foretell too much
        tokens_before = sum(int(lengths[b].sum()) for b in before)
        asked = say_of([bucket for number in todo for bucket in shards[number][first[number] :]])
        stopping.hold()
        with (
            closing(asked),
            track("targets", int(lengths.sum()), done=tokens_before) as progress,
        ):
            for number in todo:
                parts = [_done(begun[number][1:])] if number in begun else []
                batches = first[number]
                for batch, said in islice(asked, len(shards[number]) - batches):
                    bucket = batch.indices
                    draws = Draws(settings.seed, examples.keys[bucket], positions[bucket])
                    writer.describe(said)
                    seen = (look.seen(), batch.inputs["attention_mask"]) if look else None
                    parts.append(beside(partial(kept_of, said, draws, seen)))
                    tokens = int(lengths[bucket].sum())
                    progress.advance(tokens, tokens)
                    batches += 1
                    if stopping.requested():
                        break
                if batches == len(shards[number]):
                    beside(partial(commit, number, parts))
                if stopping.requested():
                    leave(number, batches, parts)
        beside.wait()
        counts = [sum(len(b) for b in shard) for shard in shards]
        inside.finish(counts, tokens=int(lengths.sum()), origin=origin)
        manifest = writer.finish(
            counts,
            tokens=int(lengths.sum()),
            labels=list(space.names),
            origin=origin,
            distribution=task.distribution,
        )
    if manifest.outputs > 1:
        sample = _sample(positions, lengths, settings.batch_tokens)
        store = TargetStore(out, manifest)
        (_, said), *_ = say_of([sample])
        decoded = store.read(store.rows(examples.keys[sample]), device)
        manifest = replace(manifest, quality=quality(said, decoded, task.distribution))
        manifest.save(out)
    waste = padding_waste(lengths, buckets)
    parts_there = [StoreManifest.open(folder) for folder in kept.parts_of(out)]
    written = sum(s.bytes for held in (manifest, *parts_there) for s in held.shards)
    say(
        f"targets: {manifest.examples:,} examples, {manifest.tokens:,} tokens, "
        f"{size(written)} in {len(manifest.shards)} shard{'s' * (len(manifest.shards) != 1)}; "
        f"padding {waste:.1%}"
    )
    return {
        "examples": manifest.examples,
        "tokens": manifest.tokens,
        "padding": round(waste, 4),
        "precision": str(resolve(settings.precision, device)).removeprefix("torch."),
        "environment": environment(),
    }


def average_targets(
    members: Sequence[TargetStore],
    shares: Sequence[float],
    *,
    settings: StoredTargets,
    device: torch.device,
    out: Path,
) -> dict[str, Any]:
    """Keep the weighted mean of what several teachers said, as the codec keeps it, under `out`."""
    manifest = average(
        members, shares, out, codec=settings.codec, seed=settings.seed, device=device
    )
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
    states: States = NO_STATES,
) -> None:
    """Raise `WorkspaceError` if the targets are expected to be larger than the disk has room for.

    The teacher's config and tokenizer are read only where the largest teacher would not fit.
    """
    room = shutil.disk_usage(out).free
    room += sum(shard.stat().st_size for shard in out.rglob("shard-*.arrow"))
    counts = {"examples": len(examples), "positions": int(examples.positions.sum())}

    def expects(outputs: int, hidden: int) -> float:
        beside = kept.states_bytes(
            states, examples=len(examples), tokens=len(examples.ids), hidden=hidden
        )
        return beside + store_bytes(settings.codec, **counts, outputs=outputs, hidden=hidden)

    if expects(MOST_OUTPUTS, MOST_HIDDEN) <= room:
        return
    saved = teacher.saved
    known: dict[str, Any] = {"key": saved.key, "trust_remote_code": saved.trust_remote_code}
    try:
        hidden = shape_of(meta_model(saved.folder, task.auto_class, **known)).hidden
        width = task.width(task.load_tokenizer(saved.folder, **known), space)
    except ModelError:
        return  # loading it will say what is wrong
    expected = expects(width, hidden)
    if expected > room:
        raise WorkspaceError(
            f"targets.codec = {settings.codec.name}: about {size(expected)} of targets are "
            f"expected, and {size(room)} are free in {out.parent}; "
            f"{more_room(settings.codec.name, task.family)}"
        )


def more_room(codec: str, family: str) -> str:
    """What to do about a disk that is too small; `codec` is empty where nothing is stored."""
    smaller = family == "language" and codec not in ("", "sampled")
    if smaller:
        return "choose a smaller codec (targets=sampled), or set workspace=FOLDER on another disk"
    return "free some space, or set workspace=FOLDER on another disk"


def _watched(ask: Ask, look: Watch) -> Ask:
    """The same question, with a watch over what is inside."""

    def asked(model: Any, batch: Batch) -> Outputs | HiddenOutputs:
        with look():
            return ask(model, batch)

    return asked


def _done(values: tuple[Picked, Picked]) -> Future[tuple[Picked, Picked]]:
    """What an earlier run left, as what this one waits for."""
    found: Future[tuple[Picked, Picked]] = Future()
    found.set_result(values)
    return found


def _sample(positions: np.ndarray, lengths: np.ndarray, tokens: int) -> np.ndarray:
    """A few examples from all over the data: one forward pass, of `QUALITY_POSITIONS` at most."""
    enough = int(QUALITY_POSITIONS / max(1.0, float(positions.mean()))) + 1
    wanted = min(len(positions), enough, max(1, tokens // int(lengths.max())))
    return np.unique(np.linspace(0, len(positions) - 1, wanted).astype(int))


def _shards(buckets: list[np.ndarray], lengths: np.ndarray, tokens: int) -> list[list[np.ndarray]]:
    """Group whole buckets into shards of about `tokens` tokens."""
    shards: list[list[np.ndarray]] = [[]]
    held = 0
    for bucket in buckets:
        if held >= tokens:
            shards.append([])
            held = 0
        shards[-1].append(bucket)
        held += int(lengths[bucket].sum())
    return shards


def _keep_only_this_plan(out: Path, plan: dict[str, int]) -> None:
    """Shards of a run that cut the work otherwise cannot be gone on with: begin anew."""
    path = out / PLAN
    try:
        if read_json(path) == plan:
            return
    except (OSError, ValueError):
        pass  # none, or a part of one
    for pattern in ("shard-*.arrow*", STORE):
        for made in out.rglob(pattern):
            made.unlink()
    unfinished.remove(out)
    write_json(path, plan)
