"""A codec: the likeliest output of a position and its log-probability, 8 bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from distillkit.targets.codecs.bit_packing import SLACK, Payload, join, rows
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.logits import TeacherOutput, chunks
from distillkit.targets.codecs.sampling import Draws
from distillkit.types import SparseTargets

_ENTRY = np.dtype([("id", "<i4"), ("log_prob", "<f4")])


@dataclass(frozen=True)
class Likeliest(Codec):
    """One entry a position; `floor` is the least log-probability that is kept as it is."""

    floor: float = -50.0

    name: ClassVar[str] = "likeliest"

    @property
    def supported_temperatures(self) -> tuple[float, ...]:
        """The teacher's own distribution."""
        return (1.0,)

    def settings(self) -> dict[str, Any]:
        """Name and field."""
        return {"name": self.name, "floor": self.floor}

    @torch.inference_mode()
    def select(self, said: TeacherOutput, draws: Draws) -> dict[str, np.ndarray]:
        """`entries` [positions]: id and log-probability."""
        parts = [np.zeros(0, _ENTRY)]
        for _, logits in chunks(said):
            log_probs, ids = logits.log_softmax(dim=-1).max(dim=-1)
            part = np.zeros(len(ids), _ENTRY)
            part["id"], part["log_prob"] = ids.cpu(), log_probs.clamp(min=self.floor).cpu()
            parts.append(part)
        return {"entries": np.concatenate(parts)}

    def encode(self, picked: dict[str, np.ndarray], positions: np.ndarray) -> pa.LargeBinaryArray:
        """The entries as they lie in memory."""
        table = picked["entries"].view(np.uint8).reshape(-1, _ENTRY.itemsize)
        return join([rows(table, positions)])

    def decoder(
        self, folder: Path, outputs: int, device: torch.device
    ) -> Callable[[Payload], SparseTargets]:
        """Payload -> one entry a position."""

        def decode(payload: Payload) -> SparseTargets:
            entries = payload.data[:-SLACK].view(_ENTRY)
            ids = torch.from_numpy(entries["id"].astype(np.int64)).to(device)
            log_probs = torch.from_numpy(entries["log_prob"].astype(np.float32)).to(device)
            return SparseTargets(
                ids[:, None], log_probs[:, None], {1.0: torch.zeros_like(log_probs)}
            )

        return decode

    def expected_bytes(self, outputs: int, hidden: int) -> float:
        """8 a position."""
        return float(_ENTRY.itemsize)
