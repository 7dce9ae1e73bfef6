"""The models of an evaluation, loaded, each with the held-out text under its tokenizer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from distillkit.console.progress import say
from distillkit.data.corpus import Split
from distillkit.errors import ModelError
from distillkit.evaluation.efficiency import Measured
from distillkit.evaluation.respelling import respelling, respelt
from distillkit.models.configs import check_positions
from distillkit.models.runtimes.record import is_pruned
from distillkit.models.saved import SavedMembers, SavedModel
from distillkit.tasks import Task
from distillkit.tasks.shared_words import shared
from distillkit.token_table import TokenTable
from distillkit.training.collation import collator
from distillkit.types import LabelSpace


def device_of_models() -> torch.device:
    """The GPU of this process, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def all_loaded(
    models: Mapping[str, SavedMembers],
    task: Task,
    space: LabelSpace,
    test: Split,
    device: torch.device,
) -> dict[str, Measured]:
    """All rows on the device, over the same positions."""
    loaded: dict[str, Measured] = {}
    shared = _shared(models, task, test) if task.family == "language" else None
    for row, saved in models.items():
        loaded[row] = loaded_row(saved, task, space, test, device, shared)
        loaded[row].move(device)
    return loaded if task.family == "language" else comparable(loaded, device)


def _shared(
    models: Mapping[str, SavedMembers], task: Task, test: Split
) -> tuple[TokenTable, SavedModel, Any]:
    """The held-out text as all language models read it, by which model, and its tokenizer.

    That is the student's with its template, but one whose vocabulary was pruned comes last. A
    student without a chat template of its own reads by the first other one's.
    """
    rows = sorted(models, key=lambda row: row != "student")
    saved = sorted((models[row].members[0] for row in rows), key=lambda it: is_pruned(it.folder))
    tokenizers = [
        task.load_tokenizer(model.folder, key=model.key, trust_remote_code=model.trust_remote_code)
        for model in saved
    ]
    needs_template = test.messages is not None and test.chat.template is None
    usable = [model for model in tokenizers if model.chat_template or not needs_template]
    reader = (usable or tokenizers)[0]
    table, _ = task.tokenise(test, reader, label="the test texts", held_out=True)
    return table, saved[tokenizers.index(reader)], reader


def loaded_row(
    saved: SavedMembers,
    task: Task,
    space: LabelSpace,
    test: Split,
    device: torch.device,
    shared: tuple[TokenTable, SavedModel, Any] | None = None,
) -> Measured:
    """A model, or all of an ensemble's, with the held-out text (as `shared` by all, or its own)."""
    first, *later = (_member(member, task, space, test, device, shared) for member in saved.members)
    return replace(first, later_members=tuple(later), shares=saved.shares)


def _member(
    saved: SavedModel,
    task: Task,
    space: LabelSpace,
    test: Split,
    device: torch.device,
    shared: tuple[TokenTable, SavedModel, Any] | None,
) -> Measured:
    model, at, counts = saved.open(task, space), f"{saved.key} = {saved.folder}", None
    check_positions(model.model, task.max_length, owner=at)
    if shared is None:
        table, _ = task.tokenise(test, model.tokenizer, label="the test texts", held_out=True)
    else:
        table, reader, tokenizer = shared
        if is_pruned(saved.folder) and reader.folder != saved.folder:
            pieces = respelling(tokenizer, model.tokenizer, table.ids, at=at)
            table, counts = respelt(table, pieces)
            check_positions(model.model, int(table.lengths.max()), owner=at)
    collate = collator(table, model.tokenizer, device)
    forward_fn = task.forward_fn(model.tokenizer)
    return Measured(saved, model, table, collate, forward_fn, counts=counts)


def same_windows(first: TokenTable, second: TokenTable) -> bool:
    """Whether the examples of two tables are the same stretches of text, by whatever ids."""
    if np.array_equal(first.keys, second.keys):
        return True
    pairs = [
        (getattr(first, name), getattr(second, name))
        for name in ("text_index", "offsets", "char_spans")
    ]
    return all(a is not None and b is not None and np.array_equal(a, b) for a, b in pairs)


def comparable(loaded: Mapping[str, Measured], device: torch.device) -> dict[str, Measured]:
    """The same models over the same positions; raises `ModelError` where there are no such.

    Tagged words count that every tokenizer has a token for. A model whose vocabulary was pruned may
    have windows of its own (`same_windows`).
    """
    members = [member for measured in loaded.values() for member in measured.members]
    if members[0].table.word_index is None:
        for measured in members:
            is_same = same_windows(measured.table, members[0].table)
            if not is_same and not is_pruned(measured.saved.folder):
                raise ModelError(
                    f"{measured.saved.key}: its tokenizer cuts the held-out texts elsewhere than "
                    "the others' do, so that they say labels of other words; raise task.max_length"
                )
        return dict(loaded)
    masks = shared([measured.table for measured in members])
    if all(mask.all() for mask in masks):
        return dict(loaded)
    width, remaining = max(len(mask) for mask in masks), int(masks[0].sum())
    say(
        f"evaluation: {width - remaining:,} of {width:,} words are left out of all figures: a "
        "tokenizer has no token for them, or cuts their sentence earlier"
    )
    if not remaining:
        raise ModelError(f"{members[-1].saved.key}: its tokenizer has no word that the others have")
    tables = iter(
        [measured.table.counting(mask) for measured, mask in zip(members, masks, strict=True)]
    )

    def over(measured: Measured) -> Measured:
        table = next(tables)
        return replace(
            measured, table=table, collate=collator(table, measured.loaded.tokenizer, device)
        )

    return {
        row: replace(
            over(measured), later_members=tuple(over(member) for member in measured.later_members)
        )
        for row, measured in loaded.items()
    }
