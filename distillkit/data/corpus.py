"""The text of a run: rows of a source, cleaned, labelled, split and given keys."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.artifacts.damage import reading
from distillkit.artifacts.workspace import read_json, write_json
from distillkit.chat.conversation import PLAIN, ChatFormat, Conversation, Message
from distillkit.console.progress import Track, say, track
from distillkit.data.agreement import Agreement
from distillkit.data.duplicates import as_number, comparable
from distillkit.data.encoding import check_trained, class_places, encoded, strata_of
from distillkit.data.filters import keep_rows
from distillkit.data.rows import say_dropped, write_split
from distillkit.data.shares import share_out
from distillkit.data.sources import Spec, written
from distillkit.data.splits import normalise
from distillkit.data.tables import read_table
from distillkit.data.text_data import TextData
from distillkit.data.text_rows import read_rows
from distillkit.data.texts import ReadLabels
from distillkit.data.transfer import TransferSet, choose, smallest, spans
from distillkit.errors import DataError
from distillkit.types import KEY_BYTES, Distribution, LabelSpace

LABELLED = ("train", "validation", "test")
AUGMENTED = "augmented"


@dataclass(frozen=True, slots=True)
class Split:
    """One split: `keys` [examples] of 16 bytes, texts, `labels` [examples] (None: unlabelled).

    Where several labels may hold, `labels` are [examples, labels] of 0 and 1. Of language-model
    text, `pairs` are the responses to the prompts `texts`; conversations are `messages`, some with
    `tools`, to be written as `chat` says. Tagged text has `words`, and `labels` are [words] of all
    sentences. Questions have their contexts as `pairs`, and `answers`, each a text and where it
    begins. `numbers` [examples] are those of the rows in `source`, from 1 on, where they are known.
    """

    keys: np.ndarray
    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray | None
    messages: list[list[Message]] | None = None
    words: list[list[str]] | None = None
    answers: list[list[tuple[str, int]]] | None = None
    numbers: np.ndarray | None = None
    tools: list[list[Any] | None] | None = None
    chat: ChatFormat = PLAIN
    source: str = ""

    def __len__(self) -> int:
        return len(self.texts)

    def examples(self) -> list[tuple[str, ...]]:
        """The texts of each example: one, or a pair."""
        columns = [self.texts] if self.pairs is None else [self.texts, self.pairs]
        return list(zip(*columns, strict=True))

    def conversation(self, place: int) -> Conversation:
        """One of the conversations, or a prompt and its response as one."""
        row = 0 if self.numbers is None else int(self.numbers[place])
        if self.messages is None:
            return Conversation([], None, row, self.source)
        tools = self.tools[place] if self.tools else None
        return Conversation(self.messages[place], tools, row, self.source)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A prepared corpus: labelled splits in one folder, the transfer set (or none) in another."""

    path: Path
    transfer: Path | None
    labels: LabelSpace
    holds_messages: bool = False
    chat: ChatFormat = PLAIN
    sources: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, transfer: Path | None) -> "Corpus":
        """Open what `prepare_labelled` and `prepare_transfer` wrote."""
        with reading(path):
            labels = read_json(path / "labels.json")
            space = LabelSpace(tuple(labels["names"]), labels["numeric"])
            chat = ChatFormat(**labels.get("chat", {}))
            more = labels.get("sources", {})
            return cls(path, transfer, space, labels.get("messages", False), chat, more)

    def split(self, name: str) -> Split:
        """One split: train, validation, test or transfer."""
        folder = self.transfer if name == "transfer" else self.path
        if folder is None:
            return Split(np.zeros(0, f"S{KEY_BYTES}"), [], None, None)
        return self.read(folder, name)

    def read(self, folder: Path, name: str) -> Split:
        """A split of another folder, as its like."""
        with reading(folder):
            return self._read(folder, name)

    def _read(self, folder: Path, name: str) -> Split:
        from datasets import load_from_disk

        table = load_from_disk(str(folder / name))
        columns = table.column_names
        labels = table["label"][:] if "label" in columns else None
        if "words" in columns:
            labels = np.concatenate([np.asarray(row, np.int64) for row in labels or []])
        talks = [_talk(text) for text in table["text"][:]] if self.holds_messages else []
        return Split(
            np.array(table["key"][:], dtype=f"S{KEY_BYTES}"),
            table["text"][:],
            table["pair"][:] if "pair" in columns else None,
            None if labels is None else np.array(labels),
            [messages for messages, _ in talks] if self.holds_messages else None,
            table["words"][:] if "words" in columns else None,
            [[(text, begin) for text, begin in json.loads(known)] for known in table["answers"][:]]
            if "answers" in columns
            else None,
            np.array(table["row"][:], np.int64) if "row" in columns else None,
            [tools for _, tools in talks] if self.holds_messages else None,
            self.chat,
            f"data.{self.sources.get(name, name)}",
        )


