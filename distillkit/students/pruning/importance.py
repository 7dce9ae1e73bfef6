"""How much the parts of a model matter, measured on calibration text; nothing is trained."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from distillkit.errors import DataError
from distillkit.models.layouts import hidden_in, hidden_out, layer_stack, layout_of, skipped

Batches = Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class WidthScores:
    """How much each can be missed, in float64: `hidden` [hidden], `neurons` [layers, neurons],
    `heads` [layers, heads].
    """

    hidden: Tensor
    neurons: Tensor
    heads: Tensor


def first_examples(batches: Iterable[Mapping[str, Tensor]], count: int) -> Batches:
    """The first `count` rows of all batches. Raises `DataError` if there are none."""
    examples: list[Mapping[str, Tensor]] = []
    for batch in batches:
        rows = min(count, len(batch["input_ids"]))
        examples.append({name: values[:rows] for name, values in batch.items()})
        count -= rows
        if not count:
            break
    if not examples:
        raise DataError(
            "student: its layers or widths are chosen on the training text, but there is none; set "
            "student.choose=uniform"
        )
    return examples


def layer_scores(model: Any, batches: Batches, method: str) -> Tensor:
    """How much each layer matters, float64 [layers]; the lowest may go first.

    `block_influence` is that of ShortGPT, https://arxiv.org/abs/2403.03853, section 3.1: 1 - cos
    between what goes into a layer and what comes out, averaged over tokens.
    `importance` is what Minitron (https://arxiv.org/abs/2407.14679, section 2.2) does with one
    layer left out at a time, but measured on the model's last hidden states, so that it needs no
    labels and works for encoders too: 1 - cos between those with and without the layer. It costs a
    forward pass a layer.
    """
    measure = {"block_influence": _block_influence, "importance": _importance}[method]
    return torch.stack(averages(model, batches, measure))


def _block_influence(model: Any, run: Callable[[], Tensor], mask: Tensor) -> list[Tensor]:
    _, layers = layer_stack(model)
    changes: dict[int, Tensor] = {}

    def watch(i: int) -> Callable[..., None]:
        def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            changes[i] = _apart(hidden_out(output), hidden_in(args, kwargs), mask)

        return hook

    with ExitStack() as hooks:
        for i, layer in enumerate(layers):
            handle = layer.register_forward_hook(watch(i), with_kwargs=True)
            hooks.callback(handle.remove)
        run()
    return [changes[i] for i in range(len(layers))]


def _importance(model: Any, run: Callable[[], Tensor], mask: Tensor) -> list[Tensor]:
    _, layers = layer_stack(model)
    whole, without = run(), []
    for i in range(len(layers)):
        with skipped(layers, {i}):
            without.append(_apart(run(), whole, mask))
    return without


def _apart(states: Tensor, others_states: Tensor, mask: Tensor) -> Tensor:
    """1 - cos of each kept token, summed: []."""
    return (
        1 - F.cosine_similarity(states[mask].double(), others_states[mask].double(), dim=-1)
    ).sum()


def width_scores(model: Any, batches: Batches) -> WidthScores:
    """What Minitron's section 2.2 keeps by, averaged over tokens.

    Hidden channels: mean |output| of each norm, summed over norms. Neurons: mean |value| that the
    last matrix of the feed-forward network reads. Heads: mean L2 norm of what each of them says.
    """
    layout, (stack, layers) = layout_of(model), layer_stack(model)
    heads = int(model.config.num_attention_heads)
    named = dict(model.named_modules())
    norms = [
        name
        for name, module in named.items()
        if layout.of(name) == ("hidden",) and getattr(module, "weight", None) is not None
    ]

    def measure(_: Any, run: Callable[[], Tensor], mask: Tensor) -> list[Tensor]:
        hidden: list[Tensor] = []
        neurons: list[Tensor] = []
        sums: list[Tensor] = []

        def norm(_: Any, args: Any, output: Tensor) -> None:
            hidden.append(output[mask].double().abs().sum(dim=0))

        def feed_forward(_: Any, args: tuple[Tensor, ...]) -> None:
            neurons.append(args[0][mask].double().abs().sum(dim=0))

        def attention(_: Any, args: tuple[Tensor, ...]) -> None:
            outputs_of_heads = (
                args[0][mask].double().unflatten(-1, (heads, -1))
            )  # [tokens, heads, head_dim]
            sums.append(torch.linalg.vector_norm(outputs_of_heads, dim=-1).sum(dim=0))

        with ExitStack() as hooks:
            for name in norms:
                hooks.callback(named[name].register_forward_hook(norm).remove)
            for i in range(len(layers)):
                reads = [(layout.neurons, feed_forward), (layout.heads, attention)]
                for end, hook in reads:
                    module = named[f"{stack}.{i}.{end}"]
                    hooks.callback(module.register_forward_pre_hook(hook).remove)
            run()
        return [torch.stack(hidden).sum(dim=0), torch.stack(neurons), torch.stack(sums)]

    return WidthScores(*averages(model, batches, measure))


def averages(model: Any, batches: Batches, measure: Callable[..., list[Tensor]]) -> list[Tensor]:
    """Sums over tokens that `measure` gives for each batch, divided by the number of tokens.

    `measure` gets the model, a function that runs it to its last hidden states, and which tokens
    [batch, tokens] are no padding.
    """
    device = model.get_input_embeddings().weight.device
    was_training = model.training
    model.eval()
    sums: list[Tensor] = []
    count = 0
    try:
        with torch.inference_mode():
            for batch in batches:
                inputs = {name: values.to(device) for name, values in batch.items()}
                mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
                changes = measure(
                    model, lambda batch_inputs=inputs: model.base_model(**batch_inputs)[0], mask
                )
                changes = [values.cpu() for values in changes]
                sums = changes if not sums else [a + b for a, b in zip(sums, changes, strict=True)]
                count += int(mask.sum())
    finally:
        model.train(was_training)
    return [values / count for values in sums]
