"""Training a classifier on tokenised examples: shared by teacher, student and control."""

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from distillkit.artifacts import file_sha256
from distillkit.data.tokens import TokenTable
from distillkit.engine.batching import EpochPlan, length_buckets, padding_waste
from distillkit.engine.checkpoint import Checkpoints
from distillkit.engine.collation import Collator
from distillkit.engine.forward import all_logits
from distillkit.engine.loop import check_batch_size, fit
from distillkit.engine.schedules import Schedule
from distillkit.engine.settings import TrainSettings
from distillkit.progress import clock, rank, say
from distillkit.records import Batch, FitReport, HardLabels, LossTerms, Outputs, SoftTargets
from distillkit.targets.reader import TargetStore
from distillkit.tasks import Task
from distillkit.tasks.models import save_classifier

MODEL = "model"
VALIDATION_TOKENS = 4096  # a forward pass's size, with padding


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a model learns from and how: everything but the model.

    `store` holds the soft targets of all `examples`; None where the loss looks at labels only.
    """

    task: Task
    loss: torch.nn.Module
    examples: TokenTable
    validation: TokenTable
    store: TargetStore | None
    make_optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
    schedule: Schedule
    settings: TrainSettings
    seed: int
    batch_key: str  # the setting that the batch size came from, for messages


def learn(model: Any, tokenizer: Any, recipe: Recipe, *, out: Path, label: str) -> dict[str, Any]:
    """Train `model` by `recipe`, save it and its tokenizer under `out`/model; return the facts."""
    settings, examples = recipe.settings, recipe.examples
    check_batch_size(settings.batch_size, len(examples), key=recipe.batch_key)
    device = Accelerator().device
    plan = EpochPlan(examples.lengths, size=settings.batch_size, seed=recipe.seed)
    steps = settings.length(plan.steps_per_epoch)
    report = fit(
        model,
        objective(recipe, device),
        plan,
        collator(examples, tokenizer, device),
        make_optimizer=recipe.make_optimizer,
        schedule=recipe.schedule,
        settings=settings,
        steps=steps,
        evaluate=validation(recipe.task, recipe.validation, tokenizer, device, settings),
        out=out,
        label=label,
    )
    if rank():
        return {}
    save_classifier(model, tokenizer, out / MODEL)
    Checkpoints(out).remove()
    kept = next(row for row in reversed(report.history) if row["step"] == report.best_step)
    say(
        f"{label}: {steps:,} steps in {clock(report.seconds)}, validation {recipe.task.headline} "
        f"{kept['validation_score']:.4f} (kept step {report.best_step:,})"
    )
    return facts(report, out, examples, plan) | {"parameters": model.num_parameters()}


def objective(recipe: Recipe, device: torch.device) -> Callable[[Any, Batch], LossTerms]:
    """(model, batch) -> the loss's terms, the soft targets looked up by example."""
    rows = None if recipe.store is None else recipe.store.rows(recipe.examples.keys)

    def terms(model: Any, batch: Batch) -> LossTerms:
        logits = model(**batch.inputs).logits
        soft = None
        if rows is not None and recipe.store is not None:
            soft = SoftTargets(recipe.store.logits(rows[batch.indices]).to(device))
        labels = HardLabels(batch.labels, batch.labelled, recipe.task.per_example)
        value: LossTerms = recipe.loss(Outputs(logits.float()), soft, labels)
        return value

    return terms


def validation(
    task: Task, table: TokenTable, tokenizer: Any, device: torch.device, settings: TrainSettings
) -> Callable[[Any], dict[str, float]]:
    """model -> its validation scores; `score` is the task's headline metric."""
    buckets = length_buckets(table.lengths, tokens=VALIDATION_TOKENS)
    collate = collator(table, tokenizer, device)
    labels = np.array(table.labels)  # a copy: torch takes no read-only memory

    def scores(model: Any) -> dict[str, float]:
        logits = all_logits(model, buckets, collate, precision=settings.precision)
        with torch.no_grad():
            loss = task.per_example(torch.from_numpy(logits), torch.from_numpy(labels)).mean()
        headline = task.headline_score(logits, labels)
        return {"score": headline, task.headline: headline, "loss": float(loss)}

    return scores


def collator(table: TokenTable, tokenizer: Any, device: torch.device) -> Collator:
    """Cuts padded batches from a token table."""
    return Collator(
        ids=table.ids,
        offsets=table.offsets,
        segments=table.segments,
        labels=table.labels,
        labelled=table.labelled,
        pad_id=tokenizer.pad_token_id or 0,
        device=device,
    )


def facts(report: FitReport, out: Path, examples: TokenTable, plan: EpochPlan) -> dict[str, Any]:
    """What a manifest says of a finished training run."""
    batches = [plan.batch(step) for step in range(1, min(plan.steps_per_epoch, report.steps) + 1)]
    return {
        "fit": {k: v for k, v in asdict(report).items() if k != "history"},
        "examples": len(examples),
        "tokens": int(sum(row["tokens"] for row in report.history)),
        "padding": round(padding_waste(examples.lengths, batches), 4),
        "weights_sha256": file_sha256(out / MODEL / "model.safetensors"),
        "environment": environment(),
    }


def environment() -> dict[str, str]:
    """The versions and the machine that a result belongs to."""
    return {
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The logged rows of a training run."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
