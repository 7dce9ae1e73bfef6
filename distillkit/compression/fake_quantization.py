"""A student computed in float as ONNX Runtime's dynamic int8 computes it, with gradients.

Weights of linear layers are int8, a scale a row; tables of vectors and filters one scale each; what
a linear layer or filter reads is uint8 in the range of its batch (DynamicQuantizeLinear). Rounding
passes gradients on as they come: the straight-through estimator, Bengio et al. 2013,
https://arxiv.org/abs/1308.3432; in training, Jacob et al. 2018, https://arxiv.org/abs/1712.05877.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillkit.errors import ModelError

ARITHMETIC = 1  # the version of what is computed in 8 bits


@contextmanager
def fake_quantized(model: nn.Module) -> Iterator[None]:
    """While entered, a model computes with its weights and activations in 8 bits."""
    patched = [(module, forward) for module in model.modules() if (forward := _forward_of(module))]
    for module, forward in patched:
        module.forward = MethodType(forward, module)
    try:
        yield
    finally:
        for module, _ in patched:
            del module.forward  # its class has it


def check_quantizable(model: nn.Module, *, at: str) -> None:
    """Raise `ModelError` for a model with weights that are not trained in 8 bits."""
    others = {
        type(module).__name__
        for module in model.modules()
        if not _forward_of(module)
        and any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))
    }
    if others:
        raise ModelError(
            f"{at}: layers of the class {', '.join(sorted(others))} are not trained in the "
            "runtime's int8 arithmetic; choose onnx_int8, which quantises them after training"
        )


def int8_rows(weight: Tensor) -> Tensor:
    """Weights [outputs, inputs] as int8 represents them, symmetric, a scale a row."""
    return _int8(weight, weight.detach().abs().amax(dim=1, keepdim=True))


def int8_whole(weight: Tensor) -> Tensor:
    """Weights as int8 represents them, symmetric, one scale for all."""
    return _int8(weight, weight.detach().abs().amax())


def uint8(values: Tensor, span: Tensor | None = None) -> Tensor:
    """Values as uint8 represents them, between the ends of `span` (its own), 0 included."""
    low, high = torch.aminmax((values if span is None else span).detach())
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = _scale((high - low) / 255)
    zero = torch.round(-low / scale)
    return _straight_through(values, (_steps(values, scale, zero, 0, 255) - zero) * scale)


def _int8(weight: Tensor, largest: Tensor) -> Tensor:
    scale = _scale(largest / 127)
    return _straight_through(weight, _steps(weight, scale, 0, -127, 127) * scale)


def _scale(scale: Tensor) -> Tensor:
    return torch.where(scale < torch.finfo(scale.dtype).tiny, torch.ones_like(scale), scale)


def _steps(values: Tensor, scale: Tensor, zero: Any, low: int, high: int) -> Tensor:
    return torch.clamp(torch.round(values.detach() / scale) + zero, low, high)


def _straight_through(values: Tensor, rounded: Tensor) -> Tensor:
    return values + (rounded - values).detach()


def _forward_of(module: nn.Module) -> Callable[..., Tensor] | None:
    """What computes a module in 8 bits; None for one that stays as it is."""
    own: Any = type(module).forward
    by_forward: dict[Any, Callable[..., Tensor]] = {
        nn.Linear.forward: _linear,
        nn.Embedding.forward: _embedding,
        nn.Conv1d.forward: _convolution,
    }
    return by_forward.get(own)


def _linear(self: nn.Linear, values: Tensor) -> Tensor:
    with _exact(values):
        return F.linear(uint8(values.float()), int8_rows(self.weight), self.bias)


def _embedding(self: nn.Embedding, ids: Tensor) -> Tensor:
    return uint8(F.embedding(ids, self.weight, self.padding_idx), self.weight)


def _convolution(self: nn.Conv1d, values: Tensor) -> Tensor:
    with _exact(values):
        return self._conv_forward(uint8(values.float()), int8_whole(self.weight), self.bias)


def _exact(values: Tensor) -> torch.autocast:
    """In float32: under autocast's bfloat16 neighbouring steps of 8 bits would be one number."""
    return torch.autocast(values.device.type, enabled=False)
