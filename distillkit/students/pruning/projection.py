"""Fewer hidden channels as the principal components of the teacher's hidden states."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.models.layouts import layout_of
from distillkit.students.embeddings import principal_axes
from distillkit.students.pruning.importance import Batches, averages

TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Projection:
    """`axes` [hidden, fewer] are orthonormal: a hidden state h becomes h @ axes.

    Matrices that read or write hidden states are turned into these axes; what is elementwise
    cannot be, so `norms` maps the name of each norm to its new (weight, bias), each [fewer].
    """

    axes: Tensor
    norms: Mapping[str, tuple[Tensor, Tensor]]


def hidden_projection(model: Any, batches: Batches, width: int) -> Projection:
    """The axes of most of what a model's norms say on calibration text, and norms to fit them.

    The axes are those of the second moments, summed over norms, each counted alike: one choice for
    the whole model, so that its architecture stays (with axes for each block, as in SliceGPT,
    https://arxiv.org/abs/2401.15024, it would not). A norm of fewer channels divides by another
    spread than the teacher's; its weight and bias are the least-squares fit, channel by channel, to
    what the teacher's says on these axes. Float64; two passes over the text.
    """
    norms = _norms(model)
    axes = principal_axes(_moments(model, batches, norms), width)
    return Projection(axes, _fits(model, batches, norms, axes))


def _norms(model: Any) -> dict[str, nn.Module]:
    """The norms of hidden states in the body, by name."""
    layout = layout_of(model)
    body = {id(module) for module in model.base_model.modules()}
    return {
        name: module
        for name, module in model.named_modules()
        if layout.of(name) == ("hidden",) and id(module) in body
    }


def _moments(model: Any, batches: Batches, norms: Mapping[str, nn.Module]) -> Tensor:
    def measure(_: Any, run: Callable[[], Tensor], mask: Tensor) -> list[Tensor]:
        sums_of_layers: list[Tensor] = []

        def hook(_: Any, args: Any, output: Tensor) -> None:
            states = output[mask].double()
            sums_of_layers.append(states.T @ states)

        with ExitStack() as hooks:
            for norm in norms.values():
                hooks.callback(norm.register_forward_hook(hook).remove)
            run()
        return sums_of_layers

    sums = averages(model, batches, measure)
    return torch.stack([moments / moments.trace() for moments in sums]).sum(dim=0)


def _fits(
    model: Any, batches: Batches, norms: Mapping[str, nn.Module], axes: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    shifts = not layout_of(model).root_mean_square

    def measure(_: Any, run: Callable[[], Tensor], mask: Tensor) -> list[Tensor]:
        sums: dict[str, Tensor] = {}

        def watch(name: str, eps: float) -> Callable[..., None]:
            def hook(_: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
                turned = axes.to(output.device)
                inputs = args[0][mask].double() @ turned
                if shifts:
                    inputs = inputs - inputs.mean(dim=-1, keepdim=True)
                inputs = inputs * (inputs.square().mean(dim=-1, keepdim=True) + eps).rsqrt()
                outputs = output[mask].double() @ turned
                parts = (inputs, outputs, inputs * inputs, inputs * outputs)
                sums[name] = torch.stack([part.sum(dim=0) for part in parts])

            return hook

        with ExitStack() as hooks:
            for name, norm in norms.items():
                hooks.callback(norm.register_forward_hook(watch(name, _eps(norm))).remove)
            run()
        return [sums[name] for name in norms]

    fitted = averages(model, batches, measure)
    return {name: _line(means, shifts) for name, means in zip(norms, fitted, strict=True)}


def _line(means: Tensor, shifts: bool) -> tuple[Tensor, Tensor]:
    """(weight, bias) of the best line through channels of these means; without shift, through 0."""
    inputs, outputs, square, product = means.unbind()
    if not shifts:
        return product / square.clamp(min=TINY), torch.zeros_like(inputs)
    weight = (product - inputs * outputs) / (square - inputs.square()).clamp(min=TINY)
    return weight, outputs - weight * inputs


def _eps(norm: nn.Module) -> float:
    return float(getattr(norm, "eps", None) or getattr(norm, "variance_epsilon", None) or 0.0)
