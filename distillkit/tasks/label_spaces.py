"""The order of class labels: read from the data, by name wherever there are names."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distillkit.errors import DataError
from distillkit.records import LabelSpace

MANY = 1000  # more class names than this are almost surely a real value or an id


def read_classes(
    values: Sequence[Any], names: list[str] | None = None, *, key: str = "data.label"
) -> tuple[LabelSpace, np.ndarray]:
    """The label space of all label values, and the values as class ids [values].

    Numbers are put in numeric order and strings in alphabetical order; `names` names the
    classes 0, 1, … of numbers, or fixes the order of strings. Raises `DataError` for fewer
    than two classes, real values, and values that `names` does not have.
    """
    listed = next((v for v in values if isinstance(v, (list, tuple, dict))), None)
    if listed is not None:
        raise DataError(
            f"{key}: holds {listed!r}, which is no single label; several labels a text are for "
            "task=multi_label"
        )
    distinct = set(values)
    if len(distinct) < 2:
        raise DataError(
            f"{key}: every row has the label {next(iter(distinct), None)!r}; a "
            "classifier needs two classes or more"
        )
    if all(isinstance(v, (int, float, bool)) for v in distinct):
        return _numbers(values, distinct, names, key)
    found = sorted({str(v) for v in distinct})
    if names:
        unknown = [v for v in found if v not in names]
        if unknown:
            raise DataError(
                f"data.label_names = [{', '.join(names)}]: the data also has "
                f"{', '.join(unknown[:8])}"
            )
    if len(found) > MANY:
        raise DataError(f"{key}: {len(found):,} different labels; is this the right column?")
    space = LabelSpace(tuple(names or found))
    ids = {name: i for i, name in enumerate(space.names)}
    return space, np.array([ids[str(v)] for v in values], dtype=np.int64)


def _numbers(
    values: Sequence[Any], distinct: set[Any], names: list[str] | None, key: str
) -> tuple[LabelSpace, np.ndarray]:
    real = next((v for v in distinct if not float(v).is_integer()), None)
    if real is not None:
        raise DataError(
            f"{key}: holds the real value {real}; for regression choose task=regression "
            "loss=logit_mse"
        )
    numbers = sorted({int(v) for v in distinct})
    if len(numbers) > MANY:
        raise DataError(f"{key}: {len(numbers):,} different labels; is this the right column?")
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
