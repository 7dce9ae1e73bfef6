"""Rows of text -> what a student says about each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from distillkit.console.progress import say, track, warn, working
from distillkit.data.corpus import Split
from distillkit.errors import DataError, ModelError
from distillkit.models.configs import check_positions
from distillkit.models.inference import in_order, logits_of
from distillkit.models.saved import Loaded, SavedModel
from distillkit.prediction.answers import Answers, answers_of
from distillkit.prediction.purpose import Purpose
from distillkit.prediction.rows import Rows
from distillkit.tasks import QuestionAnswering, SequenceTask, TokenClassification
from distillkit.token_table import TokenTable
from distillkit.training.batching import length_buckets
from distillkit.training.collation import collator
from distillkit.training.validation import VALIDATION_TOKENS
from distillkit.types import KEY_BYTES


def predict(
    saved: SavedModel, purpose: Purpose, rows: Rows, *, batch_size: int | None = None
) -> Answers:
    """What a student says about each row, in their order; None of a row without text.

    Texts are cut as in training, and how many were is said. A text's answer is the same whatever
    stands beside it. Raises `DataError` where there is no text, `ModelError` for a student that
    cannot be loaded, or says no numbers.
    """
    filled = rows.filled()
    if not filled:
        raise DataError(f"no text in any of the {len(rows):,} rows")
    if len(filled) < len(rows):
        empty = next(i for i, place in enumerate([*filled, -1]) if i != place)
        warn(
            f"{len(rows) - len(filled):,} of {len(rows):,} rows have no text (the first is row "
            f"{empty + 1:,}); they stay rows, with no prediction"
        )
    with working(f"predict: loading {saved.folder}"):
        loaded = saved.open(purpose.task, purpose.labels)
    task = purpose.task
    check_positions(loaded.model, task.max_length, owner=f"{saved.key} = {saved.folder}")
    split = _split(rows, filled)
    table, truncated = task.tokenise(split, loaded.tokenizer, label="the texts", held_out=True)
    _say_cut(purpose, split, table, loaded, truncated)
    logits = _logits(loaded, task, table, batch_size)
    check_numbers(logits, table, filled, f"{saved.key} = {saved.folder}")
    return answers_of(purpose, logits, table, rows, filled)


def _split(rows: Rows, filled: Sequence[int]) -> Split:
    """The rows that have text, as a task reads them."""
    words = None if rows.words is None else [rows.words[i] or [] for i in filled]
    return Split(
        np.zeros(len(filled), f"S{KEY_BYTES}"),
        [rows.texts[i] or "" for i in filled],
        None if rows.pairs is None else [rows.pairs[i] or "" for i in filled],
        None if words is None else np.zeros(sum(map(len, words)), np.int64),
        words=words,
        answers=[[] for _ in filled],
    )


def _logits(
    loaded: Loaded, task: SequenceTask, table: TokenTable, batch_size: int | None
) -> np.ndarray:
    """Logits [positions, classes] of all examples, in the order of the table."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = loaded.model.to(device)
    if not len(table):  # tagged words, of which the tokenizer has none
        return np.zeros((0, 1), np.float32)
    buckets = length_buckets(table.lengths, tokens=VALIDATION_TOKENS)
    if getattr(model, "has_batch_ranges", False):
        batch_size = 1  # else a text's answer would change with those beside it
    if batch_size is not None:
        buckets = [b[i : i + batch_size] for b in buckets for i in range(0, len(b), batch_size)]
    collate = collator(table, loaded.tokenizer, device)
    parts = []
    with track("predict", len(table), unit="texts") as progress:
        for part in logits_of(model, task.forward_fn(loaded.tokenizer), buckets, collate):
            parts.append(part)
            progress.advance(len(part["rows"]), len(part["rows"]))
    logits = in_order(parts, table.position_offsets)
    return logits if loaded.order is None else logits[:, loaded.order]


def _say_cut(
    purpose: Purpose, split: Split, table: TokenTable, loaded: Loaded, truncated: int
) -> None:
    """Say how many texts are longer than what is read of them."""
    longest = purpose.task.max_length
    if isinstance(purpose.task, QuestionAnswering):
        if truncated:
            say(f"predict: {truncated:,} contexts are read in several windows of {longest} tokens")
        return
    if not isinstance(purpose.task, TokenClassification) and truncated:
        full = np.flatnonzero(table.lengths == longest)  # just as long, or longer
        part = replace(split, texts=[split.texts[int(i)] for i in full], pairs=None)
        pairs = None if split.pairs is None else [split.pairs[i] for i in full]
        rows_of_ids: Any = loaded.tokenizer(part.texts, pairs, verbose=False)["input_ids"]
        truncated = sum(len(ids) > longest for ids in rows_of_ids)
    if truncated:
        verb = "are" if truncated > 1 else "is"
        say(
            f"predict: {truncated:,} of {len(split):,} texts {verb} longer than {longest} tokens, "
            "and cut there as in training (task.max_length=N reads more)"
        )


def check_numbers(logits: np.ndarray, table: TokenTable, filled: Sequence[int], at: str) -> None:
    """Raise `ModelError` for outputs that are no numbers; -inf stands where none may be chosen."""
    bad_rows = np.flatnonzero(np.isnan(logits).any(axis=-1) | np.isposinf(logits).any(axis=-1))
    if not len(bad_rows):
        return
    example = int(np.searchsorted(table.position_offsets, bad_rows[0], side="right")) - 1
    text = example if table.text_index is None else int(table.text_index[example])
    raise ModelError(
        f"{at}: what it says of row {filled[text] + 1:,} is no number ({len(bad_rows):,} outputs "
        "are NaN or infinite); its weights are damaged, or its training diverged"
    )
