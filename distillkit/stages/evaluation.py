"""Stage: models and the held-out split -> predictions, quality, fidelity, cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.data.corpus import Split
from distillkit.data.tokens import TokenTable, tokenise
from distillkit.engine.batching import length_buckets
from distillkit.engine.forward import all_logits
from distillkit.metrics import EvaluationSettings
from distillkit.metrics.calibration import reliability
from distillkit.metrics.efficiency import megabytes, seconds_each
from distillkit.metrics.fidelity import agreement, mean_kl
from distillkit.metrics.interval import bootstrap_difference, bootstrap_score
from distillkit.progress import say
from distillkit.records import LabelSpace
from distillkit.stages.learning import VALIDATION_TOKENS, collator, environment
from distillkit.tasks import Task
from distillkit.tasks.models import SavedModel

PREDICTIONS = "predictions.npz"


def inputs(
    models: Mapping[str, str], task: Task, *, labelled: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """What decides an evaluation: the models (row -> fingerprint), the text, what is measured."""
    return {
        "version": 1,
        "models": dict(models),
        "data": labelled,
        "task": type(task).__name__,
        "max_length": task.max_length,
        "settings": settings,
    }


def evaluate(
    models: Mapping[str, SavedModel],
    task: Task,
    space: LabelSpace,
    test: Split,
    *,
    settings: EvaluationSettings,
    out: Path,
) -> dict[str, Any]:
    """Measure all models on the same split, on the CPU or GPU at hand, in float32.

    The row `teacher`, where there is one, is what the others are held against. Predictions
    (logits in the data's label order) go under `out`.
    """
    loaded: dict[str, tuple[Any, TokenTable, Any]] = {}
    logits: dict[str, np.ndarray] = {}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for row, saved in models.items():
        model, tokenizer, order = saved.load(space, problem_type=task.problem_type)
        table, _ = tokenise(test, tokenizer, max_length=task.max_length, label="the test texts")
        collate = collator(table, tokenizer, device)
        model.to(device)
        buckets = length_buckets(table.lengths, tokens=VALIDATION_TOKENS)
        logits[row] = all_logits(model, buckets, collate)[:, order]
        loaded[row] = (model, table, collate)
    assert test.labels is not None
    say(f"evaluation: timing {', '.join(models)} in turn")
    costs = _costs(loaded, models, settings, device)
    rows = {
        row: _quality(task, values, test.labels, logits.get("teacher"), settings) | costs[row]
        for row, values in logits.items()
    }
    arrays: dict[str, Any] = {"labels": test.labels, **logits}
    np.savez(out / PREDICTIONS, allow_pickle=False, **arrays)
    say(f"evaluation: {len(test):,} held-out examples, {', '.join(models)}")
    return {
        "rows": rows,
        "examples": len(test),
        "headline": task.headline,
        "comparison": _compare(task, rows, logits, test.labels, settings),
        "ece_bins": settings.ece_bins,
        "level": settings.level,
        "batch_size": settings.batch_size,
        "device": str(device),
        "environment": environment(),
    }


def _quality(
    task: Task,
    logits: np.ndarray,
    labels: np.ndarray,
    teacher: np.ndarray | None,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    row: dict[str, Any] = dict(task.scores(logits, labels))
    low, high = bootstrap_score(
        task.headline_score, logits, labels, resamples=settings.resamples, level=settings.level
    )
    row["headline_interval"] = [low, high]
    if task.is_classification:
        bins = reliability(logits, labels, bins=settings.ece_bins)
        row["ece"] = bins.expected_calibration_error
    if teacher is not None and task.is_classification:
        row["agreement"] = agreement(logits, teacher)
        row["kl_to_teacher"] = mean_kl(logits, teacher)
    elif teacher is not None:
        row["rmse_to_teacher"] = float(np.sqrt(np.mean((logits - teacher) ** 2)))
    return row


def _costs(
    loaded: dict[str, tuple[Any, TokenTable, Any]],
    models: Mapping[str, SavedModel],
    settings: EvaluationSettings,
    device: torch.device,
) -> dict[str, dict[str, Any]]:
    """Parameters, size and speed; tokenising is not counted, padding to the batch's longest is."""
    count = min(len(table) for _, table, _ in loaded.values())
    singles = np.linspace(0, count - 1, min(settings.latency_examples, count)).astype(int)
    rng = np.random.default_rng(0)
    size = min(settings.batch_size, count)
    batches = [rng.choice(count, size, replace=False) for _ in range(settings.throughput_batches)]
    one = _timed(loaded, [singles[i : i + 1] for i in range(len(singles))], device)
    many = _timed(loaded, batches, device)
    costs: dict[str, dict[str, Any]] = {}
    for i, (row, (model, _, _)) in enumerate(loaded.items()):
        folder = Path(models[row].folder)
        costs[row] = {
            "parameters": model.num_parameters(),
            "megabytes": megabytes(folder) if folder.is_dir() else None,
            "latency_p50_ms": float(np.percentile(one[:, i], 50) * 1e3),
            "latency_p95_ms": float(np.percentile(one[:, i], 95) * 1e3),
            "sentences_per_second": float(size / np.median(many[:, i])),
        }
    return costs


def _timed(
    loaded: dict[str, tuple[Any, TokenTable, Any]],
    batches: Sequence[np.ndarray],
    device: torch.device,
) -> np.ndarray:
    """Seconds of a forward pass, [batches, models]; the models in turn on each batch."""
    inputs = [[collate(batch).inputs for batch in batches] for _, _, collate in loaded.values()]

    def call(model: Any, batch: Any) -> None:
        model(**batch)
        if device.type == "cuda":
            torch.cuda.synchronize()

    calls = [
        lambda i, model=model, batches=mine: call(model, batches[i])
        for (model, _, _), mine in zip(loaded.values(), inputs, strict=True)
    ]
    with torch.inference_mode():
        return seconds_each(calls, rounds=len(batches))


def _compare(
    task: Task,
    rows: dict[str, dict[str, Any]],
    logits: dict[str, np.ndarray],
    labels: np.ndarray,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """The student held against the teacher and the control."""
    found: dict[str, Any] = {}
    student = rows.get("student")
    if student and "teacher" in rows:
        teacher = rows["teacher"]
        best = teacher[task.headline]
        found["kept"] = student[task.headline] / best if best else None
        found["smaller"] = teacher["parameters"] / student["parameters"]
        found["faster"] = teacher["latency_p50_ms"] / student["latency_p50_ms"]
        found["faster_batched"] = student["sentences_per_second"] / teacher["sentences_per_second"]
    if student and "control" in rows:
        difference, low, high = bootstrap_difference(
            task.headline_score,
            logits["student"],
            logits["control"],
            labels,
            resamples=settings.resamples,
            level=settings.level,
        )
        found["student_minus_control"] = {"difference": difference, "low": low, "high": high}
    return found
