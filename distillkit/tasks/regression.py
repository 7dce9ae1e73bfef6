"""Regression: one real label a text or a pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from distillkit.errors import DataError
from distillkit.losses.reduction import at_least_float32
from distillkit.metrics import task as scores
from distillkit.records import LabelSpace
from distillkit.tasks.sequence import SequenceTask


@dataclass(frozen=True)
class Regression(SequenceTask):
    """One real value; `max_length` is in tokens, longer text is cut."""

    headline = "pearson"
    problem_type = "regression"

    @staticmethod
    def read_labels(
        values: Sequence[Any], names: list[str] | None = None
    ) -> tuple[LabelSpace, np.ndarray]:
        """An empty label space, and the values as float64 [rows]; raises `DataError` for words."""
        if names:
            raise DataError("data.label_names: a real-valued label has no names; set it to null")
        wrong = next((v for v in values if isinstance(v, str)), None)
        if wrong is not None:
            raise DataError(
                f"data.label: holds {wrong!r}, which is no number; for classes choose "
                "task=classification"
            )
        numbers = np.array([float(v) for v in values])
        if not np.isfinite(numbers).all():
            raise DataError(
                f"data.label: holds {numbers[~np.isfinite(numbers)][0]}, which is no finite number"
            )
        if len(numbers) and np.ptp(numbers) == 0:
            raise DataError(
                f"data.label: every row has the value {numbers[0]}; nothing can be learnt"
            )
        return LabelSpace(()), numbers

    @staticmethod
    def per_example(logits: Tensor, labels: Tensor) -> Tensor:
        """Squared error, [batch]; float32 inside."""
        values = at_least_float32(logits).squeeze(-1)
        return (values - labels.to(values.dtype)).square()

    @staticmethod
    def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """The task's metrics of predictions [examples, 1] against values [examples]."""
        return scores.regression_scores(logits[:, 0].astype(np.float64), labels)

    @staticmethod
    def headline_score(logits: np.ndarray, labels: np.ndarray) -> float:
        """Pearson correlation; 0 for constant predictions."""
        return scores.regression_scores(logits[:, 0].astype(np.float64), labels)["pearson"]
