"""Tokenised examples: token ids flat in memory-mapped arrays, and which positions count."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.types import KEY_BYTES


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Tokenised examples, and what is to be said of them.

    `ids` [tokens], `offsets` [examples + 1], `segments` [tokens] (None for single texts), `keys`
    [examples]. A *counted* position is one that a loss looks at: with `counted` None each example
    has exactly one (a classifier's), else those tokens where `counted` [tokens] is True. `labels`
    and `labelled` [positions] belong to the counted positions, in order; where several labels may
    hold at once, `labels` are [positions, labels] of 0 and 1.

    Where an answer is a place in the text, an example has as many positions as it has labels (its
    first token and its last), each a choice among the tokens that are `allowed` [tokens]; `spans`
    [tokens, 2] are the characters that each token stands for, (0, 0) outside of the text, and
    `owners` [examples] the place of the text that each example was cut from. Of tagged words,
    `words` [positions] are the places in their sentence of those that count.
    """

    ids: np.ndarray
    offsets: np.ndarray
    segments: np.ndarray | None
    keys: np.ndarray
    labels: np.ndarray
    labelled: np.ndarray
    counted: np.ndarray | None = None
    allowed: np.ndarray | None = None
    spans: np.ndarray | None = None
    owners: np.ndarray | None = None
    words: np.ndarray | None = None

    @classmethod
    def of_rows(
        cls,
        rows: Sequence[np.ndarray],
        keys: np.ndarray,
        labels: Sequence[np.ndarray],
        *,
        counted: Sequence[np.ndarray] | None = None,
        segments: Sequence[np.ndarray] | None = None,
        allowed: Sequence[np.ndarray] | None = None,
        spans: Sequence[np.ndarray] | None = None,
        owners: np.ndarray | None = None,
        words: Sequence[np.ndarray] | None = None,
    ) -> "TokenTable":
        """A table of labelled examples, each with its token ids, its key and its labels."""
        lengths = [len(row) for row in rows]
        flat = np.concatenate([np.zeros(0, np.int64), *labels])
        return cls(
            ids=np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32),
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
            segments=_flat(segments, np.zeros(0, np.int8)),
            keys=keys,
            labels=flat,
            labelled=np.ones(len(flat), bool),
            counted=_flat(counted, np.zeros(0, bool)),
            allowed=_flat(allowed, np.zeros(0, bool)),
            spans=_flat(spans, np.zeros((0, 2), np.int32)),
            owners=owners,
            words=_flat(words, np.zeros(0, np.int32)),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, [examples]."""
        return np.diff(self.offsets)

    @property
    def positions(self) -> np.ndarray:
        """Counted positions of each example, [examples]."""
        return np.diff(self.position_offsets)

    @property
    def position_offsets(self) -> np.ndarray:
        """Where the counted positions of each example begin, [examples + 1]."""
        if self.counted is None:
            return np.arange(len(self) + 1) * (len(self.labels) // max(1, len(self)))
        before = np.concatenate([[0], np.cumsum(self.counted, dtype=np.int64)])
        return before[self.offsets]

    def save(self, folder: Path) -> None:
        """Write the arrays as .npy files."""
        folder.mkdir(parents=True, exist_ok=True)
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                np.save(folder / f"{field.name}.npy", value, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> "TokenTable":
        """Map the arrays that `save` wrote; raises `ValueError` where they do not fit together."""
        table = cls(**{f.name: _mapped(folder / f"{f.name}.npy") for f in fields(cls)})
        table._check()
        return table

    def _check(self) -> None:
        """Raise `ValueError` for offsets or lengths that no examples have, before they are used."""
        tokens, examples = len(self.ids), len(self)
        begins = np.diff(self.offsets)
        fits = examples >= 0 and self.offsets[0] == 0 and self.offsets[-1] == tokens
        if not fits or (begins < 0).any():
            raise ValueError("offsets.npy holds other places than those of its tokens")
        per_token = (self.segments, self.counted, self.allowed, self.spans)
        per_example = (self.keys, self.owners)
        wrong = [it for it in per_token if it is not None and len(it) != tokens]
        wrong += [it for it in per_example if it is not None and len(it) != examples]
        if wrong or len(self.labels) != len(self.labelled):
            raise ValueError("its arrays have lengths that do not fit together")

    def joined(self, other: "TokenTable") -> "TokenTable":
        """This table's examples, then the other's."""
        if not len(other):
            return self
        return TokenTable(
            ids=np.concatenate([self.ids, other.ids]),
            offsets=np.concatenate([self.offsets, other.offsets[1:] + self.offsets[-1]]),
            segments=_both(self.segments, other.segments),
            keys=np.concatenate([self.keys, other.keys]),
            labels=np.concatenate([self.labels, self._shaped(other)]),
            labelled=np.concatenate([self.labelled, other.labelled]),
            counted=_both(self.counted, other.counted),
            allowed=_both(self.allowed, other.allowed),
            spans=_both(self.spans, other.spans),
            owners=_both(self.owners, other.owners),
            words=_both(self.words, other.words),
        )

    def counting(self, positions: np.ndarray) -> "TokenTable":
        """The table in which only these of the counted positions count, bool [positions].

        Examples without one are left out.
        """
        assert self.counted is not None and self.segments is None and self.spans is None
        counted = np.array(self.counted)
        counted[np.flatnonzero(counted)[~positions]] = False
        before = np.concatenate([[0], np.cumsum(counted, dtype=np.int64)])
        there = np.diff(before[self.offsets]) > 0
        tokens = np.repeat(there, self.lengths)
        return TokenTable(
            ids=self.ids[tokens],
            offsets=np.concatenate([[0], np.cumsum(self.lengths[there])]).astype(np.int64),
            segments=None,
            keys=self.keys[there],
            labels=self.labels[positions],
            labelled=self.labelled[positions],
            counted=counted[tokens],
            owners=None if self.owners is None else self.owners[there],
            words=None if self.words is None else self.words[positions],
        )

    def _shaped(self, other: "TokenTable") -> np.ndarray:
        """The other's labels as this table's are; those of unlabelled text mean nothing."""
        if other.labels.ndim == self.labels.ndim:
            return other.labels.astype(self.labels.dtype)
        assert not other.labelled.any()
        return np.zeros((len(other.labels), *self.labels.shape[1:]), self.labels.dtype)


def example_key(ids: np.ndarray, counted: np.ndarray) -> bytes:
    """What an example's soft targets are filed under: its tokens and which of them count."""
    digest = hashlib.blake2b(ids.tobytes(), digest_size=KEY_BYTES)
    digest.update(np.packbits(counted).tobytes())
    return digest.digest()


def _flat(rows: Sequence[np.ndarray] | None, nothing: np.ndarray) -> np.ndarray | None:
    return None if rows is None else np.concatenate([nothing, *rows])


def _both(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return None if first is None or second is None else np.concatenate([first, second])


def _mapped(path: Path) -> Any:
    if not path.exists():
        return None
    # an array without elements cannot be mapped
    return np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None)
