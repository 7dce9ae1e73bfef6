"""How decoders are written for llama.cpp: the names of gguf's own tables, and what else differs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from distillkit.errors import ModelError

# (name of the tensor in transformers, its values, config) -> its values in the file
Rewrite = Callable[[str, Tensor, Any], Tensor]


@dataclass(frozen=True, slots=True)
class GgufArchitecture:
    """`name` is gguf's of an architecture, `rewrite` moves the rows of its tensors."""

    name: str
    rewrite: Rewrite
    left_out: tuple[str, ...] = ()  # buffers that are no weights
    ropes: bool = True  # whether it turns queries and keys by their places


def _unchanged(name: str, tensor: Tensor, config: Any) -> Tensor:
    return tensor


def _llama(name: str, tensor: Tensor, config: Any) -> Tensor:
    """Rows of queries and keys in pairs: llama.cpp turns neighbours, transformers two halves."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    found = next((count for part, count in heads.items() if f".{part}." in name), None)
    if found is None:
        return tensor
    shape = tensor.shape
    return tensor.reshape(found, 2, -1, *shape[1:]).swapaxes(1, 2).reshape(shape)


def _gpt2(name: str, tensor: Tensor, config: Any) -> Tensor:
    """Its layers hold their weights as [inputs, outputs]."""
    layers = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    return tensor.T if name.endswith(layers) else tensor


ARCHITECTURES = {  # by model_type
    "llama": GgufArchitecture("llama", _llama),
    "mistral": GgufArchitecture("llama", _llama),
    "qwen2": GgufArchitecture("qwen2", _unchanged),
    "qwen3": GgufArchitecture("qwen3", _unchanged),
    "gpt2": GgufArchitecture("gpt2", _gpt2, (".attn.bias", ".attn.masked_bias"), ropes=False),
}


def architecture_of(config: Any, *, at: str) -> GgufArchitecture:
    """How a model of a config is written; raises `ModelError` for one that cannot be."""
    kind = str(config.model_type)
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"{at}: {kind} models are not written as GGUF, only {', '.join(ARCHITECTURES)}"
        )
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        raise ModelError(
            f"{at}: its places are scaled (rope_type {rope['rope_type']}), which is not written as "
            "GGUF"
        )
    if getattr(config, "use_sliding_window", False) or (
        kind == "mistral" and getattr(config, "sliding_window", None)
    ):
        raise ModelError(f"{at}: its attention has a sliding window, which is not written as GGUF")
    if kind == "gpt2":
        return ARCHITECTURES[kind]
    if getattr(config, "hidden_act", "silu") != "silu":
        raise ModelError(f"{at}: llama.cpp has no {kind} with {config.hidden_act} in it")
    return ARCHITECTURES[kind]


def add_shape(writer: Any, config: Any, architecture: GgufArchitecture) -> None:
    """Write the shape of a model: what llama.cpp builds it from."""
    heads, width = int(config.num_attention_heads), int(config.hidden_size)
    writer.add_context_length(int(config.max_position_embeddings))
    writer.add_embedding_length(width)
    writer.add_block_count(int(config.num_hidden_layers))
    writer.add_head_count(heads)
    if not architecture.ropes:
        writer.add_feed_forward_length(int(config.n_inner or 4 * width))
        writer.add_layer_norm_eps(float(config.layer_norm_epsilon))
        return
    size = int(getattr(config, "head_dim", None) or width // heads)
    writer.add_feed_forward_length(int(config.intermediate_size))
    writer.add_head_count_kv(int(config.num_key_value_heads))
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_layer_norm_rms_eps(float(config.rms_norm_eps))
