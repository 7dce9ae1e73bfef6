"""Documents as token ids; the one place of the causal shift and of an example's key.

Position t of an example says the distribution of token t + 1, so t counts where token t + 1 is to
be learnt, and its label is that token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distillkit.console.progress import track
from distillkit.errors import ConfigError
from distillkit.token_table import TokenTable, example_key
from distillkit.types import KEY_BYTES

_TEXTS = 64  # documents a call of the tokenizer


@dataclass(slots=True)
class Examples:
    """Examples while they are being gathered."""

    ids: list[np.ndarray] = field(default_factory=list)
    loss_mask: list[np.ndarray] = field(default_factory=list)
    text_index: list[int] = field(default_factory=list)

    def add(self, ids: np.ndarray, learnt: np.ndarray, owner: int) -> None:
        """Add an example: `learnt` [tokens] marks the tokens whose prediction counts.

        `owner` is the place, from 0, of the text that it comes from.
        """
        loss_mask = np.zeros(len(ids), bool)
        loss_mask[:-1] = learnt[1:]
        if loss_mask.any():
            self.ids.append(ids.astype(np.int32))
            self.loss_mask.append(loss_mask)
            self.text_index.append(owner)

    def table(self) -> TokenTable:
        """The table of all examples."""
        ids = np.concatenate(self.ids) if self.ids else np.zeros(0, np.int32)
        loss_mask = np.concatenate(self.loss_mask) if self.loss_mask else np.zeros(0, bool)
        lengths = [len(row) for row in self.ids]
        labels = np.roll(ids, -1)[loss_mask].astype(np.int64)  # the last token never counts
        return TokenTable(
            ids=ids,
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
            segments=None,
            keys=np.array([*map(example_key, self.ids, self.loss_mask)], dtype=f"S{KEY_BYTES}"),
            labels=labels,
            label_mask=np.ones(len(labels), bool),
            loss_mask=loss_mask,
            text_index=np.array(self.text_index, np.int64),
        )


def document_examples(
    texts: Sequence[str], tokenizer: Any, *, max_length: int, stride: int, label: str
) -> tuple[TokenTable, int]:
    """Documents cut into windows of `max_length` tokens, each token predicted exactly once.

    A window begins `stride` tokens after the one before (or fewer, so that one token is shared);
    what it shares with that one is context that does not count again. Each begins with what the
    tokenizer puts in front of a text, which does not count: models such as Gemma are lost without
    it. Windows of one document are examples of their own. An end-of-text token closes each
    document. Returns the table, and how many documents needed several windows.
    """
    examples = Examples()
    several = 0
    front, behind = around(tokenizer)
    room = max_length - len(front)
    if room < 2:
        raise ConfigError(
            f"task.max_length = {max_length}: the tokenizer puts {len(front)} tokens in front of "
            "each text, and a token needs one before it; raise it"
        )
    with track(f"tokens of {label}", len(texts)) as progress:
        for begin in range(0, len(texts), _TEXTS):
            part = list(texts[begin : begin + _TEXTS])
            rows = tokenizer(
                part, add_special_tokens=False, return_attention_mask=False, verbose=False
            )["input_ids"]
            for owner, row in enumerate(rows, start=begin):
                ids = np.asarray(_closed([*row, *behind], tokenizer), np.int32)
                several += len(ids) > room
                for window, learnt in _windows(ids, room, min(stride, room - 1), bool(front)):
                    examples.add(*in_front(front, window, learnt), owner)
            progress.advance(len(part), sum(map(len, rows)))
    return examples.table(), several


def around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """(ids that the tokenizer puts in front of a text, ids that it puts behind)."""
    for text in ("a", "the", "0", "."):
        alone = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        whole = list(tokenizer(text, verbose=False)["input_ids"])
        for at in range(len(whole) - len(alone) + 1):
            if alone and whole[at : at + len(alone)] == list(alone):
                return whole[:at], whole[at + len(alone) :]
    return [], []


def in_front(
    front: Sequence[int], ids: np.ndarray, learnt: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """An example with further tokens in front of it that are not learnt."""
    if not len(front):
        return ids, learnt
    return (
        np.concatenate([np.asarray(front, np.int32), ids]),
        np.concatenate([np.zeros(len(front), bool), learnt]),
    )


def _closed(ids: list[int], tokenizer: Any) -> list[int]:
    end = tokenizer.eos_token_id
    return ids if end is None or (ids and ids[-1] == end) else [*ids, end]


def _windows(
    ids: np.ndarray, max_length: int, stride: int, has_front: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    predicted = 0 if has_front else 1  # or the first token has nothing before it
    for begin in range(0, max(1, len(ids)), stride):
        window = ids[begin : begin + max_length]
        learnt = begin + np.arange(len(window)) >= predicted
        yield window, learnt
        predicted = begin + len(window)
        if predicted >= len(ids):
            return
