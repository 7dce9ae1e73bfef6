"""Rows of text while they are being cleaned, shared out into splits, and written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.artifacts.workspace import write_json
from distillkit.console.progress import say
from distillkit.data.splits import example_key, normalise
from distillkit.types import LabelSpace


@dataclass(slots=True)
class Rows:
    """Texts, what belongs to each, and labels (None where there are none).

    Rows of one of the `groups` stand together in one split; None: each row by itself. `numbers` are
    those of the rows in their source, from 1 on; None: 1, 2, … `classes` are the names that the
    source has for its labels, in their order.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: list[Any]
    groups: list[str] | None = None
    numbers: list[int] | None = None
    classes: tuple[str, ...] | None = None

    def normalised(self) -> list[str]:
        """The texts as duplicates are judged."""
        pairs: Sequence[str | None] = self.pairs or [None] * len(self.texts)
        return [normalise(text, pair) for text, pair in zip(self.texts, pairs, strict=True)]

    def number(self, place: int) -> int:
        """The number of a row in its source, from 1 on."""
        return place + 1 if self.numbers is None else self.numbers[place]

    def take(self, rows: Sequence[int] | np.ndarray) -> "Rows":
        """Some of the rows."""
        return Rows(
            [self.texts[i] for i in rows],
            None if self.pairs is None else [self.pairs[i] for i in rows],
            [self.labels[i] for i in rows],
            None if self.groups is None else [self.groups[i] for i in rows],
            [self.number(i) for i in rows],
            self.classes,
        )


def say_dropped(subject: str, reasons: dict[str, int]) -> None:
    """Say how much was left out, and why."""
    if reasons:
        reasons_text = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
        say(f"data: dropped from the {subject}: {reasons_text}")


def write_labels(folder: Path, labels: LabelSpace, **extra: Any) -> None:
    """Write the label space of all splits; `extra` is what else `Corpus.open` reads."""
    write_json(folder / "labels.json", asdict(labels) | extra)


def write_split(
    folder: Path,
    texts: list[str],
    pairs: list[str] | None,
    labels: np.ndarray | list[list[int]] | None,
    numbers: list[int] | None = None,
    **extra: list[Any],
) -> None:
    """Write a split into `folder`, each row with its key.

    Labels may be one a row, several, or one for each word; `numbers` are those of the rows in their
    source; `extra` are further columns of strings or of lists of strings.
    """
    from datasets import Dataset, Features, List, Value, disable_progress_bars

    disable_progress_bars()
    paired: Sequence[str | None] = pairs or [None] * len(texts)
    columns: dict[str, Any] = {
        "key": [example_key(text, pair) for text, pair in zip(texts, paired, strict=True)],
        "text": texts,
    }
    kinds = {"key": Value("binary"), "text": Value("string")}
    if pairs is not None:
        columns["pair"], kinds["pair"] = pairs, Value("string")
    if numbers is not None:
        columns["row"], kinds["row"] = numbers, Value("int64")
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        columns["label"] = labels.tolist()
        kinds["label"] = Value("float64" if labels.dtype.kind == "f" else "int64")
    elif labels is not None:
        columns["label"] = labels.tolist() if isinstance(labels, np.ndarray) else labels
        kinds["label"] = List(Value("int64"))
    for name, values in extra.items():
        in_lists = any(isinstance(value, list) for value in values)
        columns[name] = values
        kinds[name] = List(Value("string")) if in_lists else Value("string")
    Dataset.from_dict(columns, features=Features(kinds)).save_to_disk(str(folder))
