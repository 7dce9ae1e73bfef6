"""A student's logits as what a user reads: labels, values, tags, answers, and how sure they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from distillkit.prediction.entities import are_entities, entity_spans
from distillkit.prediction.purpose import Purpose
from distillkit.prediction.rows import Rows
from distillkit.tasks import (
    MultiLabel,
    QuestionAnswering,
    Regression,
    TokenClassification,
)
from distillkit.token_table import TokenTable

DIGITS = 6  # of a probability


@dataclass(frozen=True, slots=True)
class Answers:
    """Columns [rows] of what was predicted, None where a row has no text.

    `probabilities` [rows with text, classes] are those of the classes `names`, of the rows
    `filled`; None where an answer is no class of a text.
    """

    columns: dict[str, list[Any]]
    names: tuple[str, ...] = ()
    probabilities: np.ndarray | None = None
    filled: list[int] = field(default_factory=list)

    def of_classes(self, limit: int | None) -> Iterator[list[tuple[str, float]] | None]:
        """Row by row, the classes with their probabilities, or the `limit` likely ones."""
        rows = len(next(iter(self.columns.values())))
        shares = () if self.probabilities is None else self.probabilities
        of_row = dict(zip(self.filled, shares, strict=False))
        for place in range(rows):
            row = of_row.get(place)
            if row is None:
                yield None
                continue
            order: Sequence[int] = range(len(row))
            if limit is not None:
                order = np.argsort(-row, kind="stable")[:limit].tolist()
            yield [(self.names[i], _rounded(row[i])) for i in order]


def answers_of(
    purpose: Purpose, logits: np.ndarray, table: TokenTable, rows: Rows, filled: list[int]
) -> Answers:
    """What logits [positions, classes] of the rows `filled` say."""
    task, wide = purpose.task, logits.astype(np.float64)
    names = purpose.labels.names
    if isinstance(task, QuestionAnswering):
        return Answers(_places(task, logits, table, rows, filled))
    if isinstance(task, TokenClassification):
        return Answers(_tags(names, wide, table, rows, filled))
    if isinstance(task, Regression):
        values = [round(float(value), DIGITS) for value in wide[:, 0]]
        return Answers({"prediction": spread(values, filled, len(rows))})
    if isinstance(task, MultiLabel):
        holds = task.predicted(logits)
        labels = [[names[i] for i in np.flatnonzero(row)] for row in holds]
        by_column = {"prediction": spread(labels, filled, len(rows))}
        return Answers(by_column, names, expit(wide), filled)
    shares = softmax(wide, axis=-1)
    best = shares.argmax(axis=-1)
    columns = {
        "prediction": [names[i] for i in best],
        "probability": [_rounded(row[i]) for row, i in zip(shares, best, strict=True)],
    }
    rows_of = {name: spread(values, filled, len(rows)) for name, values in columns.items()}
    return Answers(rows_of, names, shares, filled)


def spread(values: Sequence[Any], filled: Sequence[int], rows: int) -> list[Any]:
    """The values at their rows, None at all others."""
    by_column: list[Any] = [None] * rows
    for place, value in zip(filled, values, strict=True):
        by_column[place] = value
    return by_column


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)


def _tags(
    names: tuple[str, ...], logits: np.ndarray, table: TokenTable, rows: Rows, filled: list[int]
) -> dict[str, list[Any]]:
    """The tag of each word, None of one that was cut off; and the entities that they make."""
    assert rows.words is not None and table.text_index is not None and table.word_index is not None
    best = logits.argmax(axis=-1)
    sure = softmax(logits, axis=-1).max(axis=-1)
    tags: list[Any] = [None] * len(rows)
    shares: list[Any] = [None] * len(rows)
    for place in filled:
        tags[place] = [None] * len(rows.words[place] or ())
        shares[place] = list(tags[place])
    offsets = table.position_offsets
    for example, owner in enumerate(table.text_index):
        for position in range(offsets[example], offsets[example + 1]):
            word = int(table.word_index[position])
            tags[filled[owner]][word] = names[best[position]]
            shares[filled[owner]][word] = _rounded(sure[position])
    by_column: dict[str, list[Any]] = {
        "words": rows.words,
        "prediction": tags,
        "probability": shares,
    }
    if are_entities(names):
        by_column["entities"] = [
            None if row is None else _entities(row, words or [])
            for row, words in zip(tags, rows.words, strict=True)
        ]
    return by_column


def _entities(tags: Sequence[str | None], words: Sequence[str]) -> list[dict[str, Any]]:
    """Each with its kind, its text, and its first word and the one after its last, from 0."""
    return [
        {"entity": kind, "text": " ".join(words[begin:end]), "begin": begin, "end": end}
        for kind, begin, end in entity_spans(tags)
    ]


def _places(
    task: QuestionAnswering,
    logits: np.ndarray,
    table: TokenTable,
    rows: Rows,
    filled: list[int],
) -> dict[str, list[Any]]:
    """The answers out of their contexts, with the characters that they stand at."""
    assert rows.pairs is not None
    best = task.best_answers(logits, table)
    by_column: dict[str, list[Any]] = {"prediction": [], "probability": [], "begin": [], "end": []}
    for place, (share, begin, end) in zip(filled, best, strict=True):
        by_column["prediction"].append((rows.pairs[place] or "")[begin:end])
        by_column["probability"].append(_rounded(share))
        by_column["begin"].append(begin)
        by_column["end"].append(end)
    return {name: spread(values, filled, len(rows)) for name, values in by_column.items()}
