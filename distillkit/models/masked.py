"""Masked language models in two parts: up to what their output matrix reads, and that matrix."""

from typing import Any

import torch
from torch import Tensor

from distillkit.errors import ModelError
from distillkit.losses.heads import project
from distillkit.models.classifiers import load_complete, load_model, new_model
from distillkit.models.lm_head import (
    TOKENS,
    check_finite_logits,
    device_of,
    distance,
    tolerance,
)
from distillkit.models.loading import one_line
from distillkit.models.modes import evaluating
from distillkit.types import Head

MASKED = "AutoModelForMaskedLM"


def hidden_and_head(model: Any, size: int, **inputs: Any) -> tuple[Tensor, Head]:
    """What the model's output matrix reads [batch, tokens, hidden], and that matrix.

    `size` is the real vocabulary. Between body and matrix each architecture has layers of its own,
    so the model itself is run, and the matrix given no token: logits of all tokens are never made.
    """
    output = model.get_output_embeddings()
    weight = getattr(output, "weight", None)
    if weight is None or weight.dim() != 2 or size > len(weight):
        raise ModelError(
            f"{type(model).__name__}: it has no output matrix for the {size} tokens of the "
            "vocabulary"
        )
    read: list[Tensor] = []

    def catch(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        read.append(args[0])
        return (args[0][:, :0], *args[1:])

    handle = output.register_forward_pre_hook(catch)
    try:
        model(**inputs)
    finally:
        handle.remove()
    if not read:
        raise ModelError(
            f"{type(model).__name__}: its output matrix is not called as a layer, so it cannot be "
            "distilled; choose another architecture"
        )
    return read[-1], Head(weight=weight, size=size, bias=getattr(output, "bias", None))


def check_masked_head(model: Any, *, key: str) -> None:
    """Raise `ModelError` for a model that does not run, or whose parts are not the whole of it."""
    setting, _, source = key.partition(" = ")
    with one_line(setting, source or type(model).__name__, "model", happens="does not run"):
        _check_masked_head(model, key=key)


def _check_masked_head(model: Any, *, key: str) -> None:
    """Raise `ModelError` unless both parts together say what the model's own forward says."""
    size = len(model.get_output_embeddings().weight)
    ids = torch.arange(TOKENS, device=device_of(model)).unsqueeze(0) % size
    with evaluating(model), torch.inference_mode():
        hidden, head = hidden_and_head(model, size, input_ids=ids)
        expected = model(input_ids=ids).logits.float()
        computed = project(hidden, head)
        check_finite_logits(computed, model, key=key)
        gap = distance(computed[..., : expected.shape[-1]], expected)
    if not gap <= tolerance(hidden.dtype):
        raise ModelError(
            f"{key}: {type(model).__name__} does something to its logits that distillkit does not "
            f"know (they differ by {gap:.1%}), so it cannot be distilled; choose another "
            "architecture"
        )


def load_masked_lm(
    folder: str, *, key: str, may_lack_head: bool, trust_remote_code: bool = False, **options: Any
) -> Any:
    """The masked language model of a folder or hub id, in eval mode, its head checked.

    With `may_lack_head` a body will do, and has a new head (seed torch before). `options` may be
    `dtype` and `device_map`.
    """
    load = load_model if may_lack_head else load_complete
    model = load(folder, key=key, auto_class=MASKED, trust_remote_code=trust_remote_code, **options)
    check_masked_head(model, key=f"{key} = {folder}")
    return model.eval()


def new_masked_lm(config: dict[str, Any], tokenizer: Any, *, key: str) -> Any:
    """A masked language model of any transformers config, with new weights (seed torch before)."""
    model = new_model(config, tokenizer, key=key, auto_class=MASKED)
    if not next(model.parameters()).is_meta:
        check_masked_head(model, key=f"{key}.model_type = {config['model_type']}")
    return model
