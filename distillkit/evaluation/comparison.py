"""Models held against each other, column by column, on the same resampled texts."""

from collections.abc import Mapping
from typing import Any

from distillkit.metrics import EvaluationSettings
from distillkit.metrics.resampled import Column, differences, draws
from distillkit.tasks import SequenceTask


def compare(
    task: SequenceTask,
    rows: dict[str, dict[str, Any]],
    columns: Mapping[str, Mapping[str, Column]],
    settings: EvaluationSettings,
    *,
    texts: int,
    reference: str | None = None,
) -> dict[str, Any]:
    """The student held against teacher and control in every column, and against its own start.

    With a `reference`, that row, each other one is held against it, too.
    """
    comparisons: dict[str, Any] = {}
    later_rows = [row for row in ("teacher", "control", "untrained") if row in columns]
    later_rows = later_rows if "student" in columns else []
    needed = [*columns] if reference else ["student", *later_rows] if later_rows else []
    samples = {
        row: draws(columns[row], texts=texts, resamples=settings.resamples) for row in needed
    }
    if "student" in columns and "teacher" in columns:
        best = rows["teacher"][task.headline]
        comparisons["kept"] = rows["student"][task.headline] / best if best > 0 else None
    for row in later_rows:
        bounds = differences(samples["student"], samples[row], level=settings.level)
        comparisons[f"student_minus_{row}"] = bounds[task.headline]
        if row != "untrained":
            comparisons[f"columns_minus_{row}"] = bounds
    if reference:
        comparisons["over_reference"] = {
            row: differences(samples[row], samples[reference], level=settings.level)
            for row in samples
            if row != reference
        }
    return comparisons
