"""torchao: the matrices of a transformers folder in int8, a scale a row, for PyTorch itself."""

from pathlib import Path
from typing import Any

from distillkit.models.configs import architecture_class
from distillkit.models.loading import one_line, quiet


def save_int8(folder: Path, out: Path, *, key: str) -> int:
    """Write a folder's model with its linear layers in int8; how many parameters it has.

    Word vectors and the output layer of a language model stay as they are. The folder is read by
    transformers alone, as safetensors.
    """
    import transformers
    from torchao.quantization import Int8WeightOnlyConfig

    auto_class = getattr(transformers, architecture_class(str(folder), key=key))
    settings = transformers.TorchAoConfig(Int8WeightOnlyConfig())
    with quiet(), one_line(key, str(folder), "model", happens="cannot be quantised by torchao"):
        model: Any = auto_class.from_pretrained(
            folder, dtype="float32", use_safetensors=True, quantization_config=settings
        )
        model.save_pretrained(out)
    return int(model.num_parameters())
