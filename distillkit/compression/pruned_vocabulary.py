"""A student with the tokens of its data alone: fewer rows of word vectors, and its tokenizer.

The texts that it learnt from have the same tokens and logits as before, which is verified on them;
what changes in texts that it did not see is measured on those held out.
"""

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from distillkit.artifacts.workspace import read_json
from distillkit.compression import tokenizer_pruning as pruning
from distillkit.compression.formats import Format
from distillkit.compression.student import StudentData, TrainedStudent
from distillkit.compression.vocabulary_facts import describe
from distillkit.console.progress import say
from distillkit.errors import ModelError
from distillkit.models.folders import VOCABULARIES
from distillkit.models.saving import CONFIG, save_folder
from distillkit.tasks.unknown_tokens import unknown_share
from distillkit.token_table import TokenTable

TOLERANCE = 1e-4  # of logits, or of the largest one where that is above 1
CHECKED = 8  # texts whose logits are compared
LISTS = ("suppress_tokens", "begin_suppress_tokens")  # of ids, in a generation config


def write(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Write a student with the vocabulary of its data under `out`; how large that is.

    Raises `ModelError` for a tokenizer or a model that cannot be pruned without loss.
    """
    assert student.data is not None
    data, at = student.data(), student.at
    model, tokenizer = data.model(student.folder), data.tokenizer(student.folder)
    content = pruning.content_of(tokenizer, at=at)
    table, rows = data.training(tokenizer), len(model.get_input_embeddings().weight)
    ids = _ids_of_config(model) & {*range(rows)}
    text_ids = ids | {*np.unique(table.ids).tolist()}
    selection, new_tokenizer = _prune(content, text_ids, table, tokenizer, data, out, at=at)
    order = [*sorted(selection), *sorted(ids - selection)]  # last, what is in no tokenizer

    inputs = list(islice(data.inputs(table, tokenizer), CHECKED))
    expected = [_logits(model, item) for item in inputs]
    _keep_rows(model, order)
    _save(model, new_tokenizer, student.folder, out)
    _check(data.model(out), inputs, expected, order, at=at)

    facts: dict[str, Any] = {"tokens": len(order), "of": rows}
    facts |= _held_out(data, tokenizer, new_tokenizer, selection)
    say(f"compression: {form.name}: {describe(facts)}")
    return {"record": {"vocabulary": facts}, "vocabulary": facts}


def _prune(
    content: Mapping[str, Any],
    text_ids: Iterable[int],
    table: TokenTable,
    tokenizer: Any,
    data: StudentData,
    out: Path,
    *,
    at: str,
) -> tuple[set[int], Any]:
    """(the ids that remain, a tokenizer of those): it gives the texts of `table` its tokens."""
    selection = pruning.closure(content, text_ids)
    while True:
        new_tokenizer = _with(tokenizer, pruning.prune(content, selection), data, out, at=at)
        order = np.array(sorted(selection))
        new_table = data.training(new_tokenizer)
        differences = _differences(table, new_table, order)
        if differences is None:
            return selection, new_tokenizer
        tokens = new_tokenizer.convert_ids_to_tokens(differences.tolist())
        more = pruning.pieces_within(content, tokens) - selection
        if content["model"]["type"] != "WordPiece" or not more:
            raise ModelError(
                f"{at}: its tokenizer splits texts of the training set otherwise once it has the "
                "tokens of these alone; it cannot be pruned, leave this format out"
            )
        selection |= more


def _differences(before: TokenTable, after: TokenTable, order: np.ndarray) -> np.ndarray | None:
    """The new ids of the examples that are read otherwise; None where there are none."""
    if np.array_equal(before.offsets, after.offsets) and np.array_equal(
        before.ids, order[after.ids]
    ):
        return None
    places = zip(before.offsets, before.offsets[1:], after.offsets, after.offsets[1:], strict=False)
    parts = [
        after.ids[new:new_end]
        for old, old_end, new, new_end in places
        if not np.array_equal(before.ids[old:old_end], order[after.ids[new:new_end]])
    ]
    return np.concatenate([np.zeros(0, np.int32), *parts])


def _with(tokenizer: Any, content: dict[str, Any], data: StudentData, out: Path, *, at: str) -> Any:
    """The tokenizer with another tokenizer.json, written under `out` and read from there."""
    for pattern in (*VOCABULARIES, "added_tokens.json"):
        for path in out.glob(pattern):
            path.unlink()
    before = tokenizer._tokenizer
    try:
        tokenizer._tokenizer = Tokenizer.from_str(json.dumps(content))
        tokenizer.save_pretrained(out)
    finally:
        tokenizer._tokenizer = before
    new_tokenizer = data.tokenizer(out)
    expected = {token: i for i, token in pruning.tokens_of(content).items()}
    if new_tokenizer.get_vocab() != expected:
        raise ModelError(
            f"{at}: transformers reads its tokenizer ({type(tokenizer).__name__}) with tokens of "
            "its own once some are gone; it cannot be pruned, leave this format out"
        )
    return new_tokenizer


@torch.no_grad()
def _keep_rows(model: Any, order: list[int]) -> None:
    """Give a model the word vectors, and outputs of words, of these ids in this order."""
    modules = [model.get_input_embeddings(), model.get_output_embeddings()]
    weights = {
        id(weight): weight
        for module in modules
        if module is not None
        for weight in module.parameters(recurse=False)
    }
    for weight in weights.values():
        weight[: len(order)] = weight[torch.tensor(order)]
    model.resize_token_embeddings(len(order))
    new_ids = {old: new for new, old in enumerate(order)}
    for holder in _holders(model):
        for name, value in _ids(holder).items():
            setattr(holder, name, _renumbered(value, new_ids))


def _renumbered(value: Any, new_ids: Mapping[int, int]) -> Any:
    """New ids for old ones; those of tokens that are gone are left out of a list."""
    if isinstance(value, int):
        return new_ids.get(value, value)
    return [new_ids[i] for i in value if i in new_ids]


def _ids_of_config(model: Any) -> set[int]:
    """The ids that a model's settings name: what begins, ends and pads a text."""
    ids = set[int]()
    for holder in _holders(model):
        for name, value in _ids(holder).items():
            if name not in LISTS:
                ids |= {value} if isinstance(value, int) else {*value}
    return ids


def _holders(model: Any) -> list[Any]:
    generation = getattr(model, "generation_config", None)
    holders = [model.config, model.config.get_text_config(), generation]
    return list({id(holder): holder for holder in holders if holder is not None}.values())


def _ids(holder: Any) -> dict[str, Any]:
    """The fields of a config that hold token ids."""
    return {
        name: value
        for name, value in vars(holder).items()
        if (name.endswith(("_token_id", "_token_ids")) or name in LISTS)
        and (type(value) is int or (isinstance(value, list) and value))
    }


def _save(model: Any, tokenizer: Any, source: Path, out: Path) -> None:
    """Write the folder, its weights in the type that they came in."""
    config = read_json(source / CONFIG)
    stored = config.get("dtype") or config.get("torch_dtype") or "float32"
    model.to(getattr(torch, stored))
    save_folder(model, tokenizer, out, max_length=tokenizer.model_max_length)


def _check(
    model: Any,
    inputs: list[dict[str, Tensor]],
    expected: list[Tensor],
    order: list[int],
    *,
    at: str,
) -> None:
    """Raise `ModelError` where a model says something else of the same texts than before."""
    new_ids = torch.zeros(max(order) + 1, dtype=torch.long)
    new_ids[torch.tensor(order)] = torch.arange(len(order))
    for item, before in zip(inputs, expected, strict=True):
        after = _logits(model, item | {"input_ids": new_ids[item["input_ids"]]})
        of_words = model.get_output_embeddings() is not None
        same = before[..., torch.tensor(order)] if of_words else before
        gap = float((after - same).abs().max()) / max(1.0, float(same.abs().max()))
        if not gap <= TOLERANCE:  # NaN, too
            raise ModelError(
                f"{at}: says something else without the tokens that its data has not (its logits "
                f"differ by {gap:.2g}, at most {TOLERANCE:g}); it cannot be pruned, leave this "
                "format out"
            )


@torch.no_grad()
def _logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    outputs = model(**inputs)
    if "logits" in outputs:
        return outputs.logits.float()
    return torch.stack([outputs.start_logits, outputs.end_logits], dim=-1).float()


def _held_out(data: StudentData, before: Any, after: Any, selection: set[int]) -> dict[str, Any]:
    """Shares of the held-out text's tokens: not among those that remain, and unknown."""
    old, new = data.held_out(before).ids, data.held_out(after).ids
    return {
        "spelt_otherwise": float((~np.isin(old, sorted(selection))).mean()) if len(old) else 0.0,
        "unknown": unknown_share(new, after),
        "unknown_before": unknown_share(old, before),
        "longer": len(new) / max(1, len(old)),
    }
