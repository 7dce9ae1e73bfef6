"""Training a model on tokenised examples: shared by teacher, student and control."""

import json
import math
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.artifacts.damage import reading
from distillkit.artifacts.digests import file_sha256
from distillkit.console.progress import clock, rank, say, warn
from distillkit.errors import TargetsError
from distillkit.losses.loss import Loss
from distillkit.metrics.titles import title
from distillkit.models.activations import rows_of_texts
from distillkit.models.inference import all_logits, answers
from distillkit.models.packing import keeps_packed_apart
from distillkit.models.shapes import dimensions_of
from distillkit.schedules import LearningRateSchedule
from distillkit.targets.hidden_states import StoredStates
from distillkit.targets.reader import TargetStore
from distillkit.tasks import HeldOut, SequenceTask, Task
from distillkit.tasks.shared_words import Selection
from distillkit.token_table import TokenTable
from distillkit.training.batch_source import PlannedBatches
from distillkit.training.batching import PackedPlan, PaddedPlan, Plan, length_buckets, row_waste
from distillkit.training.collation import Collator
from distillkit.training.distributed import compute_device
from distillkit.training.language_scores import mean_loss
from distillkit.training.objective import Objective
from distillkit.training.online_teacher import OnlineEnsemble, OnlineTeacher, watch
from distillkit.training.settings import TrainSettings
from distillkit.training.trainer import Trainer, check_batch_size
from distillkit.types import (
    Batch,
    Dimensions,
    FitReport,
    HardLabels,
    Inside,
    Insides,
    LabelSpace,
    LossTerms,
)

MODEL = "model"
VALIDATION_TOKENS = 4096  # a forward pass's size, with padding
UNNAMED = LabelSpace(())
HARDLY = 0.9  # of the loss that a training began with: so much is left where nothing was learnt
MOST_NATS = 50.0  # a loss whose perplexity is still worth a number


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What a model learns from and how: everything but the model.

    `store` holds the soft targets of all `examples`, and `states` the teacher's hidden states
    where the loss looks at them, or a `teacher` is asked about each batch; neither is there where
    the loss looks at labels only.
    """

    task: Task
    loss: Loss
    examples: TokenTable
    validation: TokenTable
    store: TargetStore | None
    make_optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
    schedule: LearningRateSchedule
    settings: TrainSettings
    seed: int
    batch_key: str  # the setting that the batch size came from, for messages
    teacher: OnlineTeacher | OnlineEnsemble | None = None
    states: StoredStates | None = None  # of the teacher, in the store, for a loss on its inside
    labels: LabelSpace = UNNAMED  # what the task tells apart, where it has names
    selection: Selection | None = None  # of what the store has, where it has more than the examples


def learn(
    model: Any,
    tokenizer: Any,
    job: TrainingJob,
    *,
    out: Path,
    label: str,
    start_counts: bool = False,
) -> dict[str, Any]:
    """Train `model` by `job`, save it and its tokenizer under `out`/model; return the facts.

    With `start_counts` it is kept as it comes where training finds nothing better.
    """
    settings, examples, task = job.settings, job.examples, job.task
    device = compute_device()
    plan = batch_plan(job, model)
    report = Trainer(
        model,
        Distillation(job, model, tokenizer, device),
        planned_batches(job, plan, tokenizer, device),
        make_optimizer=job.make_optimizer,
        schedule=job.schedule,
        settings=settings,
        seed=job.seed,
        evaluate=validation(job, tokenizer, device),
        out=out,
        label=label,
        start_counts=start_counts,
    ).run()
    if rank():
        return {}
    if (out / MODEL).exists():  # half of it, of a killed run
        shutil.rmtree(out / MODEL)
    task.save(model, tokenizer, out / MODEL)
    kept = next(row for row in reversed(report.history) if row["step"] == report.best_step)
    say(
        f"{label}: {_steps(report.steps, report.planned_steps)} in {clock(report.seconds)}, "
        f"validation {title(task.headline)} {kept[f'validation_{task.headline}']:.4f} "
        f"(kept step {report.best_step:,})"
    )
    if report.steps < report.planned_steps and job.batch_key.startswith("trainer."):
        warn_unlearnt(report.history, settings, label)
    about = {"parameters": model.num_parameters(), "layer_maps": job.loss.drawings}
    return facts(report, out, examples, plan) | about


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


def _steps(made: int, planned: int) -> str:
    """How many steps a training took; fewer than planned where its patience ran out."""
    return f"{made:,} steps" if made == planned else f"{made:,} of {planned:,} steps"


def batch_plan(job: TrainingJob, model: Any) -> Plan:
    """Which examples share a batch; of a task that packs, which share a row.

    Raises `DataError` for a batch that the data cannot fill.
    """
    lengths, task = job.examples.lengths, job.task
    size = job.settings.batch_size
    plan: Plan
    if task.packs and keeps_packed_apart(model):
        plan = PackedPlan(lengths, size=size, seed=job.seed, block=task.max_length)
        check_batch_size(size, plan.rows_per_epoch, key=job.batch_key, what="packed rows")
    else:
        plan = PaddedPlan(lengths, size=size, seed=job.seed)
        check_batch_size(size, len(lengths), key=job.batch_key)
    return plan


def planned_batches(
    job: TrainingJob, plan: Plan, tokenizer: Any, device: torch.device
) -> PlannedBatches:
    """The job's examples in the batches of `plan`, collated as its loss needs them."""
    block = plan.block if isinstance(plan, PackedPlan) else None
    collate = collator(job.examples, tokenizer, device, block=block, by_text=job.loss.looks_inside)
    return PlannedBatches(plan, job.examples.positions, collate, job.settings.micro_batch_size)


