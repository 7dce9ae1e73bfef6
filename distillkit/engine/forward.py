"""A model's logits over many examples, in length-bucketed batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from distillkit.engine.precision import Precision, autocast, resolve
from distillkit.records import Batch


def forward(
    model: Any,
    buckets: Sequence[np.ndarray],
    collate: Callable[[np.ndarray], Batch],
    *,
    precision: Precision = "float32",
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (indices [batch], float32 logits [batch, classes]) of each bucket; no gradients."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    dtype = resolve(precision, device)
    try:
        for bucket in buckets:
            # entered for each batch: a generator may be left half-way, or used inside another mode
            with torch.inference_mode(), autocast(dtype, device):
                logits = model(**collate(bucket).inputs).logits
            yield bucket, logits.float().cpu().numpy()
    finally:
        model.train(was_training)


def all_logits(
    model: Any,
    buckets: Sequence[np.ndarray],
    collate: Callable[[np.ndarray], Batch],
    *,
    precision: Precision = "float32",
) -> np.ndarray:
    """The logits of all examples in their own order, float32 [examples, classes]."""
    parts = list(forward(model, buckets, collate, precision=precision))
    out = np.empty((sum(len(bucket) for bucket, _ in parts), parts[0][1].shape[1]), np.float32)
    for bucket, logits in parts:
        out[bucket] = logits
    return out
