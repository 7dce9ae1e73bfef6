"""From token ids in flat arrays to one batch of tensors: padded, or packed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from distillkit.ragged import ranges
from distillkit.token_table import TokenTable
from distillkit.types import Batch


@dataclass(frozen=True, slots=True)
class Collator:
    """Cuts batches out of a token table.

    Each example has a row of its own, padded on the right to the longest; with `block`, examples
    share rows of at most `block` tokens. A shared row says where its examples begin by position
    ids that begin again at 0, and has no attention mask: transformers' masks then keep the
    examples apart, under SDPA as well.
    """

    table: TokenTable
    pad_id: int
    device: torch.device
    block: int | None = None
    by_text: bool = False  # whether a loss looks at texts one by one
    positions: np.ndarray = field(init=False)  # where those of each example begin

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", self.table.position_offsets)

    def __call__(self, indices: np.ndarray) -> Batch:
        """The examples `indices` [batch], in that order."""
        table = self.table
        lengths = table.offsets[indices + 1] - table.offsets[indices]
        if self.block is None:
            rows, begins = np.arange(len(indices)), np.zeros(len(indices), np.int64)
        else:
            rows, begins = packed(lengths, self.block)
        width = int((begins + lengths).max())
        shape = (int(rows[-1]) + 1, width)
        tokens = ranges(table.offsets[indices], lengths)  # where they stand in the table,
        places = ranges(rows * width + begins, lengths)  # and in the flattened batch
        inputs = {"input_ids": self._filled(shape, places, table.ids[tokens], self.pad_id)}
        if self.block is None:
            inputs["attention_mask"] = self._filled(shape, places, 1, 0)
        else:
            inputs["position_ids"] = self._positions(shape, rows, begins, lengths)
        if table.segments is not None:
            inputs["token_type_ids"] = self._filled(shape, places, table.segments[tokens], 0)
        loss_index = answer_mask = None
        if table.loss_mask is not None:
            loss_index = self._tensor(places[table.loss_mask[tokens]])
        if table.answer_mask is not None:
            answer_mask = self._filled(shape, places, table.answer_mask[tokens], 0).bool()
        begin, end = self.positions[indices], self.positions[indices + 1]
        labels = ranges(begin, end - begin)
        texts = self._texts(indices, rows, begins, lengths, width) if self.by_text else {}
        return Batch(
            **texts,
            inputs=inputs,
            indices=indices,
            labels=self._tensor(np.asarray(table.labels[labels])),
            label_mask=self._tensor(np.asarray(table.label_mask[labels])),
            loss_index=loss_index,
            answer_mask=answer_mask,
        )

    def _texts(
        self,
        indices: np.ndarray,
        rows: np.ndarray,
        begins: np.ndarray,
        lengths: np.ndarray,
        width: int,
    ) -> dict[str, torch.Tensor | None]:
        """Where the texts are: `mask`, `gather_index` and `text_index` of a `Batch`."""
        columns = np.arange(int(lengths.max()))
        is_token = columns < lengths[:, None]
        places = np.where(is_token, (rows * width + begins)[:, None] + columns, 0)
        owned = self.positions[indices + 1] - self.positions[indices]
        return {
            "mask": self._tensor(is_token),
            "gather_index": None if self.block is None else self._tensor(places),
            "text_index": self._tensor(np.repeat(np.arange(len(indices)), owned)),
        }

    def _filled(
        self, shape: tuple[int, int], places: np.ndarray, values: np.ndarray | int, fill: int
    ) -> torch.Tensor:
        flat = np.full(shape[0] * shape[1], fill, np.int64)
        flat[places] = values
        return self._tensor(flat.reshape(shape))

    def _positions(
        self, shape: tuple[int, int], rows: np.ndarray, begins: np.ndarray, lengths: np.ndarray
    ) -> torch.Tensor:
        """Position ids [rows, tokens], from 0 in each example and in the padding after the last."""
        marks = np.zeros(shape, np.int64)
        columns = np.arange(shape[1])
        marks[rows, begins] = begins
        ends = np.zeros(shape[0], np.int64)
        np.maximum.at(ends, rows, begins + lengths)
        is_inside = ends < shape[1]
        marks[np.flatnonzero(is_inside), ends[is_inside]] = ends[is_inside]
        return self._tensor(columns - np.maximum.accumulate(marks, axis=1))

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)


def collator(
    table: TokenTable,
    tokenizer: Any,
    device: torch.device,
    *,
    block: int | None = None,
    by_text: bool = False,
) -> Collator:
    """Cuts padded batches, or with `block` packed ones, from a token table."""
    pad = tokenizer.pad_token_id
    return Collator(
        table, pad_id=0 if pad is None else pad, device=device, block=block, by_text=by_text
    )


def packed(lengths: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """(row, where it begins in the row) of examples put in order into rows of `block` tokens.

    A row ends where the next example would not fit; one that is longer than `block` has a row of
    its own.
    """
    rows, begins = np.zeros(len(lengths), np.int64), np.zeros(len(lengths), np.int64)
    row, filled = 0, 0
    for i, length in enumerate(lengths):
        if filled and filled + length > block:
            row, filled = row + 1, 0
        rows[i], begins[i] = row, filled
        filled += int(length)
    return rows, begins
