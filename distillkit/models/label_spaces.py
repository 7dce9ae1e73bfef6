"""The order of class labels: text as it is written, matched by name wherever there are names."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np

from distillkit.console.progress import warn
from distillkit.console.wording import brief, listed
from distillkit.errors import DataError
from distillkit.types import LabelSpace

MANY = 1000  # classes; more are almost surely a real value or an id, so they are warned of
OWN = 0.8  # classes a row; with more of them nearly each row has a label of its own
FEW_ROWS = 10  # which tell nothing of how many classes there will be
SHOWN = 5  # groups of near-equal names in a message

_WHOLE = re.compile(r"[+-]?[0-9]+(?:\.0+)?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.0+)?")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_TRUTH = {"false": 0, "true": 1}
_VARIANTS = {chr(code) for code in range(0xFE00, 0xFE10)}  # how a character is drawn
_SEPARATORS = re.compile(r"[\s_\-./\\:;,'\"()\[\]{}!?]+")


def read_classes(
    values: Sequence[Any],
    names: list[str] | None = None,
    *,
    key: str = "data.label",
    fewest: int = 2,
) -> tuple[LabelSpace, np.ndarray]:
    """The label space of all label values, and the values as class ids [values].

    Labels are text as written: 01 and 1 are two classes. Whole numbers are put in numeric order,
    others in alphabetical order; `names` fixes the order of labels that are among them, or names
    the numbers 0, 1, … Raises `DataError` for classes fewer than the `fewest`, for values that
    `names` does not have, and where nearly each row has a label of its own.
    """
    _check_single(values, key)
    texts = [value if isinstance(value, str) else str(value) for value in values]
    counts = Counter(texts)
    if not counts:
        raise DataError(f"{key}: no row has a label; a classifier needs two classes or more")
    if len(counts) < fewest:
        raise DataError(
            f"{key}: every row has the label {brief(next(iter(counts), None), 60)!r}; a "
            "classifier needs two classes or more"
        )
    check_many(counts, len(texts), key)
    space, ids = named_classes(counts, names) if names else found_classes(counts)
    report_near_equal(counts, key)
    return space, np.array([ids[text] for text in texts], dtype=np.int64)


def _check_single(values: Sequence[Any], key: str) -> None:
    """Raise `DataError` for a value that is several labels, or no text."""
    collection = next((v for v in values if isinstance(v, (list, tuple, dict))), None)
    if collection is not None:
        raise DataError(
            f"{key}: holds {brief(collection, 60)}, which is no single label; several labels a "
            "text are for task=multi_label"
        )
    unread = next((v for v in values if isinstance(v, bytes)), None)
    if unread is not None:
        raise DataError(
            f"{key}: holds {brief(unread, 60)}, which is bytes and no text; write the "
            "column as text"
        )


def found_classes(names: Collection[str]) -> tuple[LabelSpace, dict[str, int]]:
    """The label space of the labels that the data has, and each one's place in it."""
    numbers = whole_numbers(names)
    ordered = sorted(names, key=lambda name: (numbers[name], name) if numbers else (0, name))
    space = LabelSpace(tuple(ordered), numeric=is_numeric(numbers))
    return space, {name: place for place, name in enumerate(ordered)}


def named_classes(
    classes: Collection[str], names: Sequence[str]
) -> tuple[LabelSpace, dict[str, int]]:
    """The label space of given names, and the place in it of each label that the data has."""
    places = {name: place for place, name in enumerate(names)}
    missing = sorted(name for name in classes if name not in places)
    if not missing:
        return LabelSpace(tuple(names), is_numeric(whole_numbers(names))), places
    listing = f"data.label_names = [{listed(names)}]"
    numbers = whole_numbers(classes)
    if not numbers:
        raise DataError(f"{listing}: the data also has {listed(missing, limit=8)}")
    low, high = min(numbers.values()), max(numbers.values())
    if low < 0 or high >= len(names):
        raise DataError(
            f"{listing}: names the labels 0 to {len(names) - 1}, but the data has {low} to {high}"
        )
    ordered = sorted(numbers, key=lambda name: (numbers[name], name))
    twice = next((pair for pair in pairwise(ordered) if numbers[pair[0]] == numbers[pair[1]]), None)
    if twice:
        raise DataError(
            f"{listing}: {' and '.join(twice)} in the data would both be "
            f"{brief(names[numbers[twice[0]]], 40)}; write the labels one way"
        )
    return LabelSpace(tuple(names), numeric=True), numbers


def whole_numbers(names: Collection[str]) -> dict[str, int]:
    """What the names mean where all are whole numbers, or false and true; else nothing."""
    if names and all(_NUMBER.fullmatch(name) for name in names):
        return {name: int(name.partition(".")[0]) for name in names}
    if len(names) == 2 and {name.casefold() for name in names} == _TRUTH.keys():
        return {name: _TRUTH[name.casefold()] for name in names}
    return {}


def is_numeric(numbers: Mapping[str, int]) -> bool:
    """Whether the names are numbers of which no two are the same."""
    return bool(numbers) and len(set(numbers.values())) == len(numbers)


def check_many(counts: Mapping[str, int], rows: int, key: str) -> None:
    """Raise `DataError` where nearly each row has a label of its own; warn of very many labels."""
    number, real = len(counts), all(_REAL.fullmatch(name) for name in counts)
    few = ", ".join(repr(brief(name, 30)) for name in list(counts)[:3])
    if rows >= FEW_ROWS and number > OWN * rows:
        hint = (
            "a real value takes task=regression loss=logit_mse"
            if real
            else "is this the right column?"
        )
        raise DataError(
            f"{key}: {number:,} different labels in {rows:,} rows, as {few}: nearly each row has "
            f"one of its own; {hint}"
        )
    if real and not all(_WHOLE.fullmatch(name) for name in counts):
        warn(
            f"{key}: its {number:,} classes are numbers with decimals, as {few}; a real value "
            "takes task=regression loss=logit_mse"
        )
    elif number > MANY:
        warn(f"{key}: {number:,} classes, as {few}; is this the right column?")


def report_near_equal(counts: Mapping[str, int], key: str) -> None:
    """Warn of labels that differ by case, blanks, punctuation or encoding alone."""
    alike: dict[str | Decimal, list[str]] = {}
    for name in counts:
        alike.setdefault(folded_name(name), []).append(name)
    groups = [names for names in alike.values() if len(names) > 1]
    if not groups:
        return
    listing = "; ".join(
        " and ".join(f"{brief(name, 40)!r} ({counts[name]:,})" for name in sorted(names)[:SHOWN])
        for names in groups[:SHOWN]
    )
    suffix = f"; and {len(groups) - SHOWN:,} more" if len(groups) > SHOWN else ""
    warn(
        f"{key}: labels that are nearly equal are classes of their own: {listing}{suffix}; mend "
        "the file if they are the same"
    )


def folded_name(name: str) -> str | Decimal:
    """A label without what a reader passes over: case, blanks, marks, compatible characters."""
    text = unicodedata.normalize("NFKC", name).casefold()
    if _REAL.fullmatch(text):
        return Decimal(text)
    text = "".join(c for c in text if unicodedata.category(c) != "Cf" and c not in _VARIANTS)
    return _SEPARATORS.sub("", text) or text or name  # ":)" is nothing but such marks
