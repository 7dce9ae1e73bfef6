"""The prepared text of a run: labelled splits and the transfer set, as they are read again."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.artifacts.damage import reading
from distillkit.artifacts.workspace import read_json
from distillkit.chat.conversation import PLAIN, ChatFormat, Conversation, Message
from distillkit.types import KEY_BYTES, LabelSpace

LABELLED = ("train", "validation", "test")
AUGMENTED = "augmented"
_LOOKED_AT = 256  # texts at a time


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
    texts: Sequence[str]  # of plain text, they stay on the disk until they are looked at
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

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing but texts, each of which stands for itself."""
        others = (self.pairs, self.labels, self.messages, self.words, self.answers, self.tools)
        return all(column is None for column in others)

    def pieces(self, characters: int) -> Iterator[tuple[int, "Split"]]:
        """(its first row, whole texts of about so many characters) of plain text, in order."""
        begin = 0
        while begin < len(self):
            end, size = begin, 0
            while end < len(self) and size < characters:
                texts = self.texts[end : end + _LOOKED_AT]
                lengths = np.cumsum([len(text) for text in texts]) + size
                count = min(int(np.searchsorted(lengths, characters)) + 1, len(texts))
                end, size = end + count, int(lengths[count - 1])
            yield begin, replace(self, keys=self.keys[begin:end], texts=self.texts[begin:end])
            begin = end

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
        """Open what `Data.prepare` and `Data.prepare_transfer` wrote."""
        with reading(path):
            labels = read_json(path / "labels.json")
            space = LabelSpace(tuple(labels["names"]), labels["numeric"])
            chat = ChatFormat(**labels.get("chat", {}))
            sources = labels.get("sources", {})
            return cls(path, transfer, space, labels.get("messages", False), chat, sources)

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
        is_plain = not self.holds_messages and {*columns} <= {"key", "text", "row"}
        labels = table["label"][:] if "label" in columns else None
        if "words" in columns:
            labels = np.concatenate([np.asarray(row, np.int64) for row in labels or []])
        talks = [_talk(text) for text in table["text"][:]] if self.holds_messages else []
        return Split(
            _keys(table.data.column("key")),
            table["text"] if is_plain else table["text"][:],
            table["pair"][:] if "pair" in columns else None,
            None if labels is None else np.array(labels),
            [messages for messages, _ in talks] if self.holds_messages else None,
            table["words"][:] if "words" in columns else None,
            [
                [(text, begin) for text, begin in json.loads(answers)]
                for answers in table["answers"][:]
            ]
            if "answers" in columns
            else None,
            table.data.column("row").to_numpy() if "row" in columns else None,
            [tools for _, tools in talks] if self.holds_messages else None,
            self.chat,
            f"data.{self.sources.get(name, name)}",
        )


def _keys(column: Any) -> np.ndarray:
    """A column of 16 bytes a row, without an object of Python for each."""
    parts = [np.array(chunk.to_pylist(), f"S{KEY_BYTES}") for chunk in column.chunks]
    return np.concatenate([np.zeros(0, f"S{KEY_BYTES}"), *parts])


def _talk(text: str) -> tuple[list[Message], list[Any] | None]:
    """(messages, tools) out of a row's JSON."""
    content = json.loads(text)
    return (content, None) if isinstance(content, list) else (content["messages"], content["tools"])
