"""What each model said about the held-out rows, for machines and for people."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from distillkit.escaping import csv_cell
from distillkit.tasks import HeldOut, SequenceTask

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
    columns = {"label": task.answers_as_text(np.asarray(held_out.table.labels), held_out)}
    for name, values in logits.items():
        columns[name] = task.answers_as_text(task.predicted(values), held_out)
    if any(column is None for column in columns.values()):
        return
    with (out / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", *columns])
        texts = (map(csv_cell, column or []) for column in columns.values())
        writer.writerows(zip(rows.tolist(), *texts, strict=True))


def row_numbers(held_out: HeldOut) -> np.ndarray:
    """The number in its source of the row that each example is of, int64 [examples]."""
    table, split = held_out.table, held_out.split
    owners = np.arange(len(table)) if table.owners is None else np.asarray(table.owners)
    if split is None or split.numbers is None:
        return owners.astype(np.int64) + 1
    return np.asarray(split.numbers, np.int64)[owners]
