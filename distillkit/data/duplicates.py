"""Texts that stand in a source more than once, and the labels that they have there."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from distillkit.console.progress import warn
from distillkit.console.wording import brief
from distillkit.data.rows import Rows

Duplicates = Literal["first", "majority", "drop"]
EXAMPLES, SIDES = 3, 3  # texts in a message, and different labels of each


@dataclass(frozen=True, slots=True)
class Unique:
    """Rows of distinct texts; how many rows were duplicates, and how many texts were dropped.

    `contradicting` texts stood there with different labels.
    """

    rows: Rows
    duplicates: int
    dropped: int
    contradicting: int


def comparable(label: Any) -> str:
    """A label as two are compared: several labels of a text have no order."""
    if isinstance(label, list):
        return "\x1f".join(sorted({str(v) for v in label}))
    return str(label)


def as_number(label: Any) -> str:
    """A real label as two are compared: 1 and 1.0 are the same."""
    try:
        return str(float(label))
    except (TypeError, ValueError):
        return str(label)


def unique(
    rows: Rows,
    *,
    choice: Duplicates | None = None,
    label_kind: str = "labels",
    compare: Callable[[Any], str] = comparable,
) -> Unique:
    """One row of each text; of texts that have different labels, the one that `choice` says.

    The first row's label, or the label that most rows have (the first of those that are level), or
    no row at all; None: the first, and there is no setting for it. Labels are called `label_kind`
    in the message that counts such texts, and are the same where `compare` gives the same.
    """
    compared = [compare(label) for label in rows.labels]
    places: dict[str, list[int]] = {}
    for place, text in enumerate(rows.normalised()):
        places.setdefault(text, []).append(place)
    rows_left, contradicting, dropped = [], [], 0
    for copies in places.values():
        first_copy = copies[0]
        if len(copies) > 1 and len({compared[i] for i in copies}) > 1:
            contradicting.append(copies)
            if choice == "drop":
                dropped += len(copies)
                continue
            if choice == "majority":
                first_copy = _of_majority(compared, copies)
        rows_left.append(first_copy)
    if contradicting:
        warn(_message(rows, compared, contradicting, choice, label_kind))
    count_dropped = len(rows.texts) - len(rows_left) - dropped
    return Unique(rows.take(sorted(rows_left)), count_dropped, dropped, len(contradicting))


def _of_majority(labels: Sequence[str], copies: Sequence[int]) -> int:
    """The first row with the label that most of the rows have."""
    counts = Counter(labels[i] for i in copies)  # in the order that they are met
    commonest = counts.most_common(1)[0][0]
    return next(i for i in copies if labels[i] == commonest)


def _message(
    rows: Rows,
    labels: Sequence[str],
    contradicting: Sequence[Sequence[int]],
    choice: Duplicates | None,
    label_kind: str,
) -> str:
    examples_shown = []
    for copies in contradicting[:EXAMPLES]:
        first = {labels[i]: i for i in reversed(copies)}
        sides = [
            f"{brief(labels[i].replace(chr(31), ', '), 40)} (row {rows.number(i):,})"
            for i in sorted(first.values())[:SIDES]
        ]
        examples_shown.append(f"{brief(rows.texts[copies[0]], 50)!r} is {' and '.join(sides)}")
    outcome = {
        "majority": f"the {label_kind} that most rows have are taken",
        "drop": "none of these rows is taken",
    }.get(choice or "", f"the {label_kind} of the first row are taken")
    choices = f" (data.duplicates = {choice}; first, majority or drop)" if choice else ""
    number, rows_there = len(contradicting), sum(map(len, contradicting))
    return (
        f"data: {number:,} text{'s stand' if number > 1 else ' stands'} in {rows_there:,} training "
        f"rows with different {label_kind}: {'; '.join(examples_shown)}; {outcome}{choices}"
    )
