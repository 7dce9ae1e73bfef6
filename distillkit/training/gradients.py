"""The loss and gradient of one optimizer step, over its micro-batches and all processes."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any, TypeVar

import torch

from distillkit import stopping
from distillkit.losses.reduction import reduce_terms
from distillkit.models.precision import autocast
from distillkit.training.batch_source import MicroBatch
from distillkit.training.distributed import Accelerator
from distillkit.training.objective import terms_of
from distillkit.training.sharding import whole

T = TypeVar("T")
STOP = "stop"  # summed over the processes with the loss: they all end after the same step


def parameter_groups(model: torch.nn.Module) -> list[dict[str, Any]]:
    """Matrices decay, vectors (biases, norms) do not: as BERT is trained."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    matrices, vectors = [p for p in trainable if p.ndim > 1], [p for p in trainable if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def accumulate(
    accelerator: Accelerator,
    model: Any,
    micro_batches: Iterable[MicroBatch],
    *,
    positions: int,
    dtype: torch.dtype,
) -> dict[str, float]:
    """Forward and backward over one step's micro-batches; return `loss` and each of its terms.

    `model` is a `ModelWithObjective` that `accelerator` prepared. The loss is divided by the
    `positions` of the whole step, over all processes. Of several processes, `STOP` counts those
    that a signal came to.
    """
    world = accelerator.num_processes
    sums: dict[str, float] = {}
    shares: dict[str, torch.Tensor] = {}
    for micro_batch, is_last in _marked(micro_batches):
        # gradients are exchanged once a step, with those of its last micro-batch
        with nullcontext() if is_last else accelerator.no_sync(model):
            with autocast(dtype, accelerator.device):
                terms = model(terms_of(micro_batch.batch))
            total, shares = reduce_terms(terms, count=positions)
            # DDP and FSDP2 average the gradients of the processes; their sum is meant
            accelerator.backward(total * (0 if micro_batch.is_filler else world))
        if not micro_batch.is_filler:
            add(sums, {"loss": total.item(), **{name: s.item() for name, s in shares.items()}})
    if world > 1:
        sums[STOP] = float(stopping.requested())
        sums = _summed(accelerator, sums, ["loss", *sorted(shares), STOP])
    return sums


def gradient_norm(accelerator: Accelerator, model: Any, limit: float | None) -> float:
    """The norm of the whole gradient, which is clipped to `limit` if there is one."""
    if limit is not None:
        return float(whole(accelerator.clip_grad_norm_(model.parameters(), limit)))
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return float(whole(torch.nn.utils.get_total_norm(gradients)))


def add(sums: dict[str, float], values: dict[str, float]) -> None:
    """Add each value to the sum of its name."""
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value


def _summed(accelerator: Accelerator, sums: dict[str, float], names: list[str]) -> dict[str, float]:
    """The sums over all processes of these names; a process that lacks one adds 0."""
    values = torch.tensor([sums.get(k, 0.0) for k in names], device=accelerator.device)
    return dict(zip(names, accelerator.reduce(values, "sum").tolist(), strict=True))


def _marked(items: Iterable[T]) -> Iterator[tuple[T, bool]]:
    """Each item, and whether it is the last; at most one is taken ahead."""
    ahead = iter(items)
    item = next(ahead)
    for following in ahead:
        yield item, False
        item = following
    yield item, True
