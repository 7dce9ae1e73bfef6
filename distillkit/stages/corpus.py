"""Stage: text -> labelled splits, transfer set and token tables."""

from pathlib import Path
from typing import Any

from distillkit.artifacts import write_json
from distillkit.data.corpus import LABELLED, Corpus, TextData, prepare_labelled, prepare_transfer
from distillkit.data.tokens import TokenTable, tokenise
from distillkit.progress import say
from distillkit.tasks import Task


def labelled_inputs(data: TextData, task: Task) -> dict[str, Any]:
    """What decides the labelled splits."""
    return {"version": 1, "task": type(task).__name__, **data.labelled_inputs()}


def transfer_inputs(data: TextData, labelled: str) -> dict[str, Any]:
    """What decides the transfer set; `labelled` is the fingerprint of the text it must not hold."""
    return {"version": 1, "labelled": labelled, **data.transfer_inputs()}


def token_inputs(texts: str, tokenizer: str, max_length: int) -> dict[str, Any]:
    """What decides a token table."""
    return {"version": 1, "texts": texts, "tokenizer": tokenizer, "max_length": max_length}


def make_labelled(data: TextData, task: Task, *, cache: Path, out: Path) -> dict[str, Any]:
    """Write the labelled splits under `out`."""
    return prepare_labelled(data, task.read_labels, cache=cache, out=out)


def make_transfer(data: TextData, labelled: Corpus, *, cache: Path, out: Path) -> dict[str, Any]:
    """Write the transfer set under `out`."""
    return prepare_transfer(data, labelled, cache=cache, out=out)


def make_tokens(
    corpus: Corpus, tokenizer: Any, *, transfer: bool, max_length: int, out: Path
) -> dict[str, Any]:
    """Write the token tables of the labelled splits, or of the transfer set, under `out`."""
    cut, total, tokens = 0, 0, 0
    for name in ("transfer",) if transfer else LABELLED:
        table, long = tokenise(
            corpus.split(name), tokenizer, max_length=max_length, label=f"the {name} texts"
        )
        table.save(out / name)
        cut, total, tokens = cut + long, total + len(table), tokens + len(table.ids)
    facts = {"examples": total, "tokens": tokens, "at_max_length": cut}
    write_json(out / "tokens.json", facts)
    if cut:
        say(
            f"data: {cut:,} of {total:,} {'transfer' if transfer else 'labelled'} texts fill or "
            f"exceed task.max_length = {max_length} tokens (longer ones are cut)"
        )
    return facts


def open_tokens(folder: Path, name: str) -> TokenTable:
    """A split's token table."""
    return TokenTable.open(folder / name)
