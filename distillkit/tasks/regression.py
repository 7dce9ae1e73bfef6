"""Regression: one real label a text or a pair."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from distillkit.console.wording import brief
from distillkit.errors import DataError
from distillkit.losses.reduction import at_least_float32
from distillkit.metrics import resampled
from distillkit.metrics import task as scores
from distillkit.tasks.sequence import SequenceTask
from distillkit.tasks.task import HeldOut
from distillkit.types import Distribution, LabelSpace

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Regression(SequenceTask):
    """One real value; `max_length` is in tokens, longer text is cut."""

    headline: Literal["pearson", "spearman"] = "pearson"

    distribution: ClassVar[Distribution] = "real"
    problem_type = "regression"

    @staticmethod
    def read_labels(
        values: Sequence[Any], names: list[str] | None = None
    ) -> tuple[LabelSpace, np.ndarray]:
        """An empty label space, and the values as float64 [rows]; raises `DataError` for words."""
        if names:
            raise DataError("data.label_names: a real-valued label has no names; set it to null")
        no_number = next((v for v in values if not _is_number(v)), None)
        if no_number is not None:
            raise DataError(
                f"data.label: holds {brief(no_number, 60)!r}, which is no finite number; for "
                "classes choose task=classification"
            )
        numbers = np.array([float(v) for v in values])
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

    def predicted(self, logits: np.ndarray) -> np.ndarray:
        """The values, float [texts]."""
        return logits[:, 0]

    def answers_as_text(self, answers: np.ndarray, held_out: HeldOut) -> list[str] | None:
        """The values, with the fewest digits that tell them apart."""
        return [str(value) for value in answers]

    def outcomes(self, logits: np.ndarray, held_out: HeldOut) -> np.ndarray:
        """The prediction and the label of each text, float64 [examples, 2]."""
        return np.stack([logits[:, 0].astype(np.float64), held_out.table.labels], axis=1)

    def headline_score(self, outcomes: np.ndarray) -> float:
        """The correlation that is the headline; 0 for constant predictions."""
        return scores.regression_scores(outcomes[:, 0], outcomes[:, 1])[self.headline]

    @property
    def scoring(self) -> dict[str, Any]:
        """The headline, where it is not the usual one."""
        return {} if self.headline == "pearson" else {"headline": self.headline}

    def scores(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, float]:
        """Correlations and root mean squared error."""
        return scores.regression_scores(outcomes[:, 0], outcomes[:, 1])

    def columns(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, resampled.Column]:
        """The same metrics, each as a function of which texts are counted."""
        return resampled.value_columns(outcomes[:, 0], outcomes[:, 1])


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number, or text that spells one."""
    if isinstance(value, str):
        return bool(_NUMBER.fullmatch(value.strip())) and math.isfinite(float(value))
    return isinstance(value, (int, float)) and math.isfinite(value)
