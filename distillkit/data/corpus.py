"""The text of a run: rows of a source, cleaned, labelled, split and given keys."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from distillkit.artifacts import read_json, write_json
from distillkit.constraints import Fraction, NonNegativeInt, PositiveInt
from distillkit.conversations import PLAIN, ChatFormat, Conversation, Message
from distillkit.data.decimals import with_points
from distillkit.data.duplicates import Duplicates, as_number, comparable
from distillkit.data.encoding import check_trained, class_places, encoded, strata_of
from distillkit.data.labels import (
    check_names,
    is_nothing,
    joined_columns,
    label_lists,
    without_blanks,
)
from distillkit.data.rows import Rows, say_dropped, write_split
from distillkit.data.shares import share_out
from distillkit.data.sources import Spec, identity, written
from distillkit.data.splits import normalise
from distillkit.data.tables import Table, keep_rows, matching_rows, read_table
from distillkit.data.texts import ReadLabels, Texts
from distillkit.data.transfer import TransferSet, choose, smallest, spans
from distillkit.errors import ConfigError, DataError
from distillkit.progress import Track, say, track
from distillkit.records import KEY_BYTES, Distribution, LabelSpace
from distillkit.wording import brief, listed

LABELLED = ("train", "validation", "test")
AUGMENTED = "augmented"


@dataclass(frozen=True, kw_only=True)
class TextData(Texts):
    """A text a row, or a pair of them, with its label; and unlabelled text beside.

    `label` may be several columns, of 0 and 1 for one label each. `label_separator` stands between
    several labels of a text where they are one string. Of texts that stand in `train` again with
    another label, `duplicates` says which label counts. With `stratify` each class has about its
    share of the rows that are held out of `train`. `transfer` is unlabelled text; `transfer_unit:
    sentence` cuts it into sentences. Of more than `transfer_size` texts `transfer_choice` takes
    those that the hash of their text ranks first, or those most like the training texts.
    `transfer_spans` adds so many stretches of each training text, of `transfer_span_words` words;
    they need no `transfer`.
    """

    text: str
    label: str | list[str]
    text_pair: str | None = None
    label_names: list[str] | None = None
    label_separator: str | None = None
    validation_fraction: Fraction = 0.1
    test_fraction: Fraction = 0.15
    drop_empty: bool = False
    duplicates: Duplicates = "first"
    stratify: bool = True
    decimal: Literal[".", ","] | None = None
    transfer: str | list[str] | None = None
    transfer_text: str | None = None
    transfer_where: dict[str, Any] | None = None
    transfer_unit: Literal["sentence", "row"] = "sentence"
    transfer_words: list[int] | None = None
    transfer_lowercase: bool = False
    transfer_size: NonNegativeInt | None = 40_000
    transfer_choice: Literal["hash", "like"] = "hash"
    transfer_spans: NonNegativeInt = 0
    transfer_spans_size: PositiveInt | None = None
    transfer_span_words: list[int] = field(default_factory=lambda: [3, 14])

    kind = "files"
    rows = "examples"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names(self.label_names)
        if self.label_separator == "":
            raise ConfigError(
                "data.label_separator = '': is empty; write what stands between labels, as ';', or "
                "null"
            )
        if isinstance(self.label, list):
            if not self.label:
                raise ConfigError("data.label = []: names no column")
            check_names(self.label, key="data.label")
            if self.label_separator is not None:
                raise ConfigError(
                    f"data.label_separator = {self.label_separator!r}: stands between labels of "
                    "one column, and data.label names several; set it to null"
                )
        used = {"data.text": self.text, "data.text_pair": self.text_pair, **self.label_columns}
        twice = [key for key, name in used.items() if name == self.text and key != "data.text"]
        if twice:
            raise ConfigError(
                f"{twice[0]} = {self.text}: is data.text, too; each must be a column of its own"
            )
        for name in ("transfer_words", "transfer_span_words"):
            words = getattr(self, name)
            if words is not None and (len(words) != 2 or not 0 < words[0] <= words[1]):
                raise ConfigError(
                    f"data.{name} = {words}: must be the fewest and the most words, as [5, 40]"
                )
        if self.transfer and self.text_pair:
            raise ConfigError(
                "data.transfer: a transfer set of pairs is not supported; set it to null"
            )
        if self.transfer_spans and self.text_pair:
            raise ConfigError(
                f"data.transfer_spans = {self.transfer_spans}: spans of pairs are not supported; "
                "set it to 0"
            )

    @property
    def label_columns(self) -> dict[str, str]:
        """The label columns, by their settings."""
        if isinstance(self.label, str):
            return {"data.label": self.label}
        return {f"data.label[{place}]": name for place, name in enumerate(self.label)}

    @property
    def names(self) -> list[str] | None:
        """The labels' names in their order, where the config gives them."""
        given = self.label_names or (self.label if isinstance(self.label, list) else None)
        return given and [name.strip() for name in given]

    @property
    def has_transfer(self) -> bool:
        """Whether there is a transfer set."""
        return bool(self.transfer and self.transfer_size != 0) or self.transfer_spans > 0

    def labelled_inputs(self) -> dict[str, Any]:
        """All that decides the labelled splits: sources by content, and how they are cut."""
        decided = super().labelled_inputs()
        return {k: v for k, v in decided.items() if not k.startswith("transfer")}

    def transfer_inputs(self) -> dict[str, Any]:
        """All that decides the transfer set, beside the labelled text that it must not hold."""
        fields = asdict(self)
        how = {k: fields[k] for k in fields if k.startswith("transfer_")}
        how["transfer_text"] = self.transfer_text or self.text
        source = None
        if self.transfer:
            source = identity(self.transfer, key="data.transfer", repo_type="dataset")
        return {"source": source, **how}


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
        partial(_read, data, cache, distribution),
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
    known = {normalise(t) for name in LABELLED for t in labelled.split(name).texts}
    texts, dropped = [], {}
    if data.transfer and data.transfer_size != 0:
        like = None
        if data.transfer_choice == "like":
            like = [normalise(text) for text in labelled.split("train").texts]
        chosen = _chosen(data, data.transfer, known, like, cache)
        texts, dropped = chosen.texts, chosen.dropped
        say(f"data: {len(texts):,} transfer texts")
        say_dropped("transfer texts", dropped)
    if data.transfer_spans:
        cut = spans(
            labelled.split("train").texts,
            each=data.transfer_spans,
            words=(data.transfer_span_words[0], data.transfer_span_words[1]),
            known=known | {normalise(text) for text in texts},
        )
        cut = smallest(cut, data.transfer_spans_size)
        say(f"data: {len(cut):,} spans of the training texts beside them")
        texts = texts + cut
    pairs = None
    if augmented:
        made = labelled.read(augmented, AUGMENTED)
        pairs = made.pairs  # then there is no other transfer text
        taken = {normalise(text) for text in texts}
        texts += made.texts if pairs else [t for t in made.texts if normalise(t) not in taken]
    if not texts:
        raise DataError(
            f"data.transfer_spans = {data.transfer_spans}: no training text is long enough to cut; "
            "set it to 0"
        )
    write_split(out / "transfer", texts, pairs, None)
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


