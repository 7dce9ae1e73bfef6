"""What a model is made of, told from its config: no weights are loaded.

On torch's meta device a model has shapes and no memory, so one of any size is made in a moment.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from distillkit.errors import ModelError
from distillkit.models.configs import check_config, check_padding_row, config_of
from distillkit.models.first_token import read_once
from distillkit.models.folders import check_folder
from distillkit.models.loading import one_line, quiet
from distillkit.models.sizes import bounded_modules
from distillkit.types import Dimensions

# what configs call the width of the feed-forward network
NEURONS = ("intermediate_size", "ffn_dim", "n_inner", "dff", "d_inner")
ROTATIONS = ("rope_parameters", "rope_theta", "rope_scaling", "rotary_pct")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's sizes. `parameters` are those in memory, tied matrices once.

    `body` of them are multiplied at every token and `head` at every counted position; tables that
    rows are only looked up in are neither. `once` of the body meet one token of a text, where
    nobody looks inside. `attention` is the width of all query heads together. Of a mixture of
    experts all count, though a token meets a few. What `is_recurrent` reads token after token.
    """

    parameters: int
    body: int
    head: int
    outputs: int
    layers: int
    hidden: int
    attention: int
    neurons: int
    has_experts: bool = False
    is_recurrent: bool = False
    once: int = 0


def meta_model(
    folder: str,
    auto_class: str,
    *,
    key: str,
    outputs: int | None = None,
    trust_remote_code: bool = False,
    device: str = "meta",
) -> Any:
    """The model of a folder, hub id or GGUF file on the meta device, or elsewhere with new weights.

    A classifier has a new head of so many `outputs`, else its own. Raises `ModelError`, and
    `ConfigError` for a pad token that no model of such sizes can have.
    """
    import transformers

    check_folder(folder, key=key, weights=False)
    config = config_of(folder, key=key, trust_remote_code=trust_remote_code)
    check_config(config, auto_class, key=f"{key} = {folder}")
    if outputs is not None:
        config.num_labels = outputs
    try:
        bounded = bounded_modules(f"{key} = {folder}")
        with quiet(), one_line(key, folder, "config"), bounded, torch.device(device):
            return getattr(transformers, auto_class).from_config(
                config, dtype="float32", trust_remote_code=trust_remote_code
            )
    except ModelError as error:
        check_padding_row(error, config, key=f"{key} = {folder}")
        raise


def shape_of(model: Any) -> Shape:
    """The sizes of a model, on the meta device or not."""
    config = model.config.get_text_config(decoder=True)
    sizes = {id(p): p.numel() for p in model.parameters()}
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    weight = getattr(model.get_output_embeddings(), "weight", None)
    head = _once_a_text(model) if weight is None else {id(weight): weight.numel()}
    heads = getattr(config, "num_attention_heads", None) or 0
    width = getattr(config, "head_dim", None) or config.hidden_size // max(1, heads)
    return Shape(
        parameters=sum(sizes.values()),
        body=sum(size for i, size in sizes.items() if i not in tables | head.keys()),
        head=sum(head.values()),
        outputs=len(weight) if weight is not None else int(config.num_labels),
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        attention=heads * width,
        neurons=_first_of(config, NEURONS) or 4 * config.hidden_size,
        has_experts=(_first_of(config, EXPERTS) or 0) > 1,
        is_recurrent=any(isinstance(module, nn.RNNBase) for module in model.modules()),
        once=read_once(model),
    )


def dimensions_of(model: Any) -> Dimensions:
    """The sizes that a loss on the inside of a model must know, told from its config."""
    config = model.config.get_text_config(decoder=True)
    hidden = int(getattr(config, "hidden_size", 0) or 0)
    heads = int(getattr(config, "num_attention_heads", 0) or 0)
    width = getattr(config, "head_dim", None) or hidden // max(1, heads)
    rotates = any(getattr(config, name, None) for name in ROTATIONS)
    return Dimensions(
        name=type(model).__name__,
        layers=int(getattr(config, "num_hidden_layers", 0) or 0),
        hidden=hidden,
        heads=heads,
        queries=heads * width,
        keys=int(getattr(config, "num_key_value_heads", 0) or heads) * width,
        rotates=rotates,
    )


def _once_a_text(model: Any) -> dict[int, int]:
    """The parameters of a classifier that meet one token of a text: those on top of its body."""
    body = {id(p) for p in model.base_model.parameters()}
    pooler = getattr(model.base_model, "pooler", None)
    pooled = {id(p) for p in pooler.parameters()} if isinstance(pooler, nn.Module) else set()
    return {id(p): p.numel() for p in model.parameters() if id(p) not in body - pooled}


def _first_of(config: Any, names: tuple[str, ...]) -> int | None:
    values = (getattr(config, name, None) for name in names)
    return next((int(value) for value in values if isinstance(value, int) and value), None)
