"""What one text takes of a model: operations and memory; which parameters are word vectors."""

import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


def body_parameters(model: Any) -> int:
    """The parameters without those of embedding tables; one that a head shares counts once."""
    if hasattr(model, "body_parameters"):  # of a runtime, whose weights are not PyTorch's
        return int(model.body_parameters())
    tables = [part for part in model.modules() if isinstance(part, torch.nn.Embedding)]
    vectors = {id(part.weight): part.weight.numel() for part in tables}
    return int(model.num_parameters()) - sum(vectors.values())


def megaflops(model: Any, inputs: Mapping[str, Any]) -> float:
    """Millions of floating-point operations of a forward pass: two for each multiply-add.

    Of matrix products, attention, convolutions and recurrent layers; all else is small.
    """
    recurrent: list[float] = []
    hooks = [
        layer.register_forward_hook(partial(_count_recurrent, recurrent))
        for layer in model.modules()
        if isinstance(layer, torch.nn.RNNBase)
    ]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return (counter.get_total_flops() + sum(recurrent)) / 1e6


def _count_recurrent(flops: list[float], layer: Any, inputs: Any, _: Any) -> None:
    """The products of a recurrent layer, which PyTorch's counter does not see."""
    first = inputs[0]
    batch = getattr(first, "batch_sizes", None)  # of packed sequences
    tokens = int(batch.sum()) if batch is not None else first.numel() // first.shape[-1]
    weights = sum(
        weight.numel() for name, weight in layer.named_parameters() if name.startswith("weight_")
    )
    flops.append(2.0 * tokens * weights)


def peak_bytes(model: Any, inputs: Mapping[str, Any]) -> int:
    """The most bytes that weights, buffers and results hold at once in a forward pass."""
    storages = {part.untyped_storage() for part in (*model.parameters(), *model.buffers())}
    weights = sum({part._cdata: part.nbytes() for part in storages}.values())
    with torch.no_grad(), _Results() as results:
        model(**inputs)
    return int(weights + results.peak)


class _Results(TorchDispatchMode):
    """Follows the bytes of the tensors that operations make, as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._current = 0
        self._living: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        own = {part.untyped_storage()._cdata for part in _tensors((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._living and key not in own:  # no view of what was there
                self._living[key] = weakref.ref(
                    storage, partial(self._freed, key, storage.nbytes())
                )
                self._current += storage.nbytes()
        self.peak = max(self.peak, self._current)
        return result

    def _freed(self, key: int, size: int, _: Any) -> None:
        del self._living[key]
        self._current -= size


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
