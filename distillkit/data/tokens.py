"""Token ids of a split, flat in memory-mapped arrays, and where each example begins."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.data.corpus import Split
from distillkit.progress import track

CHUNK = 2000  # examples a call of the tokenizer


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Tokenised examples.

    `ids` [tokens], `offsets` [examples + 1], `segments` [tokens] (None for single texts), `keys`
    [examples], `labels` [examples], `labelled` [examples].
    """

    ids: np.ndarray
    offsets: np.ndarray
    segments: np.ndarray | None
    keys: np.ndarray
    labels: np.ndarray
    labelled: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, [examples]."""
        return np.diff(self.offsets)

    def save(self, folder: Path) -> None:
        """Write the arrays as .npy files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None:
                np.save(folder / f"{name}.npy", value, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> "TokenTable":
        """Map the arrays that `save` wrote."""
        return cls(**{name: _mapped(folder / f"{name}.npy") for name in cls.__slots__})

    def joined(self, other: "TokenTable") -> "TokenTable":
        """This table's examples, then the other's."""
        if not len(other):
            return self
        return TokenTable(
            ids=np.concatenate([self.ids, other.ids]),
            offsets=np.concatenate([self.offsets, other.offsets[1:] + self.offsets[-1]]),
            segments=None
            if self.segments is None or other.segments is None
            else np.concatenate([self.segments, other.segments]),
            keys=np.concatenate([self.keys, other.keys]),
            labels=np.concatenate([self.labels, other.labels.astype(self.labels.dtype)]),
            labelled=np.concatenate([self.labelled, other.labelled]),
        )


def _mapped(path: Path) -> Any:
    if not path.exists():
        return None
    # an array without elements cannot be mapped
    return np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None)


def tokenise(
    split: Split, tokenizer: Any, *, max_length: int, label: str
) -> tuple[TokenTable, int]:
    """Tokenise a split; return the table and how many examples were cut at `max_length`."""
    ids: list[np.ndarray] = []
    segments: list[np.ndarray] = []
    lengths: list[int] = []
    cut = 0
    with track(f"tokens of {label}", len(split)) as progress:
        for begin in range(0, len(split), CHUNK):
            texts = split.texts[begin : begin + CHUNK]
            pairs = None if split.pairs is None else split.pairs[begin : begin + CHUNK]
            encoded = tokenizer(
                texts, pairs, truncation=True, max_length=max_length, return_attention_mask=False
            )
            lengths += [len(row) for row in encoded["input_ids"]]
            ids.append(np.concatenate([np.asarray(row, np.int32) for row in encoded["input_ids"]]))
            if pairs is not None and "token_type_ids" in encoded:
                rows = encoded["token_type_ids"]
                segments.append(np.concatenate([np.asarray(row, np.int8) for row in rows]))
            cut += sum(len(overflow) == max_length for overflow in encoded["input_ids"])
            progress.advance(len(texts), len(ids[-1]))
    count = len(split)
    labels = split.labels if split.labels is not None else np.zeros(count, np.int64)
    table = TokenTable(
        ids=np.concatenate(ids) if ids else np.zeros(0, np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        segments=np.concatenate(segments) if segments else None,
        keys=split.keys,
        labels=np.asarray(labels),
        labelled=np.full(count, split.labels is not None),
    )
    return table, cut