class Distillation(Objective):
    """The loss of a job on what the model says.

    Soft targets are looked up by example, or the teacher is asked. A loss that looks inside is
    bound to both models here, and each is watched while it reads.
    """

    def __init__(self, job: TrainingJob, model: Any, tokenizer: Any, device: torch.device) -> None:
        super().__init__()
        self.loss = job.loss
        self._store, self._device = job.store, device
        self._rows = None if job.store is None else job.store.rows(job.examples.keys)
        self._ask, self._per_example = job.task.ask(tokenizer), job.task.per_example
        self._teacher, self._watch = job.teacher, None
        self._states, self._selection = job.states, job.selection
        self._check_positions(job)
        if self.loss.looks_inside:
            torch.manual_seed(job.seed)  # the projections
            self.loss.bind(dimensions_of(model), _looked_into(job))
            mine, theirs = self.loss.needs_inside
            self._watch = watch(model, mine)
            if isinstance(job.teacher, OnlineTeacher):
                job.teacher.look_at(theirs)
        if self._states is not None:
            self._states.look_up(job.examples.keys)

    def _check_positions(self, job: TrainingJob) -> None:
        """Raise `TargetsError` for a store of words that were cut otherwise."""
        if self._store is None or self._rows is None or job.examples.words is None:
            return
        selection, table = job.selection, job.examples
        expected = table.positions if selection is None else selection.counts
        if not np.array_equal(self._store.positions[self._rows], expected):
            raise TargetsError(
                f"{self._store.folder}: its sentences were cut elsewhere; it was made with another "
                "task.max_length"
            )

    @property
    def has_unused_parameters(self) -> bool:
        """Whether the loss may leave parameters of the model without a gradient."""
        return self.loss.has_unused_parameters

    @property
    def scheduled_values(self) -> dict[str, float]:
        """Weights and temperatures that follow a schedule, and what a loss settles by itself."""
        return self.loss.scheduled_values

    def forward(self, model: Any, batch: Batch) -> LossTerms:
        """The loss's terms on one micro-batch."""
        with self._watch() if self._watch else nullcontext():
            said = self._ask(model, batch)
        soft, insides = None, None
        if self._store is not None and self._rows is not None:
            soft = self._store.read(self._rows[batch.indices], self._device)
            if self._selection is not None:
                soft = soft.part(self._selection(batch.indices))
            if self._states is not None and batch.mask is not None:
                insides = self._insides(batch, self._states.read(batch.indices, batch.mask))
        elif self._teacher is not None:
            soft, seen = self._teacher(batch)
            seen = seen and rows_of_texts(seen, batch.places)
            insides = self._insides(batch, seen)
        labels = HardLabels(batch.labels, batch.labelled, self._per_example)
        value: LossTerms = self.loss(said, soft, labels, insides)
        return value

    def _insides(self, batch: Batch, teacher: Inside | None) -> Insides | None:
        if self._watch is None or teacher is None:
            return None
        assert batch.mask is not None and batch.owners is not None
        return Insides(
            student=rows_of_texts(self._watch.seen(), batch.places),
            teacher=teacher,
            mask=batch.mask,
            owners=batch.owners,
        )

    def on_step_begin(self, progress: float) -> None:
        """Tell the loss how far training is."""
        self.loss.on_step_begin(progress)

    def on_step_end(self, shares: Mapping[str, float]) -> None:
        """Tell the loss what its terms came to in a step."""
        self.loss.on_step_end(shares)


def _looked_into(job: TrainingJob) -> Dimensions:
    """The sizes of the teacher that a loss looks into."""
    if job.states is not None:
        return job.states.teacher
    assert isinstance(job.teacher, OnlineTeacher), "what is inside is kept, or the teacher is"
    return dimensions_of(job.teacher.loaded.model)


def validation(
    job: TrainingJob, tokenizer: Any, device: torch.device
) -> Callable[[Any], dict[str, float]]:
    """model -> its validation scores; of `score`, more is better."""
    task, table, settings = job.task, job.validation, job.settings
    buckets = length_buckets(table.lengths, tokens=VALIDATION_TOKENS)
    collate = collator(table, tokenizer, device)
    ask = task.ask(tokenizer)
    if not isinstance(task, SequenceTask):

        def language_scores(model: Any) -> dict[str, float]:
            loss = mean_loss(answers(model, ask, buckets, collate, precision=settings.precision))
            return {"score": -loss, "perplexity": math.exp(min(loss, MOST_NATS)), "loss": loss}

        return language_scores
    labels = np.array(table.labels)  # a copy: torch takes no read-only memory
    held_out, offsets = HeldOut(table, job.labels), table.position_offsets

    def scores(model: Any) -> dict[str, float]:
        logits = all_logits(
            model, ask, buckets, collate, precision=settings.precision, offsets=offsets
        )
        with torch.no_grad():
            loss = task.per_example(torch.from_numpy(logits), torch.from_numpy(labels)).mean()
        headline = task.headline_score(task.outcomes(logits, held_out))
        return {"score": headline, task.headline: headline, "loss": float(loss)}

    return scores


def collator(
    table: TokenTable,
    tokenizer: Any,
    device: torch.device,
    *,
    block: int | None = None,
    by_text: bool = False,
) -> Collator:
    """Cuts padded batches, or with `block` packed ones, from a token table."""
    pad = tokenizer.pad_token_id
    return Collator(
        table, pad_id=0 if pad is None else pad, device=device, block=block, by_text=by_text
    )


def facts(report: FitReport, out: Path, examples: TokenTable, plan: Plan) -> dict[str, Any]:
    """What a manifest says of a finished training run."""
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
