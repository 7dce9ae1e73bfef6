"""The columns of a model with labels: its scores, and each as a function of the texts counted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distillkit.metrics import EvaluationSettings
from distillkit.metrics.interval import bootstrap_score
from distillkit.metrics.resampled import Column, calibration_column, fidelity_columns
from distillkit.tasks import HeldOut, SequenceTask
from distillkit.token_table import TokenTable

FIDELITY = ("agreement_right", "agreement_wrong")  # columns that are scores, too


def quality(
    task: SequenceTask,
    logits: np.ndarray,
    outcomes: np.ndarray,
    held_out: HeldOut,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """The task's scores, and the bootstrap interval of the headline."""
    low, high = bootstrap_score(
        lambda rows, _: task.headline_score(rows),
        outcomes,
        outcomes,
        resamples=settings.resamples,
        level=settings.level,
    )
    return {**task.scores(logits, outcomes, held_out), "headline_interval": [low, high]}


def fidelity(
    task: SequenceTask,
    row: str,
    logits: Mapping[str, np.ndarray],
    held_out: HeldOut,
    teacher: str,
) -> dict[str, Column]:
    """How often a model predicts as its teacher, where both name one class."""
    if row == teacher or teacher not in logits or task.distribution != "softmax":
        return {}
    table = held_out.table
    labels = np.asarray(table.labels)
    return fidelity_columns(logits[row], logits[teacher], labels, table.position_offsets)


def of_all(columns: Mapping[str, Column], names: Sequence[str], texts: int) -> dict[str, float]:
    """The scores of all texts in the columns of these names."""
    every = np.arange(texts)
    return {name: columns[name](every) for name in names if name in columns}


def calibration_columns(
    task: SequenceTask, logits: np.ndarray, held_out: HeldOut, settings: EvaluationSettings
) -> dict[str, Column]:
    """The calibration error, where a text has one answer of its own."""
    if task.distribution == "choice":
        return {}  # a text has several windows
    return calibration_column(
        task.distribution,
        logits,
        np.asarray(held_out.table.labels),
        held_out.table.position_offsets,
        bins=settings.ece_bins,
    )


def added(settings: EvaluationSettings, logits: np.ndarray, table: TokenTable) -> dict[str, float]:
    """The scores of the metrics that the config adds."""
    labels = np.asarray(table.labels)
    return {name: float(metric.score(logits, labels)) for name, metric in settings.metrics.items()}


def added_columns(
    settings: EvaluationSettings, logits: np.ndarray, table: TokenTable
) -> dict[str, Column]:
    """The same, each as a function of which texts are counted."""
    labels, offsets = np.asarray(table.labels), table.position_offsets
    return {
        name: metric.column(logits, labels, offsets) for name, metric in settings.metrics.items()
    }
