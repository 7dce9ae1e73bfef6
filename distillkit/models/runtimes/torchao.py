"""torchao: matrices of a transformers folder in int8, a scale a row, for PyTorch itself."""

from collections import OrderedDict
from importlib.metadata import version
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.models.configs import architecture_class
from distillkit.models.loading import one_line, quiet


def save_int8(folder: Path, out: Path, *, key: str) -> int:
    """Write a folder's model in int8; how many parameters it has.

    Linear layers, and the word vectors of models of labels; those of a language model stay as they
    are, for its output layer's sake. The folder is read by transformers alone, as safetensors.
    """
    import transformers

    auto_class = getattr(transformers, architecture_class(str(folder), key=key))
    with quiet(), one_line(key, str(folder), "model", happens="cannot be quantised by torchao"):
        model: Any = auto_class.from_pretrained(
            folder,
            dtype="float32",
            use_safetensors=True,
            quantization_config=_settings(auto_class, folder),
        )
        model.save_pretrained(out)
    return int(model.num_parameters())


def _settings(auto_class: Any, folder: Path) -> Any:
    """transformers' settings for torchao: the matrices that are quantised, each by its name."""
    from torchao.quantization import FqnToConfig, Int8WeightOnlyConfig
    from transformers import AutoConfig, TorchAoConfig

    with torch.device("meta"):
        model = auto_class.from_config(AutoConfig.from_pretrained(folder))
    if model.get_output_embeddings() is not None:
        return TorchAoConfig(Int8WeightOnlyConfig())
    table = model.get_input_embeddings()
    parts = [name for name, it in model.named_modules() if it is table or isinstance(it, nn.Linear)]
    # by whole names: of the layers of a default, biases would be quantised, too
    forms = OrderedDict((f"{name}.weight", Int8WeightOnlyConfig()) for name in parts)
    return TorchAoConfig(FqnToConfig(forms), include_input_output_embeddings=True)


def unpack_rows(model: Any) -> None:
    """Have word vectors in int8 unpacked row by row; torchao unpacks the whole table each time."""
    model.runtime = f"PyTorch with torchao {version('torchao')}"
    for part in model.modules():
        if isinstance(part, nn.Embedding) and hasattr(part.weight, "qdata"):
            part.forward = MethodType(_unpacked, part)  # type: ignore[method-assign]


def _unpacked(self: nn.Embedding, ids: Tensor) -> Tensor:
    weight: Any = self.weight
    rows: Tensor = weight.qdata[ids].to(weight.dtype) * weight.scale[ids]
    return rows
