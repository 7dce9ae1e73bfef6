"""Stage: models and the held-out split -> quality, fidelity, cost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.data.corpus import Split
from distillkit.engine.batching import length_buckets
from distillkit.engine.forward import all_logits
from distillkit.metrics import EvaluationSettings
from distillkit.metrics.calibration import reliability
from distillkit.metrics.fidelity import agreement, mean_kl
from distillkit.metrics.interval import bootstrap_difference, bootstrap_score
from distillkit.progress import say
from distillkit.records import LabelSpace
from distillkit.stages import harness, language_evaluation
from distillkit.stages.costs import Measured, costs, ratios
from distillkit.stages.learning import VALIDATION_TOKENS, collator, environment
from distillkit.tasks import SavedModel, SequenceTask, Task

PREDICTIONS = "predictions.npz"


def inputs(
    models: Mapping[str, str], task: Task, *, labelled: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """What decides an evaluation: the models (row -> fingerprint), the text, what is measured."""
    return {
        "version": 2,
        "models": dict(models),
        "data": labelled,
        "task": type(task).__name__,
        **task.feature_inputs(held_out=True),
        "settings": settings,
        **harness.inputs(settings["harness"], settings["harness_path"]),
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

    The row `teacher`, where there is one, is what the others are held against. What each said goes
    under `out`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded: dict[str, Measured] = {}
    for row, saved in models.items():
        found = task.load(saved, space)
        table, _ = task.tokenise(test, found.tokenizer, label="the test texts", held_out=True)
        collate = collator(table, found.tokenizer, device)
        loaded[row] = Measured(saved, found, table, collate, task.ask(found.tokenizer))
        loaded[row].move(device)
    measure = language_evaluation.measure if task.family == "language" else _measure
    rows, comparison, bins = measure(loaded, task, test, settings, out)
    say(f"evaluation: timing {', '.join(models)} in turn")
    spent = costs(loaded, settings, device)
    rows = {row: values | spent[row] for row, values in rows.items()}
    say(f"evaluation: {len(test):,} held-out examples, {', '.join(models)}")
    return {
        "rows": rows,
        "examples": len(test),
        "headline": task.headline,
        "higher_is_better": task.higher_is_better,
        "auto_class": task.auto_class,
        "own_code": "student" in loaded
        and hasattr(loaded["student"].loaded.model.config, "auto_map"),
        "protocol": task.protocol,
        "comparison": ratios(rows) | comparison,
        "reliability": bins,
        "ece_bins": settings.ece_bins,
        "level": settings.level,
        "batch_size": settings.batch_size,
        "device": str(device),
        "environment": environment(),
    }


def _measure(
    loaded: Mapping[str, Measured],
    task: Task,
    test: Split,
    settings: EvaluationSettings,
    out: Path,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(rows, comparison, reliability) of models with one answer a text."""
    assert test.labels is not None and isinstance(task, SequenceTask)
    logits = {}
    for row, it in loaded.items():
        buckets = length_buckets(it.table.lengths, tokens=VALIDATION_TOKENS)
        logits[row] = all_logits(it.loaded.model, it.ask, buckets, it.collate)[:, it.loaded.order]
    rows, bins = {}, {}
    for row, values in logits.items():
        rows[row] = _quality(task, values, test.labels, logits.get("teacher"), settings)
        if task.headline == "accuracy":
            found = reliability(values, test.labels, bins=settings.ece_bins)
            rows[row]["ece"] = found.expected_calibration_error
            bins[row] = found.record()
    arrays: dict[str, Any] = {"labels": test.labels, **logits}
    np.savez(out / PREDICTIONS, allow_pickle=False, **arrays)
    return rows, _compare(task, rows, logits, test.labels, settings), bins


def _quality(
    task: SequenceTask,
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
    if teacher is not None and task.headline == "accuracy":
        row["agreement"] = agreement(logits, teacher)
        row["kl_to_teacher"] = mean_kl(logits, teacher)
    elif teacher is not None:
        row["rmse_to_teacher"] = float(np.sqrt(np.mean((logits - teacher) ** 2)))
    return row


def _compare(
    task: SequenceTask,
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
