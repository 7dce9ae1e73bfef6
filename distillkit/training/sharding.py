"""Models whose parameters are shared out among the processes of a run (FSDP2), as DTensors."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Shared(torch.nn.Module):
    """A model that a wrapper may share out, whose parameters are in place while `forward` runs."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def _no_split_modules(self) -> Any:
        """The layers that FSDP2 gathers one at a time: those that transformers names."""
        return getattr(self.model, "_no_split_modules", None)

    def forward(self, work: Callable[[Any], T]) -> T:
        """What a function makes of this module.

        No batch is handed over: FSDP2 would round its labels to the type that layers compute in.
        """
        return work(self)


def is_part(tensor: Tensor) -> bool:
    """Whether this is a DTensor; to import that class takes more time than a small run."""
    return hasattr(tensor, "device_mesh")


def is_sharded(module: torch.nn.Module) -> bool:
    """Whether this process holds a part of the module's parameters only."""
    return any(is_part(parameter) for parameter in module.parameters())


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; of one that is shared out every process must ask for it."""
    if not is_part(tensor):
        return tensor
    part: Any = tensor
    # parameters that are offloaded wait on the processor, and the exchange is between devices
    full: Tensor = part.to(part.device_mesh.device_type).full_tensor()
    return full


def tensors_of(module: torch.nn.Module) -> dict[str, Tensor]:
    """The state dict with each storage once: tied weights share one, which safetensors refuses."""
    places: set[int] = set()
    tensors = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        # processes must agree on the names, also where a part is empty
        place = id(tensor) if is_part(tensor) else tensor.data_ptr()
        if place not in places or not tensor.numel():
            places.add(place)
            tensors[name] = tensor.detach().contiguous()
    return tensors


@contextmanager
def gathered_root(wrapped: Any) -> Iterator[None]:
    """Within, a model may be called by itself, not through the wrapper that shares it out.

    Its embeddings, last norm and head are gathered; its layers gather themselves as they run, so
    that every process must make the same calls. Nothing for a model that is not shared out.
    """
    if not is_sharded(wrapped):
        yield
        return
    gather_root(wrapped)
    try:
        yield
    finally:
        wrapped.reshard()


def gather_root(wrapped: Any) -> None:
    """Gather what a wrapper gathers as its forward pass begins, which then does nothing more."""
    with torch.no_grad():
        wrapped(lambda _: None)


def unshard(wrapped: Any, *, is_first: bool) -> None:
    """Give the first process plain parameters on the processor again, those of others stay parts.

    Every process must call it. What was shared out is to be saved then, and no longer run.
    """
    wrapped.reshard()
    plain: dict[Tensor, torch.nn.Parameter] = {}
    for module in wrapped.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if not is_part(parameter):
                continue
            if parameter not in plain:  # tied ones stay tied
                full = whole(parameter.detach())
                plain[parameter] = torch.nn.Parameter(full.cpu() if is_first else full[:0])
            if is_first:
                setattr(module, name, plain[parameter])


def on_first(tensors: Mapping[str, Tensor], *, is_first: bool) -> dict[str, Tensor]:
    """All of some tensors on the first process's processor; {} on the others."""
    full = {}
    for name, tensor in tensors.items():
        value = whole(tensor)
        if is_first:
            full[name] = value.cpu()
    return full
