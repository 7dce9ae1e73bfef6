"""Weights in bfloat16: half the bytes, and the same folder for transformers."""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from distillkit.artifacts.workspace import read_json, write_json
from distillkit.compression.formats import Format
from distillkit.compression.student import TrainedStudent

CONFIG = "config.json"


def write(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Write the weights of a folder in bfloat16, each file and tensor under its name."""
    count = 0
    for file in sorted(student.folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        count += sum(tensor.numel() for tensor in tensors.values())
        save_file(
            {name: _in_bf16(tensor) for name, tensor in tensors.items()}, out / file.name, metadata
        )
    for index in student.folder.glob("*.safetensors.index.json"):
        (out / index.name).write_bytes(index.read_bytes())
    config = read_json(out / CONFIG)
    names = {name for name in ("dtype", "torch_dtype") if name in config} or {"dtype"}
    write_json(out / CONFIG, config | dict.fromkeys(names, "bfloat16"))
    return {"parameters": count}


def _in_bf16(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
