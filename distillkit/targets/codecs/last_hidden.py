"""The teacher's last hidden states, and its head once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from distillkit.artifacts.workspace import atomic
from distillkit.errors import ConfigError
from distillkit.targets.codecs.bit_packing import SLACK, Payload, join, rows
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.dense import as_stored, stored_tensor
from distillkit.targets.codecs.logits import TeacherOutput
from distillkit.targets.codecs.sampling import Draws
from distillkit.types import DISTRIBUTIONS, Head, HiddenOutputs, HiddenTargets

HEAD = "head.safetensors"
_INT8 = 127


@dataclass(frozen=True)
class LastHidden(Codec):
    """A position's last hidden state: with the head, all logits, so any temperature and divergence.

    `int8` keeps a scale for each position: its largest value is 127 steps.
    """

    dtype: Literal["bfloat16", "int8"] = "bfloat16"

    name: ClassVar[str] = "last_hidden"
    shared_files: ClassVar[tuple[str, ...]] = (HEAD,)
    supported_outputs: ClassVar = DISTRIBUTIONS
    keeps_all: ClassVar = True
    reads_hidden: ClassVar = True

    def settings(self) -> dict[str, Any]:
        """What a manifest must say for the codec to be made again."""
        return {"name": self.name, "dtype": self.dtype}

    @torch.inference_mode()
    def select(self, output: TeacherOutput, draws: Draws) -> dict[str, np.ndarray]:
        """`hidden` [positions, hidden], and with int8 `scale` [positions] float32."""
        hidden = _checked_hidden(output).hidden.float()
        if self.dtype == "bfloat16":
            return {"hidden": as_stored(hidden, "bfloat16")}
        scale = hidden.abs().amax(dim=-1) / _INT8
        steps = (hidden / scale.clamp(min=torch.finfo(torch.float32).tiny)[:, None]).round()
        return {"hidden": steps.to(torch.int8).cpu().numpy(), "scale": scale.cpu().numpy()}

    def save_shared(self, output: TeacherOutput, folder: Path) -> None:
        """Write the head, cut to the vocabulary, into `folder`."""
        head = _checked_hidden(output).head
        tensors = {"weight": head.weight} | ({} if head.bias is None else {"bias": head.bias})
        metadata = {"scale": repr(head.scale)}
        if head.softcap is not None:
            metadata["softcap"] = repr(head.softcap)
        with atomic(folder / HEAD) as temporary:
            save_file(
                {k: v[: head.size].detach().cpu().contiguous() for k, v in tensors.items()},
                temporary,
                metadata=metadata,
            )

    def encode(self, arrays: dict[str, np.ndarray], positions: np.ndarray) -> pa.LargeBinaryArray:
        """The positions' hidden states as they lie in memory, each with its scale before it."""
        hidden = arrays["hidden"]
        if self.dtype == "int8":
            scale = arrays["scale"].astype("<f4").view(np.int8).reshape(-1, 4)
            hidden = np.concatenate([scale, hidden], axis=1)
        return join([rows(hidden, positions)])

    def decoder(
        self, folder: Path, outputs: int, device: torch.device
    ) -> Callable[[Payload], HiddenTargets]:
        """Payload -> hidden states (bfloat16, or float32 out of int8) and the head."""
        head = _load(folder / HEAD, device)
        size = head.weight.shape[1]

        def decode(payload: Payload) -> HiddenTargets:
            data = payload.data[:-SLACK]
            if self.dtype == "bfloat16":
                stored = stored_tensor(data, "bfloat16").view(-1, size).to(device)
                return HiddenTargets(stored, head)
            table = torch.from_numpy(data).view(torch.int8).view(-1, 4 + size).to(device)
            scale = table[:, :4].contiguous().view(torch.float32)
            return HiddenTargets(table[:, 4:].float() * scale, head)

        return decode

    def expected_bytes(self, outputs: int, hidden: int) -> float:
        """What a position takes."""
        return float(2 * hidden if self.dtype == "bfloat16" else hidden + 4)

    def shared_bytes(self, outputs: int, hidden: int) -> float:
        """The head in float32."""
        return 4.0 * outputs * hidden


def _checked_hidden(output: TeacherOutput) -> HiddenOutputs:
    if not isinstance(output, HiddenOutputs):
        raise ConfigError(
            "targets.codec = last_hidden: this teacher gives no hidden states, only logits; "
            "take targets=stored"
        )
    return output


def _load(path: Path, device: torch.device) -> Head:
    with safe_open(path, framework="pt", device=str(device)) as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Head(
        weight=tensors["weight"],
        size=len(tensors["weight"]),
        bias=tensors.get("bias"),
        scale=float(metadata["scale"]),
        softcap=float(metadata["softcap"]) if "softcap" in metadata else None,
    )
