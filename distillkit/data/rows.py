"""Rows of text while they are being cleaned, shared out into splits, and written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from distillkit.data.splits import assign, example_key, normalise
from distillkit.errors import DataError
from distillkit.progress import say


class Sources(Protocol):
    """Where the splits come from: `validation` and `test` may be shares of `train`."""

    @property
    def train(self) -> str:
        """The source of the rows that splits are made of."""
        ...

    @property
    def validation_fraction(self) -> float:
        """The share of them that becomes the validation split, where it has no source."""
        ...

    @property
    def test_fraction(self) -> float:
        """The share of them that becomes the test split, where it has no source."""
        ...


@dataclass(slots=True)
class Rows:
    """Texts, what belongs to each, and labels (None where there are none).

    Rows of one of the `groups` stand together in one split; None: each row by itself.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: list[Any]
    groups: list[str] | None = None

    def normalised(self) -> list[str]:
        """The texts as duplicates are judged."""
        pairs: Sequence[str | None] = self.pairs or [None] * len(self.texts)
        return [normalise(text, pair) for text, pair in zip(self.texts, pairs, strict=True)]

    def take(self, rows: Sequence[int] | np.ndarray) -> "Rows":
        """Some of the rows."""
        return Rows(
            [self.texts[i] for i in rows],
            None if self.pairs is None else [self.pairs[i] for i in rows],
            [self.labels[i] for i in rows],
            None if self.groups is None else [self.groups[i] for i in rows],
        )


def say_dropped(what: str, reasons: dict[str, int]) -> None:
    """Say how much was left out, and why."""
    if reasons:
        said = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
        say(f"data: dropped from the {what}: {said}")


def share_out(
    data: Sources, read: Callable[[str, dict[str, int]], Rows]
) -> tuple[dict[str, Rows], dict[str, int]]:
    """(the splits train, validation and test, what was dropped for which reason).

    `read(role, dropped)` gives the rows of a source. No text stands in two splits.
    """
    dropped: dict[str, int] = {}
    rows, again = unique(read("train", dropped))
    if again:
        dropped["duplicate"] = again
    held = {role: read(role, dropped) for role in ("validation", "test") if getattr(data, role)}
    for name, other in held.items():
        held[name], again = unique(other)
        if again:
            dropped[f"duplicate ({name})"] = again
    # whoever stands in a held-out split stands in no other: test before validation before train
    taken: set[str] = set()
    for name in ("test", "validation"):
        if name in held:
            held[name], gone = without(held[name], taken)
            if gone:
                dropped[f"{name} rows also in test"] = gone
            taken |= set(held[name].normalised())
    rows, gone = without(rows, taken)
    if gone:
        dropped["train rows also held out"] = gone
    places = assign(
        rows.normalised() if rows.groups is None else [normalise(group) for group in rows.groups],
        validation_fraction=0.0 if "validation" in held else data.validation_fraction,
        test_fraction=0.0 if "test" in held else data.test_fraction,
    )
    splits = {
        n: held[n] if n in held else rows.take(places[n]) for n in ("train", "validation", "test")
    }
    for name, part in splits.items():
        if not part.texts:
            raise DataError(
                f"data: the {name} split is empty ({len(rows.texts)} rows of {data.train} were "
                f"to be shared out); give data.{name}, other fractions, or more rows"
            )
    return splits, dropped


def unique(rows: Rows) -> tuple[Rows, int]:
    """The first row of each text, and how many others there were."""
    first: dict[str, int] = {}
    for i, text in enumerate(rows.normalised()):
        first.setdefault(text, i)
    kept = sorted(first.values())
    return rows.take(kept), len(rows.texts) - len(kept)


def without(rows: Rows, taken: set[str]) -> tuple[Rows, int]:
    """The rows whose text is not `taken`, and how many were."""
    kept = [i for i, text in enumerate(rows.normalised()) if text not in taken]
    return rows.take(kept), len(rows.texts) - len(kept)


def write_split(
    folder: Path,
    texts: list[str],
    pairs: list[str] | None,
    labels: np.ndarray | list[list[int]] | None,
    **more: list[Any],
) -> None:
    """Write a split into `folder`, each row with its key.

    Labels may be one a row, several, or one for each word; `more` are further columns of strings
    or of lists of strings.
    """
    from datasets import Dataset, Features, List, Value

    paired: Sequence[str | None] = pairs or [None] * len(texts)
    columns: dict[str, Any] = {
        "key": [example_key(text, pair) for text, pair in zip(texts, paired, strict=True)],
        "text": texts,
    }
    kinds = {"key": Value("binary"), "text": Value("string")}
    if pairs is not None:
        columns["pair"], kinds["pair"] = pairs, Value("string")
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        columns["label"] = labels.tolist()
        kinds["label"] = Value("float64" if labels.dtype.kind == "f" else "int64")
    elif labels is not None:
        columns["label"] = labels.tolist() if isinstance(labels, np.ndarray) else labels
        kinds["label"] = List(Value("int64"))
    for name, values in more.items():
        in_lists = any(isinstance(value, list) for value in values)
        columns[name] = values
        kinds[name] = List(Value("string")) if in_lists else Value("string")
    Dataset.from_dict(columns, features=Features(kinds)).save_to_disk(str(folder))
