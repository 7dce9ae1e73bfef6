"""What a model says of many examples, in length-bucketed batches."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from distillkit.models.modes import evaluating
from distillkit.models.precision import Precision, autocast, cached_casts, resolve
from distillkit.ragged import ranges
from distillkit.types import Batch, HiddenOutputs, Outputs

ForwardFn = Callable[[Any, Batch], Outputs | HiddenOutputs]


def predict(
    model: Any,
    forward_fn: ForwardFn,
    buckets: Iterable[np.ndarray],
    collate: Callable[[np.ndarray], Batch],
    *,
    precision: Precision = "float32",
) -> Iterator[tuple[Batch, Outputs | HiddenOutputs]]:
    """Yield (batch, what the model says at its counted positions) of each bucket; no gradients.

    The weights must stay as they are until the last answer is there.
    """
    device = next(model.parameters()).device
    dtype = resolve(precision, device)
    with evaluating(model), cached_casts():
        for bucket in buckets:
            batch = collate(bucket)
            # entered for each batch: a generator may be left half-way, or used inside another
            # mode; and no inference mode, in which every batch would convert all weights
            with torch.no_grad(), autocast(dtype, device):
                outputs = forward_fn(model, batch)
            yield batch, outputs


def all_logits(
    model: Any,
    forward_fn: ForwardFn,
    buckets: Sequence[np.ndarray],
    collate: Callable[[np.ndarray], Batch],
    *,
    precision: Precision = "float32",
    offsets: np.ndarray | None = None,
) -> np.ndarray:
    """A classifier's logits of all examples in their own order, float32 [positions, classes].

    `offsets` [examples + 1] says where each example's positions begin; None: each has one.
    """
    parts = list(logits_of(model, forward_fn, buckets, collate, precision=precision))
    return in_order(parts, offsets)


def logits_of(
    model: Any,
    forward_fn: ForwardFn,
    buckets: Sequence[np.ndarray],
    collate: Callable[[np.ndarray], Batch],
    *,
    precision: Precision = "float32",
) -> Iterator[dict[str, np.ndarray]]:
    """A classifier's `logits`, float32 [positions, classes], of the examples `rows`, a batch."""
    for batch, outputs in predict(model, forward_fn, buckets, collate, precision=precision):
        assert isinstance(outputs, Outputs)
        yield {"rows": batch.indices, "logits": outputs.logits.float().cpu().numpy()}


def in_order(parts: Sequence[Mapping[str, np.ndarray]], offsets: np.ndarray | None) -> np.ndarray:
    """The logits of all batches in the order of the examples; see `all_logits`."""
    if offsets is None:
        offsets = np.arange(sum(len(part["rows"]) for part in parts) + 1)
    out = np.empty((int(offsets[-1]), parts[0]["logits"].shape[1]), np.float32)
    for part in parts:
        rows = part["rows"]
        out[ranges(offsets[rows], offsets[rows + 1] - offsets[rows])] = part["logits"]
    return out
