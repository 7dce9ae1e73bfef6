"""An encoder's last layer, run for the first token alone, which a text's answer is read from.

Exact, not approximate: the other tokens of that layer enter as keys and values, and what it would
make of them is dropped. Of a layer it saves all but the keys' and values' projections, so about a
third of a step of two layers, and a tenth of a forward pass of six.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from distillkit.fast_paths import FastPath

# (layer, hidden states [rows, tokens, width], mask) -> what the layer says of the first token
FirstToken = Callable[[Any, Tensor, Tensor | None], Tensor]
KERNELS = ("eager", "sdpa")  # whose masks are [rows, heads, queries, keys], or not there


@dataclass(frozen=True, slots=True)
class Reader:
    """How an architecture reads the first token.

    `stack` names the layers in its body, `keys` what meets all tokens in the last of them; `run` is
    the last layer for the first token alone.
    """

    stack: str
    keys: tuple[str, str]
    run: FirstToken


@contextmanager
def first_token_only(model: Any) -> Iterator[None]:
    """While entered, the last layer of a classifier gives [rows, 1, width].

    Nothing changes where the architecture is not known, where somebody looks inside (a hook on the
    body or in the last layer), or where gradients come from a second pass over the layers.
    """
    layer_and_reader = _layer_and_reader(model)
    if layer_and_reader is None:
        yield
        return
    layer, reader = layer_and_reader

    def forward(hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any):  # type: ignore[no-untyped-def]
        return reader.run(layer, hidden_states, attention_mask)

    layer.forward = forward  # the instance's own; the layer is called as it always is
    try:
        yield
    finally:
        del layer.forward


def read_once(model: Any) -> int:
    """The parameters of a classifier's last layer that meet one token of a text."""
    layer_and_reader = _layer_and_reader(model)
    if layer_and_reader is None:
        return 0
    layer, reader = layer_and_reader
    all_tokens = [layer.get_submodule(name) for name in reader.keys]
    sizes = [sum(p.numel() for p in module.parameters()) for module in (layer, *all_tokens)]
    whole, keys, values = sizes
    return whole - keys - values


def _layer_and_reader(model: Any) -> tuple[Any, Reader] | None:
    """The last layer and how to read it; None where it must run whole."""
    if not FastPath.FIRST_TOKEN_LAYER.is_enabled:
        return None
    kind = type(model)
    if kind.__name__ not in KNOWN or not kind.__module__.startswith("transformers.models."):
        return None
    config, body, reader = model.config, model.base_model, KNOWN[kind.__name__]
    if config._attn_implementation not in KERNELS or getattr(config, "is_decoder", False):
        return None
    layer: Any = body.get_submodule(reader.stack)[-1]
    if "forward" in vars(layer):  # accelerate's, which moves what goes in to the layer's device
        return None
    if getattr(layer, "gradient_checkpointing", False) or _hooked(body):
        return None
    return None if any(map(_hooked, layer.modules())) else (layer, reader)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _attended(
    attention: Any, projections: tuple[nn.Module, ...], hidden: Tensor, mask: Tensor | None
) -> Tensor:
    """What the first token reads of all tokens, [rows, 1, width]."""
    states = (hidden[:, :1], hidden, hidden)
    query, key, value = (
        projection(state).unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)
        for projection, state in zip(projections, states, strict=True)
    )
    kernel = ALL_ATTENTION_FUNCTIONS.get_interface(
        attention.config._attn_implementation,
        vars(sys.modules[type(attention).__module__])["eager_attention_forward"],
    )
    read, _ = kernel(
        attention,
        query,
        key,
        value,
        None if mask is None else mask[:, :, :1],
        dropout=attention.dropout.p if attention.training else 0.0,
        scaling=attention.scaling,
    )
    together: Tensor = read.flatten(2)
    return together


def _bert_layer(layer: Any, hidden: Tensor, mask: Tensor | None) -> Tensor:
    attention = layer.attention.self
    projections = (attention.query, attention.key, attention.value)
    read = layer.attention.output(_attended(attention, projections, hidden, mask), hidden[:, :1])
    output: Tensor = layer.feed_forward_chunk(read)
    return output


def _distilbert_layer(layer: Any, hidden: Tensor, mask: Tensor | None) -> Tensor:
    attention = layer.attention
    projections = (attention.q_lin, attention.k_lin, attention.v_lin)
    read = attention.out_lin(_attended(attention, projections, hidden, mask))
    first = layer.sa_layer_norm(read + hidden[:, :1])
    output: Tensor = layer.output_layer_norm(layer.ffn(first) + first)
    return output


_BERT = Reader("encoder.layer", ("attention.self.key", "attention.self.value"), _bert_layer)
_DISTILBERT = Reader("transformer.layer", ("attention.k_lin", "attention.v_lin"), _distilbert_layer)
# the heads of these read the first token and no other
KNOWN = {
    "BertForSequenceClassification": _BERT,
    "CamembertForSequenceClassification": _BERT,
    "DistilBertForSequenceClassification": _DISTILBERT,
    "ElectraForSequenceClassification": _BERT,
    "RobertaForSequenceClassification": _BERT,
    "XLMRobertaForSequenceClassification": _BERT,
}