def _read(
    data: TextData, cache: Path, distribution: Distribution, role: str, dropped: dict[str, int]
) -> Rows:
    spec: Spec = getattr(data, role)
    key = f"data.{role}"
    columns = {"data.text": data.text, "data.text_pair": data.text_pair, **data.label_columns}
    where = data.where if role == "train" else None
    table = read_table(
        spec,
        key=key,
        split=role,
        cache=cache,
        columns=columns,
        texts=[*columns],
        where=where,
        form=data.form,
    )
    numbers = matching_rows(table, where, key="data.where", spec=spec)
    total = len(table)
    whole = table
    table = table.select(numbers)
    # no label is one choice among several labels, too
    without = data.label_columns if distribution == "bernoulli" else {}
    values = {key: table[name] for key, name in columns.items() if name and key not in without}
    bad = [i for i in range(len(table)) if any(is_nothing(column[i]) for column in values.values())]
    if bad and not data.drop_empty:
        place = whole.place(numbers[bad[0]])
        key = next(k for k, column in values.items() if is_nothing(column[bad[0]]))
        raise DataError(
            f"{key} = {columns[key]}: {len(bad):,} of the {total:,} rows of {written(spec)} have "
            f"nothing in a column that is needed (the first is {place}); mend "
            "them, or set data.drop_empty=true"
        )
    if bad:
        dropped[f"empty ({role})"] = len(bad)
    for key in ("data.text", "data.text_pair"):
        wrong = next((v for v in values.get(key, []) if v and not isinstance(v, str)), None)
        if wrong is not None:
            raise DataError(f"{key} = {columns[key]}: holds {brief(wrong, 60)}, which is not text")
    rows = Rows(
        values["data.text"],
        values.get("data.text_pair"),
        _labels(data, table, [number + 1 for number in numbers], written(spec), distribution),
        numbers=[number + 1 for number in numbers],
        classes=table.classes.get(str(data.label)),
    )
    return rows.take(sorted(set(range(len(table))) - set(bad))) if bad else rows


def _labels(
    data: TextData, table: Table, numbers: list[int], spec: str, distribution: Distribution
) -> list[Any]:
    """The label column: text as written, or lists of text where a row may have several."""
    if isinstance(data.label, list):
        if distribution != "bernoulli":
            raise DataError(
                f"data.label = [{listed(data.label)}]: several columns, one a label, are for "
                "task=multi_label"
            )
        return joined_columns({n.strip(): table[n] for n in data.label}, numbers, spec=spec)
    key, labels = f"data.label = {data.label}", table[data.label]
    if data.label_separator is not None and distribution != "bernoulli":
        raise DataError(
            f"data.label_separator = {data.label_separator!r}: several labels a text are for "
            "task=multi_label; set it to null"
        )
    if distribution == "bernoulli":
        labels = label_lists(
            labels, separator=data.label_separator, names=data.label_names, key=key
        )
    if distribution == "real":
        return with_points(
            labels, data.decimal, key=key, spec=spec, place=lambda row: f"row {numbers[row]:,}"
        )
    return without_blanks(labels, key=key)