def _talk(text: str) -> tuple[list[Message], list[Any] | None]:
    """(messages, tools) out of a row's JSON."""
    held = json.loads(text)
    return (held, None) if isinstance(held, list) else (held["messages"], held["tools"])


def prepare_labelled(
    data: TextData,
    read_labels: ReadLabels,
    *,
    cache: Path,
    out: Path,
    distribution: Distribution = "softmax",
) -> dict[str, Any]:
    """Write the labelled splits into `out`; return their counts, and say what was dropped.

    `read_labels` is the task's: label values -> the label space and the encoded labels [rows].
    `distribution` says what its labels are: a class a text, several, or a real value.
    """
    splits, dropped = share_out(
        data,
        partial(read_rows, data, cache, distribution, Agreement()),
        duplicates=data.duplicates,
        compare=as_number if distribution == "real" else comparable,
        strata=strata_of(distribution) if data.stratify else None,
        check=lambda rows: read_labels(rows.labels, data.names),
    )
    space, splits = encoded(splits, read_labels, names=data.names)
    splits = data.sized(splits, strata=class_places if space.names else None)
    check_trained(splits["train"], space, named=data.names is not None)
    for name, rows in splits.items():
        write_split(out / name, rows.texts, rows.pairs, np.array(rows.labels), rows.numbers)
    write_json(out / "labels.json", asdict(space))
    counts = data.counted(splits)
    say_dropped("labelled rows", dropped)
    return {"counts": counts, "dropped": dropped}


def prepare_transfer(
    data: TextData, labelled: Corpus, *, cache: Path, out: Path, augmented: Path | None = None
) -> dict[str, Any]:
    """Write the transfer set into `out`, free of every labelled text; return its counts.

    What `prepare_augmented` wrote into `augmented` stands in it, too.
    """
    known = {
        normalise(*example) for name in LABELLED for example in labelled.split(name).examples()
    }
    found: list[tuple[str, ...]] = []
    dropped = {}
    if data.transfer and data.transfer_size != 0:
        like = None
        if data.transfer_choice == "like":
            like = [normalise(text) for text in labelled.split("train").texts]
        chosen = _chosen(data, data.transfer, known, like, cache)
        found, dropped = [(text,) for text in chosen.texts], chosen.dropped
        say(f"data: {len(found):,} transfer texts")
        say_dropped("transfer texts", dropped)
    if data.transfer_spans:
        cut = spans(
            labelled.split("train").examples(),
            each=data.transfer_spans,
            words=(data.transfer_span_words[0], data.transfer_span_words[1]),
            known=known | {normalise(*example) for example in found},
        )
        cut = smallest(cut, data.transfer_spans_size)
        say(f"data: {len(cut):,} spans of the training texts beside them")
        found = found + cut
    if augmented:
        taken = {normalise(*example) for example in found}
        made = labelled.read(augmented, AUGMENTED).examples()
        found += [example for example in made if normalise(*example) not in taken]
    if not found:
        raise DataError(
            f"data.transfer_spans = {data.transfer_spans}: no training text is long enough to cut; "
            "set it to 0"
        )
    texts, *pairs = (list(column) for column in zip(*found, strict=True))
    write_split(out / "transfer", texts, pairs[0] if pairs else None, None)
    return {"counts": {"transfer": len(texts)}, "dropped": dropped}


def _chosen(
    data: TextData, spec: Spec, known: set[str], like: list[str] | None, cache: Path
) -> TransferSet:
    """The unlabelled text of `data.transfer` that is to be used."""
    low, high = data.transfer_words or (1, 10**9)
    column = data.transfer_text or data.text
    table = read_table(
        spec,
        key="data.transfer",
        split="train",
        cache=cache,
        columns={"data.transfer_text": column},
        texts=["data.transfer_text"],
        where=data.transfer_where,
        form=data.form,
        unit="row",
        where_key="data.transfer_where",
    )
    table = keep_rows(table, data.transfer_where, key="data.transfer_where", spec=spec)
    with track("transfer set", len(table), unit="characters") as progress:
        chosen = choose(
            _counted(table[column], progress),
            known=known,
            size=data.transfer_size,
            words=(low, high),
            by_sentence=data.transfer_unit == "sentence",
            lowercase=data.transfer_lowercase,
            like=like,
        )
    if not chosen.texts:
        raise DataError(f"data.transfer = {written(spec)}: no text in it was left to use")
    return chosen


def _counted(column: Iterable[Any], progress: Track) -> Iterator[str]:
    for value in column:
        text = value if isinstance(value, str) else ""
        progress.advance(1, len(text))
        if text:
            yield text
