"""A causal language model in two parts: the body up to its last hidden states, and its head."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from distillkit.errors import ModelError
from distillkit.losses.heads import project
from distillkit.models.loading import one_line
from distillkit.models.modes import evaluating
from distillkit.types import Head

Body = Callable[..., Tensor]  # the model's inputs by name -> last hidden states

# What configs call the things that a model's forward does to its logits after the projection (or,
# which is the same, to the hidden states before it).
MULTIPLIERS = ("logit_scale", "lm_head_multiplier")  # Cohere; Falcon-H1
DIVISORS = ("logits_scaling", "logits_mup_width_multiplier")  # Granite, MiniCPM; Inkling
SOFTCAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")  # Gemma; xLSTM
TIMES_LOGITS_SCALING = ("hyperclovax",)  # multiplies by what Granite divides by

TOKENS = 8  # of the check
LOUD = 50.0  # the largest raw logit of the check: a softcap of 30 or 50 then shows
TOLERANCE = 1e-3


def body_and_head(model: Any, size: int) -> tuple[Body, Head]:
    """The body (inputs by name -> last hidden states [batch, tokens, hidden]) and the head.

    `size` is the real vocabulary. The head holds the model's own parameters, so gradients reach
    them. Nothing is computed here; `check_head` tells whether the two parts are the whole model.
    """
    output = model.get_output_embeddings()
    weight = getattr(output, "weight", None)
    if weight is None or weight.dim() != 2 or not weight.is_floating_point() or weight.is_meta:
        raise ModelError(
            f"{type(model).__name__}: it has no plain output matrix in memory that logits could "
            "be made with; load it without quantizing or offloading its head"
        )
    if size > len(weight):
        raise ModelError(
            f"{type(model).__name__}: its head has {len(weight)} rows, the vocabulary {size} tokens"
        )
    base = _base(model)
    parameters = inspect.signature(type(base).forward).parameters

    def body(**inputs: Any) -> Tensor:
        if inputs.get("position_ids") is not None and "position_ids" not in parameters:
            raise ModelError(
                f"{type(model).__name__}: it takes no position_ids, so several texts cannot share "
                "a row; set task.pack=false"
            )
        if "use_cache" in parameters:
            inputs = {"use_cache": False, **inputs}
        hidden: Tensor = base(**inputs)[0]
        kind = hidden.device.type
        if torch.is_autocast_enabled(kind):  # as it would be cast for the head's own product
            hidden = hidden.to(torch.get_autocast_dtype(kind))
        return hidden.to(weight.device)

    config = model.config.get_text_config(decoder=True)
    head = Head(
        weight=weight,
        size=size,
        bias=getattr(output, "bias", None),
        scale=_scale(config),
        softcap=_first_of(config, SOFTCAPS),
    )
    return body, head


def check_head(model: Any, *, key: str) -> None:
    """Raise `ModelError` for a model that does not run, or whose parts are not the whole of it."""
    setting, _, source = key.partition(" = ")
    with one_line(setting, source or type(model).__name__, "model", happens="does not run"):
        _check_head(model, key=key)


def _check_head(model: Any, *, key: str) -> None:
    """Raise `ModelError` unless body and head say what the model's own forward says.

    A few tokens are run both ways, a second time with hidden states so large that a softcap
    shows; and a token must not see those after it (not asked of quantized weights). Leaves the
    model and random numbers alone.
    """
    output = model.get_output_embeddings()
    body, head = body_and_head(model, 0 if output is None else len(output.weight))
    ids = torch.arange(TOKENS, device=device_of(model)).unsqueeze(0) % len(head.weight)
    with evaluating(model), torch.inference_mode():
        hidden = body(input_ids=ids)
        raw = project(hidden, replace(head, softcap=None)).abs().max()
        check_finite_logits(raw, model, key=key)
        for factor in (1.0, float(LOUD / raw) if raw > 0 else 1.0):
            with _louder(output, factor):
                expected = model(input_ids=ids).logits.float()
            computed = project(hidden * factor, head)[..., : expected.shape[-1]]
            gap = distance(computed, expected)
            if not gap <= tolerance(hidden.dtype):
                raise ModelError(
                    f"{key}: {type(model).__name__} does something to its logits that distillkit "
                    f"does not know (they differ by {gap:.1%}), so it cannot be distilled; choose "
                    "another architecture"
                )
        if not all(p.is_floating_point() for p in model.parameters()):
            return  # 8-bit products pick outliers over all tokens: each sees a trace of the others
        changed = torch.cat([ids[:, :-1], ids[:, :1]], dim=1)
        gap = distance(body(input_ids=changed)[:, :-1], hidden[:, :-1])
        if not gap <= tolerance(hidden.dtype):
            raise ModelError(
                f"{key}: {type(model).__name__} sees the tokens after the one that it is to "
                "predict; an encoder needs is_decoder: true in its config"
            )


def check_finite_logits(logits: Tensor, model: Any, *, key: str) -> None:
    """Raise `ModelError` where what a model says holds NaN or is infinite."""
    if not bool(logits.isfinite().all()):
        raise ModelError(
            f"{key}: what {type(model).__name__} says is not finite (NaN or infinite); its weights "
            "are damaged, or too large for their type; download or save it anew"
        )


def takes_positions(model: Any) -> bool:
    """Whether a model's body can be told where a text begins within a row."""
    return "position_ids" in inspect.signature(type(_base(model)).forward).parameters


def _base(model: Any) -> Any:
    candidates = (model.base_model, model.get_decoder(), getattr(model, "model", None))
    base = next(
        (candidate for candidate in candidates if candidate is not None and candidate is not model),
        None,
    )
    if base is None:
        raise ModelError(
            f"{type(model).__name__}: it has no body apart from its head, so it cannot be "
            "distilled; choose another architecture"
        )
    return base


def _scale(config: Any) -> float:
    scale = 1.0
    for name in MULTIPLIERS:
        scale *= _value(config, name)
    for name in DIVISORS:
        divides = not (name == "logits_scaling" and config.model_type in TIMES_LOGITS_SCALING)
        scale *= _value(config, name) ** (-1 if divides else 1)
    return scale


def _value(config: Any, name: str) -> float:
    value = getattr(config, name, None)
    return 1.0 if value is None else float(value)


def _first_of(config: Any, names: tuple[str, ...]) -> float | None:
    values = [getattr(config, name, None) for name in names]
    return next((float(value) for value in values if value), None)


def device_of(model: Any) -> torch.device:
    """Where token ids are to be."""
    device: torch.device = model.get_input_embeddings().weight.device
    return device


def tolerance(dtype: torch.dtype) -> float:
    """The model rounds its logits to its own precision; we do not."""
    return max(TOLERANCE, torch.finfo(dtype).eps)


def distance(logits: Tensor, expected: Tensor) -> float:
    """|found - expected| / |expected|; NaN counts as a gap."""
    apart = float(torch.linalg.vector_norm(logits.float() - expected.float()))
    return apart / max(float(torch.linalg.vector_norm(expected.float())), 1e-30)


@contextmanager
def _louder(output: Any, factor: float) -> Iterator[None]:
    """Multiply what the head reads."""

    def hook(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0] * factor, *inputs[1:])

    handle = output.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()
