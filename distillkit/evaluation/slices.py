"""Parts of the held-out text: how good models are on each, and whether the student gains there."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distillkit.metrics.resampled import Column, differences, draws
from distillkit.tasks import HeldOut, Task

LENGTH, QUESTION = "length", "question_length"  # slices by tokens, whatever columns there are
MOST, PARTS = 20, 4  # values of a column that are told apart; parts of numbers
NOTHING, OTHERS = "(nothing)", "(others)"


def lengths_of(task: Task) -> tuple[str, ...]:
    """The slices by length: of the text, or of the passage and of the question about it."""
    return (LENGTH, QUESTION) if task.distribution == "choice" else (LENGTH,)


def token_lengths(name: str, held_out: HeldOut, tokenizer: Any) -> list[int]:
    """The tokens of each text, or of each question or its passage, by the name of the slice."""
    table, split = held_out.table, held_out.split
    if split.answers is None:
        lengths: list[int] = table.lengths.tolist()
        return lengths
    texts = split.texts if name == QUESTION else split.pairs
    return [
        len(ids) for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    ]


def groups(values: Sequence[Any]) -> list[str]:
    """The slice that each text is in, by its value of a column: words as they are.

    Of numbers that are many it is a quarter of them, of many words the `MOST` frequent ones.
    """
    words = [NOTHING if value is None or value == "" else str(value) for value in values]
    counts = Counter(words)
    if len(counts) <= MOST:
        return words
    numbers = [_number(word) for word in words]
    if all(number is not None for number in numbers):
        return quarters([number for number in numbers if number is not None])
    common = {word for word, _ in counts.most_common(MOST - 1)}
    return [word if word in common else OTHERS for word in words]


def quarters(numbers: Sequence[float], unit: str = "") -> list[str]:
    """ "4 to 12 tokens": the quarter of all numbers that each is in; equal ones share theirs."""
    every = np.asarray(numbers, np.float64)
    edges = np.unique(np.quantile(every, np.arange(1, PARTS) / PARTS, method="lower"))
    places = np.searchsorted(edges, every, side="left")
    names = {}
    for place in np.unique(places):
        part = every[places == place]
        ends = (
            f"{part.min():g}" if part.min() == part.max() else f"{part.min():g} to {part.max():g}"
        )
        names[int(place)] = f"{ends} {unit}".strip()
    return [names[int(place)] for place in places]


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def sliced(
    columns: Mapping[str, Mapping[str, Column]],
    headline: str,
    named: Mapping[str, Sequence[str]],
    *,
    resamples: int,
    level: float,
) -> list[dict[str, Any]]:
    """A record for each part: its `slice`, `value`, `examples`, and the headline of each row.

    `columns` are those of each row, and `named` the part of each text by the slices' names. Where
    there are a student and a control, `student_minus_control` has the paired interval.
    """
    return [
        _part(columns, headline, name, value, np.flatnonzero(np.asarray(parts) == value))
        | _gain(columns, headline, np.flatnonzero(np.asarray(parts) == value), resamples, level)
        for name, parts in named.items()
        for value in dict.fromkeys(sorted(parts, key=_order))
    ]


def _order(value: str) -> tuple[float, str]:
    """Parts of numbers by their beginning, words by their letters."""
    number = _number(value.split(" to ")[0].split(" ")[0])
    return (float("inf") if number is None else number, value)


def _part(
    columns: Mapping[str, Mapping[str, Column]],
    headline: str,
    name: str,
    value: str,
    texts: np.ndarray,
) -> dict[str, Any]:
    rows = {row: of_row[headline](texts) for row, of_row in columns.items() if headline in of_row}
    return {"slice": name, "value": value, "examples": len(texts), "rows": rows}


def _gain(
    columns: Mapping[str, Mapping[str, Column]],
    headline: str,
    texts: np.ndarray,
    resamples: int,
    level: float,
) -> dict[str, Any]:
    if not {"student", "control"} <= columns.keys():
        return {}

    def within(row: str) -> dict[str, np.ndarray]:
        score = columns[row][headline]
        of_part = {headline: lambda rows: score(texts[rows])}
        return dict(draws(of_part, texts=len(texts), resamples=resamples))

    gain = differences(within("student"), within("control"), level=level)[headline]
    return {"student_minus_control": gain}
