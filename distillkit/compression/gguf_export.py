"""PyTorch -> model.gguf: weights, shape, tokenizer and chat template in the one file of llama.cpp.

Rows of a matrix are quantised in blocks of 32: one whose rows are no multiple of that, as a cut
student may have, is kept in float16. Where llama.cpp is installed, the file is held against the
student's logits before it is kept.
"""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, LlamaFileType
from torch import Tensor

from distillkit.compression.formats import Format
from distillkit.compression.gguf_architectures import (
    add_shape,
    architecture_of,
    frequency_factors,
)
from distillkit.compression.gguf_tokenizer import add_tokenizer
from distillkit.compression.student import TrainedStudent
from distillkit.errors import ModelError
from distillkit.models.causal import load_causal_tokenizer
from distillkit.models.configs import usable_positions
from distillkit.models.lm_head import distance
from distillkit.models.modes import evaluating
from distillkit.models.runtimes import llama_cpp
from distillkit.models.runtimes.llama_model import open_model
from distillkit.models.runtimes.record import GGUF_FILE as FILE

BLOCK = 32  # numbers that share a scale
TYPES = {  # of a format's setting: matrices, word vectors, the file
    "F16": (GGMLQuantizationType.F16, GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "Q8_0": (GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    # word vectors are the output layer, too, which four bits would harm most
    "Q4_0": (GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q4_0),
}
WORDS = ("token_embd.weight", "output.weight")
# of the check, by norm: what rounding the weights does to small models of random ones, and more
TOLERANCES = {"F16": 0.03, "Q8_0": 0.15, "Q4_0": 0.75}
TRIAL_TOKENS = 64  # of the check


def write(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Write model.gguf of a student under `out`, and what the file does not show.

    Raises `ModelError` for an architecture or a tokenizer that is not written as GGUF.
    """
    model = student.load()
    architecture = architecture_of(model.config, at=student.at)
    tokenizer = load_causal_tokenizer(str(student.folder), key=student.at)
    writer = gguf.GGUFWriter(out / FILE, architecture.name)
    try:
        _add_general(writer, form)
        add_shape(writer, model.config, architecture)
        rows = int(model.get_input_embeddings().weight.shape[0])
        writer.add_vocab_size(rows)
        add_tokenizer(writer, tokenizer, rows=rows, ends=_ends(model), at=student.at)
        kinds = _add_tensors(writer, model, architecture, form.settings["type"], at=student.at)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    facts = {"record": {"parameters": model.num_parameters()}, "tensors": kinds}
    if llama_cpp.library() is None:
        return facts
    try:
        gap = _difference(model, out / FILE, at=student.at)
        _check(gap, form.settings["type"], at=student.at)
    except ModelError:
        (out / FILE).unlink()
        raise
    return facts | {"difference": gap}


@torch.no_grad()
def _difference(model: Any, file: Path, *, at: str) -> float:
    """How far llama.cpp's logits of a file are from PyTorch's of the student, by their size."""
    rows, longest = model.config.vocab_size, usable_positions(model) or TRIAL_TOKENS
    shape = (1, min(TRIAL_TOKENS, longest))
    ids = torch.randint(0, rows, shape, generator=torch.Generator().manual_seed(0))
    written = open_model(file, model.config, model.generation_config, at=at)
    with evaluating(model):
        return distance(written(ids).logits, model(ids).logits)


def _check(gap: float, kind: str, *, at: str) -> None:
    if not gap <= TOLERANCES[kind]:  # NaN, too
        raise ModelError(
            f"{at}: its GGUF form says something else in llama.cpp than it does in PyTorch: the "
            f"logits differ by {gap:.1%} (at most {TOLERANCES[kind]:.0%}); it was not kept"
        )


def _add_general(writer: Any, form: Format) -> None:
    writer.add_name("distillkit student")
    writer.add_file_type(TYPES[form.settings["type"]][2])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _ends(model: Any) -> list[int]:
    found = getattr(model.generation_config, "eos_token_id", None)
    return [found] if isinstance(found, int) else [*(found or [])]


def _add_tensors(
    writer: Any, model: Any, architecture: Any, kind: str, *, at: str
) -> dict[str, int]:
    """Add each weight under the name of gguf's table; how many are of which type."""
    arch = next(key for key, it in gguf.MODEL_ARCH_NAMES.items() if it == architecture.name)
    names = gguf.get_tensor_name_map(arch, int(model.config.num_hidden_layers))
    counts: dict[str, int] = {}
    for name, tensor in _weights(model).items():
        if architecture.left_out and name.endswith(architecture.left_out):
            continue
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ModelError(f"{at}: gguf has no name for its tensor {name}")
        values = architecture.rewrite(name, tensor, model.config)
        array, stored = _stored(values, found, kind)
        writer.add_tensor(found, array, raw_dtype=stored)
        counts[stored.name] = counts.get(stored.name, 0) + 1
    if (factors := frequency_factors(model)) is not None:
        writer.add_tensor("rope_freqs.weight", factors)
        counts["F32"] = counts.get("F32", 0) + 1
    return counts


def _weights(model: Any) -> dict[str, Tensor]:
    """The weights by name; an output layer that is the word vectors is there once."""
    weights: dict[str, Tensor] = model.state_dict()
    if model.get_output_embeddings().weight is model.get_input_embeddings().weight:
        return {name: it for name, it in weights.items() if name != "lm_head.weight"}
    return weights


def _stored(values: Tensor, name: str, kind: str) -> tuple[np.ndarray, GGMLQuantizationType]:
    """A tensor as it is stored, and the type of that: vectors in float32."""
    array = values.detach().float().contiguous().numpy()
    matrices, words, _ = TYPES[kind]
    wanted = words if name in WORDS else matrices
    if array.ndim < 2 or name == "position_embd.weight":
        wanted = GGMLQuantizationType.F32
    elif wanted != GGMLQuantizationType.F16 and array.shape[-1] % BLOCK:
        wanted = GGMLQuantizationType.F16
    return gguf.quants.quantize(array, wanted), wanted
