"""Tokenised examples: token ids flat in memory-mapped arrays, and which positions count."""

import hashlib
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from distillkit.ragged import counts_within, exclusive_cumsum
from distillkit.types import KEY_BYTES

FILE = "file"  # a field's metadata: the name of its array on disk, where it is another one


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Tokenised examples, and what is to be said of them.

    `ids` [tokens], `offsets` [examples + 1], `segments` [tokens] (None for single texts), `keys`
    [examples]. A *counted* position is one that a loss looks at: with `loss_mask` None each example
    has exactly one (a classifier's), else those tokens where `loss_mask` [tokens] is True. `labels`
    [positions] belong to the counted positions, in order, and mean something where `label_mask`
    [positions] is True; where several labels may hold at once, `labels` are [positions, labels] of
    0 and 1.

    Where an answer is a place in the text, an example has as many positions as it has labels (its
    first token and its last), each a choice among the tokens where `answer_mask` [tokens] is True;
    `char_spans` [tokens, 2] are the characters that each token stands for, (0, 0) outside of the
    text, and `text_index` [examples] the place of the text that each example was cut from. Of
    tagged words, `word_index` [positions] are the places in their sentence of those that count.
    """

    ids: np.ndarray
    offsets: np.ndarray
    segments: np.ndarray | None
    keys: np.ndarray
    labels: np.ndarray
    label_mask: np.ndarray = field(metadata={FILE: "labelled"})
    loss_mask: np.ndarray | None = field(default=None, metadata={FILE: "counted"})
    answer_mask: np.ndarray | None = field(default=None, metadata={FILE: "allowed"})
    char_spans: np.ndarray | None = field(default=None, metadata={FILE: "spans"})
    text_index: np.ndarray | None = field(default=None, metadata={FILE: "owners"})
    word_index: np.ndarray | None = field(default=None, metadata={FILE: "words"})

    @classmethod
    def of_rows(
        cls,
        rows: Sequence[np.ndarray],
        keys: np.ndarray,
        labels: Sequence[np.ndarray],
        *,
        loss_mask: Sequence[np.ndarray] | None = None,
        segments: Sequence[np.ndarray] | None = None,
        answer_mask: Sequence[np.ndarray] | None = None,
        char_spans: Sequence[np.ndarray] | None = None,
        text_index: np.ndarray | None = None,
        word_index: Sequence[np.ndarray] | None = None,
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
            label_mask=np.ones(len(flat), bool),
            loss_mask=_flat(loss_mask, np.zeros(0, bool)),
            answer_mask=_flat(answer_mask, np.zeros(0, bool)),
            char_spans=_flat(char_spans, np.zeros((0, 2), np.int32)),
            text_index=text_index,
            word_index=_flat(word_index, np.zeros(0, np.int32)),
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
        if self.loss_mask is None:
            return np.arange(len(self) + 1) * (len(self.labels) // max(1, len(self)))
        return exclusive_cumsum(counts_within(self.loss_mask, self.offsets))

    def save(self, folder: Path) -> None:
        """Write the arrays as .npy files."""
        folder.mkdir(parents=True, exist_ok=True)
        for array in fields(self):
            value = getattr(self, array.name)
            if value is not None:
                np.save(folder / _file(array), value, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> "TokenTable":
        """Map the arrays that `save` wrote; raises `ValueError` where they do not fit together."""
        table = cls(**{f.name: _mapped(folder / _file(f)) for f in fields(cls)})
        table._check()
        return table

    def _check(self) -> None:
        """Raise `ValueError` for offsets or lengths that no examples have, before they are used."""
        tokens, examples = len(self.ids), len(self)
        begins = np.diff(self.offsets)
        fits = examples >= 0 and self.offsets[0] == 0 and self.offsets[-1] == tokens
        if not fits or (begins < 0).any():
            raise ValueError("offsets.npy holds other places than those of its tokens")
        per_token = (self.segments, self.loss_mask, self.answer_mask, self.char_spans)
        per_example = (self.keys, self.text_index)
        misfits = [array for array in per_token if array is not None and len(array) != tokens]
        misfits += [array for array in per_example if array is not None and len(array) != examples]
        if misfits or len(self.labels) != len(self.label_mask):
            raise ValueError("its arrays have lengths that do not fit together")

    def joined(self, second: "TokenTable") -> "TokenTable":
        """This table's examples, then the other's."""
        if not len(second):
            return self
        return TokenTable(
            ids=np.concatenate([self.ids, second.ids]),
            offsets=np.concatenate([self.offsets, second.offsets[1:] + self.offsets[-1]]),
            segments=_concatenated(self.segments, second.segments),
            keys=np.concatenate([self.keys, second.keys]),
            labels=np.concatenate([self.labels, self._shaped(second)]),
            label_mask=np.concatenate([self.label_mask, second.label_mask]),
            loss_mask=_concatenated(self.loss_mask, second.loss_mask),
            answer_mask=_concatenated(self.answer_mask, second.answer_mask),
            char_spans=_concatenated(self.char_spans, second.char_spans),
            text_index=_concatenated(self.text_index, second.text_index),
            word_index=_concatenated(self.word_index, second.word_index),
        )

    def counting(self, positions: np.ndarray) -> "TokenTable":
        """The table in which only these of the counted positions count, bool [positions].

        Examples without one are left out.
        """
        assert self.loss_mask is not None and self.segments is None and self.char_spans is None
        loss_mask = np.array(self.loss_mask)
        loss_mask[np.flatnonzero(loss_mask)[~positions]] = False
        before = np.concatenate([[0], np.cumsum(loss_mask, dtype=np.int64)])
        is_kept = np.diff(before[self.offsets]) > 0
        tokens = np.repeat(is_kept, self.lengths)
        return TokenTable(
            ids=self.ids[tokens],
            offsets=np.concatenate([[0], np.cumsum(self.lengths[is_kept])]).astype(np.int64),
            segments=None,
            keys=self.keys[is_kept],
            labels=self.labels[positions],
            label_mask=self.label_mask[positions],
            loss_mask=loss_mask[tokens],
            text_index=None if self.text_index is None else self.text_index[is_kept],
            word_index=None if self.word_index is None else self.word_index[positions],
        )

    def _shaped(self, second: "TokenTable") -> np.ndarray:
        """The other's labels as this table's are; those of unlabelled text mean nothing."""
        if second.labels.ndim == self.labels.ndim:
            return second.labels.astype(self.labels.dtype)
        assert not second.label_mask.any()
        return np.zeros((len(second.labels), *self.labels.shape[1:]), self.labels.dtype)


class TableWriter:
    """A token table written part by part, of which one is in memory at a time.

    The files are those that `TokenTable.save` writes of all parts joined, byte by byte.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._arrays: dict[str, _GrowingArray] = {}
        self._tokens = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for array in self._arrays.values():
            array.close()

    def append(self, table: TokenTable, *, first_text: int = 0) -> None:
        """Write the examples of a table; its `text_index` is counted from `first_text` on."""
        is_first = not self._arrays
        for array in fields(table):
            value = getattr(table, array.name)
            if value is None:
                continue
            if array.name == "offsets":
                value = value + self._tokens if is_first else value[1:] + self._tokens
            elif array.name == "text_index":
                value = value + first_text
            if is_first:
                self._arrays[array.name] = _GrowingArray(self.folder / _file(array))
            self._arrays[array.name].append(value)
        self._tokens += len(table.ids)


class _GrowingArray:
    """An .npy file that grows along its first axis; its header has room for any length."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._length, self._like = 0, np.zeros(0)

    def append(self, values: np.ndarray) -> None:
        if not self._file.tell():
            self._like = values[:0]
            self._write_header()
        np.ascontiguousarray(values).tofile(self._file)
        self._length += len(values)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        fields_of_header = {
            "descr": np.lib.format.dtype_to_descr(self._like.dtype),
            "fortran_order": False,
            "shape": (self._length, *self._like.shape[1:]),
        }
        np.lib.format.write_array_header_1_0(self._file, fields_of_header)


def example_key(ids: np.ndarray, loss_mask: np.ndarray) -> bytes:
    """What an example's soft targets are filed under: its tokens and which of them count."""
    digest = hashlib.blake2b(ids.tobytes(), digest_size=KEY_BYTES)
    digest.update(np.packbits(loss_mask).tobytes())
    return digest.digest()


def _file(array: Field[Any]) -> str:
    return f"{array.metadata.get(FILE, array.name)}.npy"


def _flat(rows: Sequence[np.ndarray] | None, nothing: np.ndarray) -> np.ndarray | None:
    return None if rows is None else np.concatenate([nothing, *rows])


def _concatenated(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return None if first is None or second is None else np.concatenate([first, second])


def _mapped(path: Path) -> Any:
    if not path.exists():
        return None
    # an array without elements cannot be mapped
    return np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None)
