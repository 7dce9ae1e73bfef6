"""The order of class labels: read from the data, by name wherever there are names."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from distillkit.errors import DataError
from distillkit.progress import warn
from distillkit.records import LabelSpace

WHOLE = re.compile(r"[+-]?[0-9]{1,15}(?:\.0+)?")
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
MANY = 1000  # more class names than this are almost surely a real value or an id


def read_classes(
    values: Sequence[Any], names: list[str] | None = None, *, key: str = "data.label"
) -> tuple[LabelSpace, np.ndarray]:
    """The label space of all label values, and the values as class ids [values].

    Values are text, as written: 01 and 1 are two classes. Where all spell whole numbers they are
    put in numeric order, else in alphabetical order; `names` names the classes 0, 1, … of numbers,
    or fixes the order of strings. Raises `DataError` for fewer than two classes, and for values
    that `names` does not have.
    """
    listed = next((v for v in values if isinstance(v, (list, tuple, dict))), None)
    if listed is not None:
        raise DataError(
            f"{key}: holds {str(listed)[:60]}, which is no single label; several labels a text are "
            "for task=multi_label"
        )
    distinct = set(values)
    if len(distinct) < 2:
        raise DataError(
            f"{key}: every row has the label {next(iter(distinct), None)!r}; a "
            "classifier needs two classes or more"
        )
    found = sorted({str(v) for v in distinct})
    if len(found) > MANY:
        raise DataError(
            f"{key}: {len(found):,} different labels; is this the right column? (Real values are "
            "for task=regression loss=logit_mse)"
        )
    whole = all(WHOLE.fullmatch(v) for v in found)
    if whole and not (names and set(found) <= set(names)):
        return _numbers(values, found, names, key)
    if names:
        unknown = [v for v in found if v not in names]
        if unknown:
            raise DataError(
                f"data.label_names = [{', '.join(names)}]: the data also has "
                f"{', '.join(unknown[:8])}"
            )
    _warn_of_real_values(found, key)
    space = LabelSpace(tuple(names or found))
    ids = {name: i for i, name in enumerate(space.names)}
    return space, _encoded(values, ids)


def _encoded(values: Sequence[Any], ids: dict[str, int]) -> np.ndarray:
    return np.array([ids[str(v)] for v in values], dtype=np.int64)


def _warn_of_real_values(found: Sequence[str], key: str) -> None:
    real = next((text for text in found if not WHOLE.fullmatch(text)), None)
    if real is not None and all(NUMBER.fullmatch(text) for text in found):
        warn(
            f"{key}: {len(found)} classes that are spelt as real values, as {real}; for regression "
            "choose task=regression loss=logit_mse"
        )


def _numbers(
    values: Sequence[Any], found: Sequence[str], names: list[str] | None, key: str
) -> tuple[LabelSpace, np.ndarray]:
    """Classes that are spelt as whole numbers; with `names`, a number is a place among them."""
    order = sorted(found, key=lambda text: (int(float(text)), text))
    if not names:
        ids = {text: i for i, text in enumerate(order)}
        return LabelSpace(tuple(order), numeric=True), _encoded(values, ids)
    ids = {text: int(float(text)) for text in order}
    first, last = ids[order[0]], ids[order[-1]]
    if first < 0 or last >= len(names):
        raise DataError(
            f"data.label_names = [{', '.join(names)}]: names the labels 0 to {len(names) - 1}, "
            f"but the data has {order[0]} to {order[-1]}"
        )
    same = [texts for texts in pairwise(order) if len({ids[t] for t in texts}) < 2]
    if same:
        raise DataError(
            f"data.label_names = [{', '.join(names)}]: {' and '.join(same[0])} in the data would "
            f"both be {names[ids[same[0][0]]]}; write the labels one way"
        )
    return LabelSpace(tuple(names), numeric=True), _encoded(values, ids)
