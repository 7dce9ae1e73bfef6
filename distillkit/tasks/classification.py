"""Text classification: one sentence or a pair, two or many classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from distillkit.errors import DataError
from distillkit.losses.reduction import at_least_float32
from distillkit.metrics import task as scores
from distillkit.records import LabelSpace
from distillkit.tasks.sequence import SequenceTask

MANY = 1000  # more class names than this are almost surely a real value or an id


@dataclass(frozen=True)
class Classification(SequenceTask):
    """One label out of several; `max_length` is in tokens, longer text is cut."""

    headline = "accuracy"
    problem_type = "single_label_classification"

    @staticmethod
    def read_labels(
        values: Sequence[Any], names: list[str] | None = None
    ) -> tuple[LabelSpace, np.ndarray]:
        """The label space of all label values, and the values as class ids [rows].

        Numbers are put in numeric order and strings in alphabetical order; `names` names the
        classes 0, 1, … of numbers, or fixes the order of strings. Raises `DataError` for fewer
        than two classes, real values, and values that `names` does not have.
        """
        distinct = set(values)
        if len(distinct) < 2:
            raise DataError(
                f"data.label: every row has the label {next(iter(distinct), None)!r}; a "
                "classifier needs two classes or more"
            )
        if all(isinstance(v, (int, float, bool)) for v in distinct):
            return _numbers(values, distinct, names)
        found = sorted({str(v) for v in distinct})
        if names:
            unknown = [v for v in found if v not in names]
            if unknown:
                raise DataError(
                    f"data.label_names = [{', '.join(names)}]: the data also has "
                    f"{', '.join(unknown[:8])}"
                )
        if len(found) > MANY:
            raise DataError(
                f"data.label: {len(found):,} different labels; is this the right column?"
            )
        space = LabelSpace(tuple(names or found))
        ids = {name: i for i, name in enumerate(space.names)}
        return space, np.array([ids[str(v)] for v in values], dtype=np.int64)

    @staticmethod
    def per_example(logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, [batch]; float32 inside."""
        return F.cross_entropy(at_least_float32(logits), labels, reduction="none")

    @staticmethod
    def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """The task's metrics of logits [examples, classes] against class ids [examples]."""
        return scores.classification_scores(logits, labels)

    @staticmethod
    def headline_score(logits: np.ndarray, labels: np.ndarray) -> float:
        """Accuracy, quickly."""
        return float(np.mean(logits.argmax(axis=-1) == labels))


def _numbers(
    values: Sequence[Any], distinct: set[Any], names: list[str] | None
) -> tuple[LabelSpace, np.ndarray]:
    real = next((v for v in distinct if not float(v).is_integer()), None)
    if real is not None:
        raise DataError(
            f"data.label: holds the real value {real}; for regression choose task=regression "
            "loss=logit_mse"
        )
    numbers = sorted({int(v) for v in distinct})
    if len(numbers) > MANY:
        raise DataError(f"data.label: {len(numbers):,} different labels; is this the right column?")
    if names:
        if numbers[0] < 0 or numbers[-1] >= len(names):
            raise DataError(
                f"data.label_names = [{', '.join(names)}]: names the labels 0 to {len(names) - 1}, "
                f"but the data has {numbers[0]} to {numbers[-1]}"
            )
        return LabelSpace(tuple(names), numeric=True), np.array([int(v) for v in values], np.int64)
    ids = {number: i for i, number in enumerate(numbers)}
    space = LabelSpace(tuple(str(n) for n in numbers), numeric=True)
    return space, np.array([ids[int(v)] for v in values], np.int64)
