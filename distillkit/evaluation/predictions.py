"""What each model said about the held-out rows, for machines and for people."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.console.escaping import csv_cell
from distillkit.data.corpus import Split
from distillkit.tasks import HeldOut, SequenceTask
from distillkit.token_table import TokenTable

ARRAYS, TABLE = "predictions.npz", "predictions.csv"


def write_predictions(
    logits: Mapping[str, np.ndarray], task: SequenceTask, held_out: HeldOut, *, out: Path
) -> None:
    """Write the logits of each model and, where the task's answers can be written, a csv of them.

    Both are in the order of the test source, and `rows` [examples] are the numbers of its rows,
    from 1 on. In the csv are a row's number, its label, and what each model predicted; a label that
    a spreadsheet would compute has an apostrophe before it (see `csv_cell`).
    """
    rows = row_numbers(held_out)
    arrays = {"rows": rows, "labels": held_out.table.labels, **logits}
    np.savez(out / ARRAYS, allow_pickle=False, **arrays)
    references = task.references(held_out)
    if references is None:
        return
    columns: dict[str, Sequence[Any]] = {**references}
    for name, values in logits.items():
        for column_name, column in task.predictions(values, held_out).items():
            columns[f"{name}_{column_name}" if column_name else name] = column
    _write_table(columns, text_numbers(held_out, len(next(iter(columns.values())))), out)


def write_texts(
    nats: Mapping[str, np.ndarray], table: TokenTable, split: Split, *, out: Path
) -> None:
    """Write a csv of the held-out texts: how many tokens count, and each model's nats a token.

    `nats` are those of each position, row -> [positions], in the order of the table. A text of
    which nothing counts is left out.
    """
    if table.text_index is None:
        return
    owner = np.repeat(np.asarray(table.text_index), table.positions)
    counts = np.bincount(owner, minlength=len(split))
    has_answers = np.flatnonzero(counts)
    columns: dict[str, Sequence[Any]] = {"tokens": counts[has_answers].tolist()}
    for name, values in nats.items():
        sums = np.bincount(owner, weights=values, minlength=len(split))
        columns[f"{name}_nll"] = (sums[has_answers] / counts[has_answers]).round(6).tolist()
    numbers = np.arange(len(split)) + 1 if split.numbers is None else np.asarray(split.numbers)
    _write_table(columns, numbers[has_answers], out)


def _write_table(columns: Mapping[str, Sequence[Any]], numbers: np.ndarray, out: Path) -> None:
    with (out / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", *columns])
        cells = (map(csv_cell, column) for column in columns.values())
        writer.writerows(zip(numbers.tolist(), *cells, strict=True))


def text_numbers(held_out: HeldOut, texts: int) -> np.ndarray:
    """The number in its source of each text; several examples may be of one."""
    if len(held_out.table) == texts:
        return row_numbers(held_out)
    numbers = held_out.split.numbers
    return np.arange(texts) + 1 if numbers is None else np.asarray(numbers, np.int64)


def row_numbers(held_out: HeldOut) -> np.ndarray:
    """The number in its source of the row that each example is of, int64 [examples]."""
    table, split = held_out.table, held_out.split
    text_index = np.arange(len(table)) if table.text_index is None else np.asarray(table.text_index)
    if split is None or split.numbers is None:
        return text_index.astype(np.int64) + 1
    return np.asarray(split.numbers, np.int64)[text_index]
