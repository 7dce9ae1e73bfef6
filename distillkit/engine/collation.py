"""From token ids in flat arrays to one padded batch of tensors."""

from dataclasses import dataclass

import numpy as np
import torch

from distillkit.records import Batch


@dataclass(frozen=True, slots=True)
class Collator:
    """Pads the examples of a token table (`ids`, `offsets`, `segments`, `labels`, `labelled`)."""

    ids: np.ndarray
    offsets: np.ndarray
    segments: np.ndarray | None
    labels: np.ndarray
    labelled: np.ndarray
    pad_id: int
    device: torch.device

    def __call__(self, indices: np.ndarray) -> Batch:
        """The examples `indices` [batch], padded on the right to the longest of them."""
        begins = self.offsets[indices]
        lengths = self.offsets[indices + 1] - begins
        width = int(lengths.max())
        columns = np.arange(width)
        kept = columns < lengths[:, None]  # [batch, tokens]
        places = np.where(kept, begins[:, None] + columns, 0)
        inputs = {
            "input_ids": np.where(kept, self.ids[places], self.pad_id).astype(np.int64),
            "attention_mask": kept.astype(np.int64),
        }
        if self.segments is not None:
            inputs["token_type_ids"] = np.where(kept, self.segments[places], 0).astype(np.int64)
        return Batch(
            inputs={name: self._tensor(value) for name, value in inputs.items()},
            indices=indices,
            labels=self._tensor(np.asarray(self.labels[indices])),
            labelled=self._tensor(np.asarray(self.labelled[indices])),
        )

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)
