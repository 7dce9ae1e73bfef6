"""Stage: text -> labelled splits, transfer set and token tables."""

from pathlib import Path
from typing import Any

from distillkit.artifacts.homes import expanded
from distillkit.artifacts.versions import VERSIONS
from distillkit.console.progress import say, warn
from distillkit.data import Augmentation, Data, prepare_augmented
from distillkit.data.conversations import (
    Conversations,
    is_template,
    prepare_conversations,
)
from distillkit.data.corpus import Corpus, prepare_labelled, prepare_transfer
from distillkit.data.documents import Documents, prepare_documents
from distillkit.data.folders import model_folder
from distillkit.data.text_data import TextData
from distillkit.errors import ConfigError, DataError
from distillkit.tasks import SequenceTask, Task
from distillkit.tasks.unknown_tokens import MUCH, unknown_share

HELD_OUT = ("validation", "test")


def check_fit(data: Data, task: Task) -> None:
    """Raise `ConfigError` where the data is not what the task learns from."""
    if data.kind not in task.reads:
        choices = " or ".join(f"data={kind}" for kind in task.reads)
        raise ConfigError(
            f"data: {type(data).__name__} is not for {type(task).__name__}; choose {choices}"
        )
    if isinstance(data, TextData) and data.decimal and task.distribution != "real":
        raise ConfigError(
            f"data.decimal = {data.decimal}: is for real values, and other labels stay as they are "
            "written; choose task=regression, or set it to null"
        )


def labelled_inputs(data: Data, task: Task) -> dict[str, Any]:
    """What decides the labelled splits."""
    if isinstance(task, SequenceTask):  # which reads the labels
        return {"version": VERSIONS["data"], "task": type(task).__name__, **data.labelled_inputs()}
    version = VERSIONS[f"data of {'documents' if isinstance(data, Documents) else 'conversations'}"]
    return {"version": version, **data.labelled_inputs()}


def check_augmented(data: Data, how: Augmentation) -> None:
    """Raise `ConfigError` where the data has no texts that could be rewritten without labels."""
    if how.copies and not isinstance(data, TextData):
        raise ConfigError(
            f"augmentation = {type(how).__name__}: rewrites texts of data=files, and data is "
            f"{type(data).__name__}; set augmentation=none"
        )


def augmented_inputs(how: Augmentation, labelled: str) -> dict[str, Any]:
    """What decides the copies of the training texts."""
    return {"version": VERSIONS["augmented"], "labelled": labelled, **how.inputs()}


def make_augmented(
    how: Augmentation, labelled: Corpus, *, cache: Path, out: Path
) -> dict[str, Any]:
    """Write copies of the training texts under `out`."""
    return prepare_augmented(how, labelled, cache=cache, out=out)


def transfer_inputs(data: Data, labelled: str, *, augmented: str | None = None) -> dict[str, Any]:
    """What decides the transfer set.

    `labelled` is the fingerprint of the text it must not hold, `augmented` that of the copies in
    it.
    """
    assert isinstance(data, TextData)
    decided = {"version": VERSIONS["transfer"], "labelled": labelled, **data.transfer_inputs()}
    return decided | ({"augmented": augmented} if augmented else {})


def make_labelled(data: Data, task: Task, *, cache: Path, out: Path) -> dict[str, Any]:
    """Write the labelled splits under `out`."""
    if isinstance(data, Documents):
        return prepare_documents(data, cache=cache, out=out)
    if isinstance(data, Conversations):
        template = chosen_template(data.chat_template, task, cache=cache)
        return prepare_conversations(data, template, cache=cache, out=out)
    assert isinstance(task, SequenceTask)
    if isinstance(data, TextData):
        return prepare_labelled(
            data, task.read_labels, distribution=task.distribution, cache=cache, out=out
        )
    return data.prepare(task.read_labels, cache=cache, out=out)


def chosen_template(spec: str | None, task: Task, *, cache: Path) -> Any:
    """The text of `data.chat_template` (or several, by name); None for the tokenizer's own.

    It is that text itself, a file of it, or a model that has one.
    """
    if spec is None or is_template(spec):
        return spec
    key = "data.chat_template"
    path = expanded(spec)
    if path.is_file() and path.suffix != ".gguf":
        try:
            return path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{key} = {spec}: is no text in UTF-8 ({error.reason})") from error
    folder = model_folder(spec, key=key, cache=cache, weights=False)
    template = task.load_tokenizer(folder, key=key).chat_template
    if not template:
        raise DataError(f"{key} = {spec}: its tokenizer has no chat template")
    return template


def make_transfer(
    data: Data, labelled: Corpus, *, cache: Path, out: Path, augmented: Path | None = None
) -> dict[str, Any]:
    """Write the transfer set under `out`."""
    assert isinstance(data, TextData)
    return prepare_transfer(data, labelled, cache=cache, out=out, augmented=augmented)


def token_inputs(texts: str, tokenizer: str, task: Task, name: str) -> dict[str, Any]:
    """What decides the token table of a split."""
    cut = task.feature_inputs(held_out=name in HELD_OUT)
    return {
        "version": VERSIONS["tokens"],
        "texts": texts,
        "tokenizer": tokenizer,
        "split": name,
        **cut,
    }


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
    table, cut = task.tokenise(
        corpus.split(name), tokenizer, label=f"the {name} texts", held_out=name in HELD_OUT
    )
    table.save(out)
    if not len(table):
        raise DataError(f"data: no text of the {name} split has anything to learn")
    if cut:
        say(
            f"data: {cut:,} of the {name} texts fill or exceed task.max_length = "
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
        "at_max_length": cut,
    }
