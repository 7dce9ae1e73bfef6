"""Training a model on tokenised examples: shared by teacher, student and control."""

import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from distillkit.artifacts.damage import reading
from distillkit.artifacts.digests import file_sha256
from distillkit.console.progress import clock, rank, say, warn
from distillkit.metrics.titles import title
from distillkit.models.execution import executing
from distillkit.models.packing import keeps_packed_apart
from distillkit.token_table import TokenTable
from distillkit.training.batch_source import PlannedBatches
from distillkit.training.batching import PackedPlan, PaddedPlan, Plan, row_waste
from distillkit.training.collation import collator
from distillkit.training.distillation import Distillation
from distillkit.training.distributed import compute_device
from distillkit.training.job import TrainingJob
from distillkit.training.settings import TrainSettings
from distillkit.training.trainer import Trainer, check_batch_size
from distillkit.training.validation import validation
from distillkit.types import FitReport

MODEL = "model"
HARDLY = 0.9  # of the loss that a training began with: so much is left where nothing was learnt


def learn(
    model: Any,
    tokenizer: Any,
    job: TrainingJob,
    *,
    out: Path,
    label: str,
    start_counts: bool = False,
    finish: Callable[[Any], None] | None = None,
) -> dict[str, Any]:
    """Train `model`, and save it and its tokenizer under `out`/model; return the metadata.

    With `start_counts` the model stays as it comes where training finds nothing better. Of several
    processes only the first saves; the others return {}. `finish` makes the trained model the one
    that is saved.
    """
    settings, examples, task = job.settings, job.examples, job.task
    with executing(model, settings):
        plan, report = _trained(model, tokenizer, job, out, label, start_counts=start_counts)
    if rank():
        return {}
    if finish:
        finish(model)
    if (out / MODEL).exists():  # half of it, of a killed run
        shutil.rmtree(out / MODEL)
    task.save(model, tokenizer, out / MODEL)
    best = next(row for row in reversed(report.history) if row["step"] == report.best_step)
    say(
        f"{label}: {_steps(report.steps, report.planned_steps)} in {clock(report.seconds)}, "
        f"validation {title(task.headline)} {best[f'validation_{task.headline}']:.4f} "
        f"(kept step {report.best_step:,})"
    )
    if report.steps < report.planned_steps and job.batch_key.startswith("trainer."):
        warn_unlearnt(report.history, settings, label)
    facts = {"parameters": model.num_parameters(), "layer_maps": job.loss.drawings}
    return metadata(report, out, examples, plan) | facts


def _trained(
    model: Any, tokenizer: Any, job: TrainingJob, out: Path, label: str, *, start_counts: bool
) -> tuple[Plan, FitReport]:
    """Train a model that runs by its settings already; its batches, and what training did."""
    device = compute_device()
    plan = batch_plan(job, model)
    report = Trainer(
        model,
        Distillation(job, model, tokenizer, device),
        planned_batches(job, plan, tokenizer, device),
        make_optimizer=job.make_optimizer,
        schedule=job.schedule,
        settings=job.settings,
        seed=job.seed,
        evaluate=validation(job, tokenizer, device),
        out=out,
        label=label,
        start_counts=start_counts,
    ).run()
    return plan, report


def warn_unlearnt(
    history: Sequence[Mapping[str, float]], settings: TrainSettings, label: str
) -> None:
    """Warn of a training that patience ended before its loss fell: it may have learnt nothing."""
    losses = [row["loss"] for row in history if "loss" in row]
    if settings.patience is None or losses[-1] <= HARDLY * losses[0]:
        return
    warn(
        f"{label}: trainer.patience = {settings.patience} ended it while its loss was "
        f"{losses[-1] / losses[0]:.0%} of what it began with, so it may have learnt nothing yet; "
        "trainer.patience_below=0.5 has it wait until half is gone"
    )


def _steps(steps: int, planned: int) -> str:
    """How many steps a training took; fewer than planned where its patience ran out."""
    return f"{steps:,} steps" if steps == planned else f"{steps:,} of {planned:,} steps"


def batch_plan(job: TrainingJob, model: Any) -> Plan:
    """Which examples share a batch; of a task that packs, which share a row.

    Raises `DataError` for a batch that the data cannot fill.
    """
    lengths, task = job.examples.lengths, job.task
    size = job.settings.batch_size
    plan: Plan
    if task.packs and keeps_packed_apart(model):
        plan = PackedPlan(lengths, size=size, seed=job.seed, block=task.max_length)
        check_batch_size(size, plan.rows_per_epoch, key=job.batch_key, unit="packed rows")
    else:
        plan = PaddedPlan(lengths, size=size, seed=job.seed)
        check_batch_size(size, len(lengths), key=job.batch_key)
    return plan


def planned_batches(
    job: TrainingJob, plan: Plan, tokenizer: Any, device: torch.device
) -> PlannedBatches:
    """The job's examples in the batches of `plan`, collated as its loss needs them."""
    block = plan.block if isinstance(plan, PackedPlan) else None
    collate = collator(
        job.examples, tokenizer, device, block=block, by_text=job.loss.needs_activations
    )
    return PlannedBatches(plan, job.examples.positions, collate, job.settings.micro_batch_size)


def metadata(report: FitReport, out: Path, examples: TokenTable, plan: Plan) -> dict[str, Any]:
    """A manifest's record of a finished training run."""
    steps = range(1, min(plan.steps_per_epoch, report.steps) + 1)
    return {
        "fit": {k: v for k, v in asdict(report).items() if k != "history"},
        "examples": len(examples),
        "tokens": int(sum(row["tokens"] for row in report.history)),
        "positions": int(examples.positions.sum()),
        "padding": round(row_waste(examples.lengths, [plan.rows(step) for step in steps]), 4),
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
    with reading(folder):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]
