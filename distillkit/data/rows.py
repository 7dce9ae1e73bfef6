"""Rows of text while they are being cleaned, shared out into splits, and written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.artifacts.workspace import write_json
from distillkit.console.progress import say
from distillkit.data.splits import example_key, normalise, size_rank
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


class DocumentWriter:
    """A split of plain text, written row by row; `write_split` writes the same rows at once.

    Of more than `size` rows those are left whose hash is the lowest, as `Texts.sized` has it.
    """

    def __init__(self, folder: Path, size: int | None = None) -> None:
        from datasets import Features, Value, disable_progress_bars
        from datasets.arrow_writer import ArrowWriter

        disable_progress_bars()
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._folder, self._size, self.rows = folder, size, 0
        self._draft = folder.with_name(f"{folder.name}.draft.arrow")
        kinds = {"key": Value("binary"), "text": Value("string"), "row": Value("int64")}
        self._writer = ArrowWriter(path=str(self._draft), features=Features(kinds))
        self._ranks: list[np.ndarray] = []

    def write(self, texts: Sequence[str], numbers: Sequence[int], rows: np.ndarray) -> None:
        """Write those of the texts that are `rows`, bool [texts]."""
        places = np.flatnonzero(rows).tolist()
        if not places:
            return
        part = [texts[i] for i in places]
        columns = {
            "key": [example_key(text) for text in part],
            "text": part,
            "row": [numbers[i] for i in places],
        }
        self._writer.write_batch(columns)
        self.rows += len(part)
        if self._size is not None:
            self._ranks.append(np.array([size_rank(text) for text in part]))

    def close(self) -> int:
        """Put the split into its folder; how many rows it has."""
        from datasets import Dataset

        self._writer.finalize()
        dataset = Dataset.from_file(str(self._draft))
        if self._size is not None and self.rows > self._size:
            ranked = np.argsort(np.concatenate(self._ranks), kind="stable")
            dataset = dataset.select(np.sort(ranked[: self._size]))
        dataset.save_to_disk(str(self._folder))
        self._draft.unlink()
        return len(dataset)
