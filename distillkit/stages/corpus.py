"""Stage: text -> labelled splits, transfer set and token tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distillkit.artifacts.code_identity import code_identity
from distillkit.artifacts.versions import VERSIONS
from distillkit.console.progress import say, warn
from distillkit.data import Augmentation, Data, prepare_augmented
from distillkit.data.corpus import Corpus, Split
from distillkit.errors import ConfigError, DataError
from distillkit.tasks import Task, identity_of
from distillkit.tasks.unknown_tokens import MUCH, unknown_share
from distillkit.token_table import TableWriter, TokenTable

HELD_OUT = ("validation", "test")
CHARACTERS = 2**22  # of text that is tokenised at a time: its ids alone are in memory


def check_fit(data: Data, task: Task) -> None:
    """Raise `ConfigError` where the data is not what the task learns from."""
    if data.kind not in task.reads:
        choices = " or ".join(f"data={kind}" for kind in task.reads)
        raise ConfigError(
            f"data: {type(data).__name__} is not for {type(task).__name__}; choose {choices}"
        )
    data.check_task(task)


def labelled_fields(data: Data, task: Task) -> dict[str, Any]:
    """What decides the labelled splits."""
    fields = {
        **data.labelled_fields(),
        **({"code": code} if (code := code_identity(data)) else {}),
    }
    if task.family == "sequence":  # which reads the labels
        return {"version": VERSIONS["data"], **identity_of(task), **fields}
    usual = VERSIONS["data of conversations"]
    return {"version": VERSIONS.get(f"data of {data.kind}", usual), **fields}


def check_augmented(data: Data, augmentation: Augmentation) -> None:
    """Raise `ConfigError` where the data has no texts that could be rewritten without labels."""
    if augmentation.copies and not data.can_be_augmented:
        raise ConfigError(
            f"augmentation = {type(augmentation).__name__}: rewrites texts of data=files, and "
            f"data is {type(data).__name__}; set augmentation=none"
        )


def augmented_fields(augmentation: Augmentation, labelled: str) -> dict[str, Any]:
    """What decides the copies of the training texts."""
    return {
        "version": VERSIONS["augmented"],
        "labelled": labelled,
        **augmentation.fingerprint_fields(),
    }


def make_augmented(
    augmentation: Augmentation, labelled: Corpus, *, cache: Path, out: Path
) -> dict[str, Any]:
    """Write copies of the training texts under `out`."""
    return prepare_augmented(augmentation, labelled, cache=cache, out=out)


def transfer_fields(data: Data, labelled: str, *, augmented: str | None = None) -> dict[str, Any]:
    """What decides the transfer set.

    `labelled` is the fingerprint of the text it must not hold, `augmented` that of the copies in
    it.
    """
    fields = {"version": VERSIONS["transfer"], "labelled": labelled, **data.transfer_fields()}
    return fields | ({"augmented": augmented} if augmented else {})


def make_labelled(data: Data, task: Task, *, cache: Path, out: Path) -> dict[str, Any]:
    """Write the labelled splits under `out`."""
    return data.prepare(task, cache=cache, out=out)


def make_transfer(
    data: Data, labelled: Corpus, *, cache: Path, out: Path, augmented: Path | None = None
) -> dict[str, Any]:
    """Write the transfer set under `out`."""
    return data.prepare_transfer(labelled, cache=cache, out=out, augmented=augmented)


def token_fields(texts: str, tokenizer: str, task: Task, name: str) -> dict[str, Any]:
    """What decides the token table of a split."""
    fields = task.feature_fields(held_out=name in HELD_OUT)
    return {
        "version": VERSIONS["tokens"],
        "texts": texts,
        "tokenizer": tokenizer,
        "split": name,
        **fields,
    }


def _parts(split: Split, label: str) -> Iterator[tuple[int, Split, str]]:
    """(its first text, what is tokenised at a time, its label); plain text comes in parts."""
    if not split.is_plain or not len(split):
        yield 0, split, label
        return
    for first, part in split.pieces(CHARACTERS):
        is_all = len(part) == len(split)
        yield first, part, label if is_all else f"{label} from {first:,} on, of {len(split):,}"


def make_tokens(
    corpus: Corpus,
    tokenizer: Any,
    task: Task,
    *,
    name: str,
    out: Path,
    source: str = "",
    warned: set[str] | None = None,
) -> dict[str, Any]:
    """Write the token table of a split under `out`; `source` is the tokenizer's, for messages.

    Of a tokenizer that cannot read the text is warned once: `warned` takes the sources.
    """
    truncated = 0
    with TableWriter(out) as writer:
        for first_text, part, label in _parts(corpus.split(name), f"the {name} texts"):
            table, cut = task.tokenise(part, tokenizer, label=label, held_out=name in HELD_OUT)
            writer.append(table, first_text=first_text)
            truncated += cut
    table = TokenTable.open(out)
    if not len(table):
        raise DataError(f"data: no text of the {name} split has anything to learn")
    if truncated:
        say(
            f"data: {truncated:,} of the {name} texts fill or exceed task.max_length = "
            f"{task.max_length} tokens ({task.cuts})"
        )
    unknown = unknown_share(table.ids, tokenizer)
    if unknown is not None and unknown > MUCH and source not in (warned or ()):
        if warned is not None:
            warned.add(source)
        warn(
            f"data: {unknown:.1%} of the tokens of the {name} texts are unknown to the tokenizer "
            f"of {source or 'the model'}, which cannot tell them apart; choose a model whose "
            "vocabulary has the words of this text"
        )
    return {
        "examples": len(table),
        "unknown_tokens": unknown,
        "tokens": len(table.ids),
        "positions": int(table.positions.sum()),
        "at_max_length": truncated,
    }
