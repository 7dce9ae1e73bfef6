"""Stage: a teacher and text -> a target store."""

from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from distillkit.artifacts import read_json, write_json
from distillkit.data.tokens import TokenTable
from distillkit.engine.batching import length_buckets, padding_waste
from distillkit.engine.forward import forward
from distillkit.engine.precision import resolve
from distillkit.progress import say, track
from distillkit.records import LabelSpace
from distillkit.stages.learning import collator, environment
from distillkit.stages.teacher import TeacherModel
from distillkit.targets import Dense, StoredTargets, TargetWriter
from distillkit.tasks import Task

PLAN = "plan.json"


def inputs(settings: StoredTargets, origin: dict[str, Any], task: Task) -> dict[str, Any]:
    """What decides a target store: who was asked about what, and how the answers are kept.

    Not the batches of the forward pass nor the shards: they do not change what the store means.
    """
    return {
        "version": 1,
        "origin": origin,
        "task": type(task).__name__,
        "max_length": task.max_length,
        "codec": Dense(settings.dtype).settings(),
        "precision": settings.precision,
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
) -> dict[str, Any]:
    """Ask the teacher about all examples; write its logits, in the data's label order, under `out`.

    Shards that an earlier, killed run committed are kept.
    """
    model, tokenizer, order = teacher.load(task, space)
    device = Accelerator().device
    model.to(device)
    lengths = examples.lengths
    buckets = length_buckets(lengths, tokens=settings.batch_tokens)
    shards = _shards(buckets, settings.shard_examples)
    _keep_only_this_plan(out, {"batch_tokens": settings.batch_tokens, "shards": len(shards)})
    writer = TargetWriter(out, Dense(settings.dtype), space.outputs)
    todo = [number for number in range(len(shards)) if not writer.committed(number)]
    before = [b for n, shard in enumerate(shards) if n not in todo for b in shard]
    if before:
        done = sum(map(len, before))
        say(f"targets: going on after {done:,} of {len(examples):,} examples")
    collate = collator(examples, tokenizer, device)
    # counted in tokens: the longest examples come first, so their number would foretell too much
    tokens_before = sum(int(lengths[b].sum()) for b in before)
    with track("targets", int(lengths.sum()), done=tokens_before) as progress:
        for number in todo:
            parts = []
            for bucket, logits in forward(
                model, shards[number], collate, precision=settings.precision
            ):
                parts.append(logits[:, order])
                tokens = int(lengths[bucket].sum())
                progress.advance(tokens, tokens)
            rows = np.concatenate(shards[number])
            writer.write(number, examples.keys[rows], np.concatenate(parts))
    (out / PLAN).unlink()
    manifest = writer.finish(
        [sum(len(b) for b in shard) for shard in shards],
        tokens=int(lengths.sum()),
        labels=list(space.names),
        origin=origin,
    )
    waste = padding_waste(lengths, buckets)
    say(
        f"targets: {manifest.examples:,} examples, {manifest.tokens:,} tokens, "
        f"{sum(s.bytes for s in manifest.shards) / 1e6:.1f} MB in {len(manifest.shards)} shards; "
        f"padding {waste:.1%}"
    )
    return {
        "examples": manifest.examples,
        "tokens": manifest.tokens,
        "padding": round(waste, 4),
        "precision": str(resolve(settings.precision, device)).removeprefix("torch."),
        "environment": environment(),
    }


def _shards(buckets: list[np.ndarray], examples: int) -> list[list[np.ndarray]]:
    """Group whole buckets into shards of about `examples` examples."""
    shards: list[list[np.ndarray]] = [[]]
    held = 0
    for bucket in buckets:
        if held >= examples:
            shards.append([])
            held = 0
        shards[-1].append(bucket)
        held += len(bucket)
    return shards


def _keep_only_this_plan(out: Path, plan: dict[str, int]) -> None:
    """Shards of a run that cut the work otherwise cannot be gone on with: begin anew."""
    path = out / PLAN
    if path.exists() and read_json(path) == plan:
        return
    for shard in out.glob("shard-*.arrow"):
        shard.unlink()
    write_json(path, plan)
