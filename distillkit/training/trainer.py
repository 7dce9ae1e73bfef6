"""The one training loop: teachers, students and controls are all trained here.

A step's batch, dropout and learning rate follow from the seed and the step's number, and a
checkpoint holds the rest (weights, optimizer, the loss's buffers, the source's state, progress): a
run that was killed and started again ends with the same bits as one that was not, on a GPU up to
the order in which its kernels add.
"""

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit import stopping
from distillkit.artifacts.workspace import SHARED_SOON, atomic
from distillkit.console.progress import Track, say, track
from distillkit.errors import DataError, TrainingError
from distillkit.models.precision import resolve
from distillkit.schedules import LearningRateSchedule
from distillkit.training.batch_source import BatchSource
from distillkit.training.checkpoint import SHARE, Checkpoints, Progress
from distillkit.training.distributed import accelerator_for, broadcast, shards, wrap
from distillkit.training.gradients import STOP, accumulate, add, gradient_norm, parameter_groups
from distillkit.training.objective import ModelWithObjective, Objective
from distillkit.training.settings import TrainSettings
from distillkit.training.sharding import gathered_root, unshard
from distillkit.training.tracking import log_rows
from distillkit.types import FitReport

METRICS = "metrics.jsonl"
Evaluate = Callable[[Any], dict[str, float]]  # the higher its `score`, the better


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimizer step: `shares` are its loss and terms, `tokens` its tokens, of all processes.

    `rate` is the learning rate; `is_stopped`: a signal came to one of several processes.
    """

    shares: dict[str, float]
    tokens: int
    rate: float
    is_stopped: bool


@dataclass(eq=False, repr=False)
class Trainer:
    """Minimises an objective over the batches of a source, step by step.

    To make one places the model and takes up the newest checkpoint under `out`, if there is one.
    Parameters of the objective's own are trained with the model's.
    """

    model: torch.nn.Module
    """Trained in place, on the device that `training.distributed` gives."""
    objective: Objective
    source: BatchSource
    _: KW_ONLY
    make_optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
    """Parameter groups, as `parameter_groups` makes them -> an optimizer."""
    schedule: LearningRateSchedule
    """(step, steps) -> the factor on the optimizer's own learning rates."""
    settings: TrainSettings
    seed: int
    """Of dropout and of whatever else is drawn in a step."""
    evaluate: Evaluate
    out: Path
    """Folder of checkpoints and metrics.jsonl; made if it is not there."""
    label: str
    """The progress bar's."""
    start_counts: bool = False
    """Whether the model as it comes is a candidate for the best weights, as step 0."""

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        self.steps = self.settings.length(self.source.steps_per_epoch)
        self._eval_every = self.settings.eval_every or max(1, math.ceil(self.steps / 20))
        unused = self.objective.has_unused_parameters
        self._accelerator = accelerator_for(has_unused_parameters=unused)
        self._dtype = resolve(self.settings.precision, self._accelerator.device)
        self._whole = ModelWithObjective(self.model, self.objective)
        self._is_sharded = shards(self._accelerator)
        if self._is_sharded:  # each process places its part, not all of it
            count = self._accelerator.num_processes
            say(f"{self.label}: FSDP2 shares it out among {count:,} processes")
        else:
            self._whole.to(self._accelerator.device)
        optimizer = self.make_optimizer(parameter_groups(self._whole))
        self._base_rates = [group["lr"] for group in optimizer.param_groups]
        self._wrapped, self._optimizer = wrap(
            self._accelerator, self._whole, optimizer, self._dtype
        )
        self._checkpoints = Checkpoints(self.out)
        self.progress = self._resume()
        self._started = time.monotonic() - self.progress.seconds
        self._last_saved = time.monotonic()

    def run(self) -> FitReport:
        """Train for `steps` optimizer steps at most; leave the kept weights in `model`."""
        stopping.hold()  # a step is whole: a signal waits for its end
        is_over = self._catch_up()
        self._wrapped.train()
        with track(self.label, self.steps, position=self.progress.step) as bar:
            while self.progress.step < self.steps and not is_over:
                is_over = self._end_step(self.step(), bar)
        self.progress.seconds = time.monotonic() - self._started
        self._finish()
        return self._report()

    def step(self) -> StepReport:
        """Take the next optimizer step.

        Raises `TrainingError`, and leaves the weights as they are, when the loss or gradient is no
        longer a number.
        """
        step = self.progress.step + 1
        rate = self._set_rate(step)
        self.objective.on_step_begin((step - 1) / self.steps)
        scheduled = self.objective.scheduled_values
        rank, world = self._accelerator.process_index, self._accelerator.num_processes
        torch.manual_seed(_step_seed(self.seed, step, rank))
        shares = accumulate(
            self._accelerator,
            self._wrapped,
            positions=self.source.positions(step),
            micro_batches=self.source.micro_batches(step, rank, world),
            dtype=self._dtype,
        )
        is_stopped = bool(shares.pop(STOP, 0.0))
        norm = gradient_norm(self._accelerator, self._wrapped, self.settings.max_grad_norm)
        self._check_numbers(step, rate, loss=shares["loss"], gradient=norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.objective.on_step_end(shares)
        self.progress.step = step
        tokens = self.source.tokens(step)
        add(self.progress.window, scheduled | shares | {"tokens": float(tokens), "steps": 1.0})
        return StepReport(shares, tokens, rate, is_stopped)

    def _set_rate(self, step: int) -> float:
        """Set the learning rates of a step; return that of the first group."""
        factor = self.schedule(step, self.steps)
        for group, rate in zip(self._optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = rate * factor
        return float(self._base_rates[0] * factor)

    def _check_numbers(self, step: int, rate: float, **values: float) -> None:
        """Raise `TrainingError` if one of them is not a number; its optimizer step is not taken."""
        for name, value in values.items():
            if not math.isfinite(value):
                newest = self._checkpoints.newest()
                raise TrainingError(_not_a_number(name, step, rate, newest))

    def _catch_up(self) -> bool:
        """Validate where a signal came before it; return whether training is over already."""
        if self.start_counts and not self.progress.step:
            self.progress.history.append({"step": 0, "lr": 0.0, "tokens": 0.0})
            self._validate_or_save()
        if self._is_due() and not _is_validated(self.progress):
            self._validate_or_save()
            return _stalled(self.progress, self.settings)
        return False

    def _end_step(self, report: StepReport, bar: Track) -> bool:
        """Log, validate and save as they are due after a step; return whether training is over."""
        progress, due, world = self.progress, self._is_due(), self._accelerator.num_processes
        if progress.step % self.settings.log_every == 0 or due:
            _log(progress, lr=report.rate)
        if report.is_stopped or (world == 1 and stopping.requested()):
            self._save()
            self._accelerator.wait_for_everyone()  # whoever leaves first takes the others along
            stopping.follow()
        if due:
            self._validate_or_save()
        if due or progress.step % self.settings.log_every == 0:
            log_rows(self.label, progress.history)
        terms = {name: value for name, value in report.shares.items() if name != "loss"}
        bar.advance(
            1,
            report.tokens,
            note=f"loss {report.shares['loss']:.3f}",
            detail=", ".join(f"{name} {value:.3f}" for name, value in terms.items()),
        )
        if due and _stalled(progress, self.settings):
            return True
        if progress.step < self.steps and self._is_late():
            self._save()
            self._last_saved = time.monotonic()
        return False

    def _is_late(self) -> bool:
        """Whether a checkpoint is due; by the first process's clock, where all write it."""
        is_late = time.monotonic() - self._last_saved >= self.settings.checkpoint_seconds
        if not self._is_sharded:
            return is_late
        on_first = is_late and self._accelerator.is_main_process
        flag = torch.tensor(float(on_first), device=self._accelerator.device)
        return bool(self._accelerator.reduce(flag, "sum"))

    def _is_due(self) -> bool:
        """Whether the last step ends with a validation."""
        step = self.progress.step
        return step > 0 and (step % self._eval_every == 0 or step == self.steps)

    def _save(self) -> None:
        """Write a checkpoint and the metrics so far."""
        self.progress.seconds = time.monotonic() - self._started
        is_first = self._accelerator.is_main_process
        if is_first or self._is_sharded:
            state = self.source.state_dict()
            self._checkpoints.save(self.progress, self._whole, self._optimizer, state)
        if is_first:
            _write_metrics(self.progress, self.out)

    def _validate_or_save(self) -> None:
        """Validate; a signal meanwhile leaves that to the next run, which begins here."""
        try:
            self._validate()
        except stopping.Stopped:
            if self.progress.step:
                self._save()
            raise

    def _validate(self) -> None:
        """Add the validation scores to the last logged row, and keep weights that are better."""
        progress, is_sharded = self.progress, self._is_sharded
        first = self._accelerator.is_main_process
        # the first process of several saves for all, and takes them along: the others wait for it.
        # What is shared out is run by all in step, and its validation, too, is gone through
        with (
            stopping.interruptible() if first and not is_sharded else nullcontext(),
            gathered_root(self._wrapped),
        ):
            scores = self.evaluate(self.model)
        # the first process's scores count for all: another's processor may round otherwise, and
        # whether to go on must be one decision
        scores = broadcast(scores) if self._accelerator.num_processes > 1 else scores
        self.model.train()
        progress.history[-1] |= {f"validation_{name}": value for name, value in scores.items()}
        score = scores["score"]
        if score == score and (progress.best_score is None or score > progress.best_score):
            progress.best_score, progress.best_step = score, progress.step
            if self.settings.keep == "best" and (first or is_sharded):
                self._checkpoints.save_best(progress, self.model)

    def _resume(self) -> Progress:
        """The newest checkpoint's progress, its tensors in place; the same one on all processes.

        Raises `TrainingError` where another machine never comes to see the first process's
        checkpoint.
        """
        progress = self._checkpoints.load(self._whole, self._optimizer, self.source)
        if self._accelerator.num_processes == 1 or self._is_sharded:
            return progress
        expected = broadcast(progress.step)
        deadline = time.monotonic() + SHARED_SOON
        while progress.step != expected:
            if time.monotonic() > deadline:
                raise TrainingError(
                    f"{self.out}: the first process goes on after step {expected:,}, and process "
                    f"{self._accelerator.process_index} finds step {progress.step:,} there; {SHARE}"
                )
            time.sleep(0.5)
            progress = self._checkpoints.load(self._whole, self._optimizer, self.source)
        return progress

    @property
    def _keeps_best(self) -> bool:
        return self.settings.keep == "best" and self.progress.best_score is not None

    def _finish(self) -> None:
        """Put the weights that are kept in place; write the metrics.

        Of a model that was shared out the first process has them, on the processor.
        """
        first = self._accelerator.is_main_process
        if self._is_sharded:
            unshard(self._wrapped, is_first=first)
        self._accelerator.wait_for_everyone()  # the first may be writing the best weights yet
        if self._keeps_best and (first or not self._is_sharded):
            self._checkpoints.load_best(self.progress, self.model)
        self._accelerator.wait_for_everyone()
        if first:
            _write_metrics(self.progress, self.out)
            log_rows(self.label, self.progress.history)
        self.model.eval()

    def _report(self) -> FitReport:
        progress = self.progress
        return FitReport(
            steps=progress.step,
            planned_steps=self.steps,
            best_step=progress.best_step if self._keeps_best else progress.step,
            best_score=progress.best_score,
            seconds=progress.seconds,
            history=progress.history,
        )


def check_batch_size(size: int, examples: int, *, key: str, unit: str = "examples") -> None:
    """Raise `DataError` for a batch that the data cannot fill."""
    if size > examples:
        raise DataError(
            f"{key} = {size}: larger than the data, which has {examples:,} {unit} to train on; "
            f"set it to {examples} or less"
        )


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _log(progress: Progress, *, lr: float) -> None:
    if not progress.window:
        return
    steps = progress.window.pop("steps")
    tokens = progress.window.pop("tokens")
    means = {name: value / steps for name, value in progress.window.items()}
    progress.history.append({"step": progress.step, "lr": lr, **means, "tokens": tokens})
    progress.window = {}


def _is_validated(progress: Progress) -> bool:
    """Whether the last logged step was validated, or there is none."""
    return not progress.history or "validation_score" in progress.history[-1]


def _stalled(progress: Progress, settings: TrainSettings) -> bool:
    """Whether the last `patience` evaluations found nothing better than an earlier one.

    With `patience_below` a model that has not learnt its own labels yet is not done.
    """
    if settings.patience is None or progress.best_score is None:
        return False
    losses = [row["loss"] for row in progress.history if "loss" in row]
    if settings.patience_below and losses[-1] > settings.patience_below * losses[0]:
        return False
    since = [
        row
        for row in progress.history
        if "validation_score" in row and row["step"] > progress.best_step
    ]
    return len(since) >= settings.patience


def _write_metrics(progress: Progress, out: Path) -> None:
    with atomic(out / METRICS) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in progress.history))


def _not_a_number(name: str, step: int, lr: float, checkpoint: Path | None) -> str:
    location = (
        f"the last good checkpoint is {checkpoint}"
        if checkpoint
        else "no checkpoint was due before"
    )
    return (
        f"the {name} is not a number at step {step:,} (learning rate {lr:.3g}); {location}. Lower "
        "the learning rate, or set trainer.max_grad_norm"
    )
