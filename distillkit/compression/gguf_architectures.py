"""How decoders are written for llama.cpp: the names of gguf's own tables, and what else differs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor

from distillkit.errors import ModelError

# (name of the tensor in transformers, its values, config) -> its values in the file
Rewrite = Callable[[str, Tensor, Any], Tensor]


@dataclass(frozen=True, slots=True)
class GgufArchitecture:
    """`name` is gguf's of an architecture, `rewrite` moves the rows of its tensors.

    `fixed` are the settings of a config that llama.cpp has one value of, or a few; what a config
    does not name is the first.
    """

    name: str
    rewrite: Rewrite
    left_out: tuple[str, ...] = ()  # buffers that are no weights
    ropes: bool = True  # whether it turns queries and keys by their places
    scales: tuple[str, ...] = ()  # how it may scale the places, beside not at all
    fixed: dict[str, tuple[Any, ...]] = field(default_factory=dict)


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


# of YaRN: what is written, and what llama.cpp has one value of
ROPE = {"rope_type", "rope_theta", "factor", "original_max_position_embeddings"}
USUAL = {"beta_fast": 32, "beta_slow": 1, "truncate": True, "partial_rotary_factor": 1}
_SILU: dict[str, tuple[Any, ...]] = {"hidden_act": ("silu", "swish")}
_LINEAR, _LLAMA3, _YARN = "linear", "llama3", "yarn"
ARCHITECTURES = {  # by model_type
    "llama": GgufArchitecture("llama", _llama, scales=(_LINEAR, _LLAMA3, _YARN), fixed=_SILU),
    "mistral": GgufArchitecture(
        "llama", _llama, scales=(_LINEAR, _YARN), fixed=_SILU | {"sliding_window": (None,)}
    ),
    "qwen2": GgufArchitecture("qwen2", _unchanged, scales=(_LINEAR, _YARN), fixed=_SILU),
    "qwen3": GgufArchitecture(
        "qwen3", _unchanged, scales=(_LINEAR, _YARN), fixed=_SILU | {"attention_bias": (False,)}
    ),
    "gpt2": GgufArchitecture(
        "gpt2",
        _gpt2,
        (".attn.bias", ".attn.masked_bias"),
        ropes=False,
        fixed={
            # llama.cpp's is the one by tanh; the exact one differs by 5e-4 at most
            "activation_function": ("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu"),
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "add_cross_attention": (False,),
        },
    ),
}


def architecture_of(config: Any, *, at: str) -> GgufArchitecture:
    """How a model of a config is written; raises `ModelError` for one that cannot be."""
    kind = str(config.model_type)
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"{at}: {kind} models are not written as GGUF, only {', '.join(ARCHITECTURES)}"
        )
    architecture = ARCHITECTURES[kind]
    scaling = scaling_of(config)
    if scaling not in (None, *architecture.scales):
        raise ModelError(
            f"{at}: its places are scaled (rope_type {scaling}), which is not written as GGUF"
        )
    rope = getattr(config, "rope_parameters", None) or {} if scaling == _YARN else {}
    if strange := [it for it in rope if it not in ROPE and rope[it] not in (None, USUAL.get(it))]:
        raise ModelError(f"{at}: its rope_parameters have {strange[0]}, which no GGUF file has")
    if getattr(config, "use_sliding_window", False):
        raise ModelError(f"{at}: its attention has a sliding window, which is not written as GGUF")
    for name, values in architecture.fixed.items():
        value = getattr(config, name, values[0])
        if value not in values:
            raise ModelError(
                f"{at}: its config.json has {name} = {value}, and the {kind} of llama.cpp has "
                f"{values[0]}"
            )
    return architecture


def scaling_of(config: Any) -> str | None:
    """How a model scales the places of tokens (`rope_type`); None: not at all."""
    rope = getattr(config, "rope_parameters", None) or {}
    name = str(rope.get("rope_type", "default"))
    return None if name == "default" else name


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
    _add_scaling(writer, config)


def _add_scaling(writer: Any, config: Any) -> None:
    """Write how places are scaled, but for llama3's, which is a tensor (`frequency_factors`)."""
    rope, scaling = config.rope_parameters, scaling_of(config)
    if scaling not in (_LINEAR, _YARN):
        return
    writer.add_rope_scaling_type(gguf.RopeScalingType(scaling))
    writer.add_rope_scaling_factor(float(rope["factor"]))
    if scaling == _YARN:
        original = rope.get("original_max_position_embeddings") or config.max_position_embeddings
        writer.add_rope_scaling_orig_ctx_len(int(original))


def frequency_factors(model: Any) -> np.ndarray | None:
    """What llama3's scaling divides each frequency of the places by, [head size / 2]; else None."""
    config = model.config
    if scaling_of(config) != _LLAMA3:
        return None
    turned = next(it for it in model.modules() if hasattr(it, "inv_freq")).inv_freq.double()
    size = 2 * len(turned)
    base = float(config.rope_parameters["rope_theta"])
    plain = base ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    factors: np.ndarray = (plain / turned.cpu()).float().numpy()
    return factors
