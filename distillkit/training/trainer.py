"""The one training loop: teachers, students and controls all learn here.

A step's batch, dropout and learning rate follow from the seed and the step's number, and a
checkpoint holds the rest (weights, optimizer, what the loss keeps, progress): a run that was
killed and started again ends with the same bits as one that was not, on a GPU up to the order in
which its kernels add.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit import stopping
from distillkit.artifacts.workspace import SHARED_SOON, atomic
from distillkit.console.progress import track
from distillkit.errors import DataError, TrainingError
from distillkit.losses.reduction import reduce_terms
from distillkit.models.precision import autocast, resolve
from distillkit.schedules import LearningRateSchedule
from distillkit.training.batching import Plan
from distillkit.training.checkpoint import Checkpoints, Progress
from distillkit.training.distributed import Accelerator, accelerator_for, broadcast
from distillkit.training.objective import ModelWithObjective, Objective
from distillkit.training.settings import TrainSettings
from distillkit.types import Batch, FitReport

METRICS = "metrics.jsonl"
_STOP = "stop"  # summed over the processes with the loss: they all end after the same step
Evaluate = Callable[[Any], dict[str, float]]


def fit(
    model: torch.nn.Module,
    objective: Objective,
    plan: Plan,
    positions: np.ndarray,
    collate: Callable[[np.ndarray], Batch],
    *,
    make_optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
    schedule: LearningRateSchedule,
    settings: TrainSettings,
    steps: int,
    evaluate: Evaluate,
    out: Path,
    label: str,
    start_counts: bool = False,
) -> FitReport:
    """Minimise `objective` for `steps` optimizer steps at most; leave the kept weights in `model`.

    Parameters of the objective's own are learnt with the model's, and are left as they end.
    `positions` [examples] counts each example's positions: a step's loss is their mean.
    `evaluate(model)` gives the validation scores, of which `score` (higher is better) decides what
    is kept; with `start_counts` the model as it comes is a candidate too, as step 0. Checkpoints
    and metrics.jsonl go under `out`, where a killed run is taken up again. Raises `TrainingError`
    when the loss is no longer a number.
    """
    out.mkdir(parents=True, exist_ok=True)
    accelerator = accelerator_for(has_unused_parameters=objective.has_unused_parameters)
    learner = ModelWithObjective(model, objective).to(accelerator.device)
    optimizer = make_optimizer(parameter_groups(learner))
    base_rates = [group["lr"] for group in optimizer.param_groups]
    checkpoints = Checkpoints(out)
    progress = _start(checkpoints, learner, optimizer, accelerator)
    trained, optimizer = accelerator.prepare(learner, optimizer)
    dtype = resolve(settings.precision, accelerator.device)
    eval_every = settings.eval_every or max(1, math.ceil(steps / 20))
    begun, saved = time.monotonic() - progress.seconds, time.monotonic()

    def save() -> None:
        progress.seconds = time.monotonic() - begun
        if accelerator.is_main_process:
            checkpoints.save(progress, learner, optimizer)
            _write_metrics(progress, out)

    def validate() -> None:
        try:
            _validate(progress, model, evaluate, settings, checkpoints, accelerator)
        except stopping.Stopped:
            if progress.step:
                save()
            raise

    stopping.hold()  # a step is whole: a signal waits for its end
    if start_counts and not progress.step:
        progress.history.append({"step": 0, "lr": 0.0, "tokens": 0.0})
        validate()
    over = False
    if _is_due(progress.step, eval_every, steps) and not _is_validated(progress):
        validate()  # a signal came before it
        over = _stalled(progress, settings)
    trained.train()
    with track(label, steps, done=progress.step) as bar:
        for step in range(steps + 1 if over else progress.step + 1, steps + 1):
            factor = schedule(step, steps)
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * factor
            objective.on_step_begin((step - 1) / steps)
            scheduled = objective.scheduled_values
            torch.manual_seed(_step_seed(plan.seed, step, accelerator.process_index))
            indices = plan.batch(step)
            pieces = plan.pieces(
                step,
                rows=settings.micro_batch_size,
                rank=accelerator.process_index,
                world=accelerator.num_processes,
            )
            count = int(positions[indices].sum())
            shares = _accumulate(accelerator, trained, pieces, indices, collate, count, dtype)
            stop = shares.pop(_STOP, 0.0)
            norm = _gradient_norm(accelerator, trained, settings.max_grad_norm)
            for what, value in (("loss", shares["loss"]), ("gradient", norm)):
                if not math.isfinite(value):
                    rate = base_rates[0] * factor
                    raise TrainingError(_not_a_number(what, step, rate, checkpoints.newest()))
            optimizer.step()
            optimizer.zero_grad()
            objective.on_step_end(shares)

            progress.step = step
            tokens = int(plan.lengths[indices].sum())
            _add(progress.window, scheduled | shares | {"tokens": float(tokens), "steps": 1.0})
            due = _is_due(step, eval_every, steps)
            if step % settings.log_every == 0 or due:
                _log(progress, lr=base_rates[0] * factor)
            if stop or (accelerator.num_processes == 1 and stopping.requested()):
                save()
                accelerator.wait_for_everyone()  # whoever leaves first takes the others along
                stopping.follow()
            if due:
                validate()
            bar.advance(1, tokens, note=f"loss {shares['loss']:.3f}")
            if due and _stalled(progress, settings):
                break
            if time.monotonic() - saved >= settings.checkpoint_seconds and step < steps:
                save()
                saved = time.monotonic()
    progress.seconds = time.monotonic() - begun
    accelerator.wait_for_everyone()  # the first process may be writing the best weights yet
    if settings.keep == "best" and progress.best_score is not None:
        checkpoints.load_best(progress, model)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        _write_metrics(progress, out)
    model.eval()
    is_best = settings.keep == "best" and progress.best_score is not None
    return FitReport(
        steps=progress.step,
        planned_steps=steps,
        best_step=progress.best_step if is_best else progress.step,
        best_score=progress.best_score,
        seconds=progress.seconds,
        history=progress.history,
    )


def _start(
    checkpoints: Checkpoints, learner: ModelWithObjective, optimizer: Any, accelerator: Accelerator
) -> Progress:
    """The newest checkpoint's progress, its tensors in place; of several processes the same one.

    Raises `TrainingError` where another machine never comes to see the first process's checkpoint.
    """
    progress = checkpoints.load(learner, optimizer)
    if accelerator.num_processes == 1:
        return progress
    expected = broadcast(progress.step)
    late = time.monotonic() + SHARED_SOON
    while progress.step != expected:
        if time.monotonic() > late:
            raise TrainingError(
                f"{checkpoints.folder}: the first process goes on after step {expected:,}, and "
                f"process {accelerator.process_index} finds step {progress.step:,} there; set "
                "workspace=FOLDER to one that all machines share"
            )
        time.sleep(0.5)
        progress = checkpoints.load(learner, optimizer)
    return progress


def parameter_groups(model: torch.nn.Module) -> list[dict[str, Any]]:
    """Matrices decay, vectors (biases, norms) do not: as BERT is trained."""
    learnt = [p for p in model.parameters() if p.requires_grad]
    matrices, vectors = [p for p in learnt if p.ndim > 1], [p for p in learnt if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def check_batch_size(size: int, examples: int, *, key: str, what: str = "examples") -> None:
    """Raise `DataError` for a batch that the data cannot fill."""
    if size > examples:
        raise DataError(
            f"{key} = {size}: larger than the data, which has {examples:,} {what} to train on; "
            f"set it to {examples} or less"
        )


def _accumulate(
    accelerator: Accelerator,
    learner: Any,
    pieces: Sequence[np.ndarray | None],
    indices: np.ndarray,
    collate: Callable[[np.ndarray], Batch],
    count: int,
    dtype: torch.dtype,
) -> dict[str, float]:
    """Forward and backward over one optimizer step's examples; return the loss and its terms.

    The loss is divided by the positions of the whole step, `count`; DDP averages gradients, hence
    the factor of the world size.
    """
    world = accelerator.num_processes
    sums: dict[str, float] = {}
    for number, mine in enumerate(pieces):
        last = number == len(pieces) - 1
        with nullcontext() if last else accelerator.no_sync(learner):
            # a process with nothing to do still takes part in the all-reduce, with weight 0
            batch = collate(indices[:1] if mine is None else mine)
            with autocast(dtype, accelerator.device):
                terms = learner(batch)
            total, shares = reduce_terms(terms, count=count)
            accelerator.backward(total * (0 if mine is None else world))
        if mine is not None:
            _add(sums, {"loss": total.item(), **{name: s.item() for name, s in shares.items()}})
    if world > 1:
        sums[_STOP] = float(stopping.requested())
        sums = _summed(accelerator, sums, [*sorted(shares), _STOP])
    return sums


def _summed(accelerator: Accelerator, sums: dict[str, float], names: list[str]) -> dict[str, float]:
    keys = ["loss", *names]
    values = torch.tensor([sums.get(k, 0.0) for k in keys], device=accelerator.device)
    return dict(zip(keys, accelerator.reduce(values, "sum").tolist(), strict=True))


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _add(sums: dict[str, float], values: dict[str, float]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value


def _log(progress: Progress, *, lr: float) -> None:
    if not progress.window:
        return
    steps = progress.window.pop("steps")
    tokens = progress.window.pop("tokens")
    means = {name: value / steps for name, value in progress.window.items()}
    progress.history.append({"step": progress.step, "lr": lr, **means, "tokens": tokens})
    progress.window = {}


def _validate(
    progress: Progress,
    model: Any,
    evaluate: Evaluate,
    settings: TrainSettings,
    checkpoints: Checkpoints,
    accelerator: Accelerator,
) -> None:
    # the first process of several saves for all, and takes them along: the others wait for it
    alone = accelerator.is_main_process
    with stopping.interruptible() if alone else nullcontext():
        scores = evaluate(model)
    # what it finds counts for all: another's processor may round otherwise, and whether to go on
    # must be one decision
    scores = broadcast(scores) if accelerator.num_processes > 1 else scores
    model.train()
    progress.history[-1] |= {f"validation_{name}": value for name, value in scores.items()}
    score = scores["score"]
    if score == score and (progress.best_score is None or score > progress.best_score):
        progress.best_score, progress.best_step = score, progress.step
        if settings.keep == "best" and accelerator.is_main_process:
            checkpoints.save_best(progress, model)


def _is_due(step: int, every: int, steps: int) -> bool:
    """Whether a step ends with a validation."""
    return step > 0 and (step % every == 0 or step == steps)


def _is_validated(progress: Progress) -> bool:
    """Whether the last step was looked at, or was to be."""
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


def _gradient_norm(accelerator: Accelerator, model: Any, limit: float | None) -> float:
    """The norm of the whole gradient, which is clipped to `limit` if there is one."""
    if limit is not None:
        return float(accelerator.clip_grad_norm_(model.parameters(), limit))
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def _not_a_number(what: str, step: int, lr: float, checkpoint: Path | None) -> str:
    kept = (
        f"the last good checkpoint is {checkpoint}"
        if checkpoint
        else "no checkpoint was due before"
    )
    return (
        f"the {what} is not a number at step {step:,} (learning rate {lr:.3g}); {kept}. Lower the "
        "learning rate, or set trainer.max_grad_norm"
    )
