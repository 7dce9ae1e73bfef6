"""What is computed inside a model while it reads a batch, kept for a loss that asks for it.

Hooks on a few modules do it, so the model runs as it always does: its attention may be any kernel,
and layers that nobody asked for cost nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.errors import ModelError
from distillkit.types import Activations, ActivationSpec

# how architectures end the names of the modules that make queries, keys and values
SEPARATE = (
    ("query", "key", "value"),  # bert, roberta, electra
    ("q_proj", "k_proj", "v_proj"),  # llama and its kin
    ("q_lin", "k_lin", "v_lin"),  # distilbert
    ("query_proj", "key_proj", "value_proj"),  # deberta v2
)
JOINT = ("c_attn",)  # gpt2: all three side by side
VECTORS = ("queries", "keys", "values")


class ActivationRecorder:
    """Keeps what `needs` names of a model's `layers`, for as long as it is entered.

    Layer m of the hidden states is what the m-th layer gives, 0 what the first is given, and the
    last what the model's body returns: after a final norm, as transformers counts them. Raises
    `ModelError` where the queries, keys and values of a layer are not found.
    """

    def __init__(
        self, model: nn.Module, layers: nn.ModuleList, needs: ActivationSpec, *, heads: int
    ):
        self._heads, self._count = heads, len(layers)
        self._activations: dict[str, dict[int, Tensor]] = {}
        self._hooks: list[tuple[nn.Module, str, int]] = []
        body: Any = getattr(model, "base_model", model)
        for layer in sorted(needs.hidden):
            if layer == self._count:
                self._hooks.append((body, "hidden", layer))
            elif layer:
                self._hooks.append((layers[layer - 1], "hidden", layer))
            else:
                self._hooks.append((layers[0], "embeddings", 0))
        layers_of = {name: getattr(needs, name) for name in VECTORS}
        for layer in sorted(frozenset().union(*layers_of.values())):
            for modules, names in _vectors(layers[layer - 1]).items():
                recorded = [name if layer in layers_of[name] else "" for name in names]
                if any(recorded):
                    self._hooks.append((modules, "/".join(recorded), layer))

    @contextmanager
    def __call__(self) -> Iterator["ActivationRecorder"]:
        """Watch the forward passes inside, of which the last one counts."""
        self._activations = {name: {} for name in ("hidden", *VECTORS)}
        handles = []
        for module, name, layer in self._hooks:
            if name == "embeddings":
                handles.append(
                    module.register_forward_pre_hook(self._input_hook(layer), with_kwargs=True)
                )
            else:
                handles.append(module.register_forward_hook(self._output_hook(name, layer)))
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def pop(self) -> Activations:
        """What was kept, each [rows, tokens, width]."""
        activations, self._activations = self._activations, {}
        return Activations(**activations, heads=self._heads)

    def _input_hook(self, layer: int) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._activations["hidden"][layer] = args[0] if args else kwargs["hidden_states"]

        return hook

    def _output_hook(self, name: str, layer: int) -> Any:
        names = name.split("/")

        def hook(_: nn.Module, __: Any, output: Any) -> None:
            tensor: Tensor = output if isinstance(output, Tensor) else output[0]
            parts = tensor.chunk(len(names), dim=-1) if len(names) > 1 else (tensor,)
            for part, vector in zip(parts, names, strict=True):
                if vector:
                    self._activations[vector][layer] = part

        return hook


def _vectors(layer: nn.Module) -> dict[nn.Module, tuple[str, ...]]:
    """The modules that make a layer's queries, keys and values, and which of them each makes."""
    ends: dict[str, list[nn.Module]] = {}
    for name, module in layer.named_modules():
        ends.setdefault(name.rpartition(".")[2], []).append(module)
    for names in SEPARATE:
        candidates = [ends.get(name, []) for name in names]
        if all(len(modules) == 1 for modules in candidates):
            return {
                modules[0]: (vector,) for modules, vector in zip(candidates, VECTORS, strict=True)
            }
    for name in JOINT:
        if len(ends.get(name, [])) == 1:
            return {ends[name][0]: VECTORS}
    raise ModelError(
        f"loss: the queries, keys and values of {type(layer).__name__} are not found; choose a "
        "loss on hidden states"
    )


def rows_of_texts(activations: Activations, gather_index: Tensor | None) -> Activations:
    """Each text in a row of its own: [rows, tokens, width] to [texts, tokens, width].

    `gather_index` [texts, tokens] are its tokens' places in the flattened rows; None where rows are
    texts already.
    """
    if gather_index is None:
        return activations

    def gathered(tensors: Any) -> dict[int, Tensor]:
        return {layer: t.flatten(0, 1)[gather_index] for layer, t in tensors.items()}

    return Activations(
        hidden=gathered(activations.hidden),
        queries=gathered(activations.queries),
        keys=gathered(activations.keys),
        values=gathered(activations.values),
        heads=activations.heads,
    )


def joined(parts: list[Activations]) -> Activations:
    """What was seen of several pieces of a batch, their rows one after the other."""
    if len(parts) == 1:
        return parts[0]

    def stacked(name: str) -> dict[int, Tensor]:
        return {
            layer: torch.cat([getattr(part, name)[layer] for part in parts])
            for layer in getattr(parts[0], name)
        }

    return Activations(
        **{name: stacked(name) for name in ("hidden", *VECTORS)}, heads=parts[0].heads
    )
