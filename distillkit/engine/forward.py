"""What a model says of many examples, in length-bucketed batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from distillkit.engine.precision import Precision, autocast, casts_kept, resolve
from distillkit.examples import spread
from distillkit.records import Batch, HiddenOutputs, Outputs

Ask = Callable[[Any, Batch], Outputs | HiddenOutputs]


def answers(
    model: Any,
    ask: Ask,
    buckets: Sequence[np.ndarray],
    collate: Callable[[np.ndarray], Batch],
    *,
    precision: Precision = "float32",
) -> Iterator[tuple[Batch, Outputs | HiddenOutputs]]:
    """Yield (batch, what the model says at its counted positions) of each bucket; no gradients.

    The weights must stay as they are until the last answer is there.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    dtype = resolve(precision, device)
    try:
        with casts_kept():
            for bucket in buckets:
                batch = collate(bucket)
                # entered for each batch: a generator may be left half-way, or used inside another
                # mode; and no inference mode, in which every batch would convert all weights
                with torch.no_grad(), autocast(dtype, device):
                    said = ask(model, batch)
                yield batch, said
    finally:
        model.train(was_training)


def all_logits(
    model: Any,
    ask: Ask,
    buckets: Sequence[np.ndarray],
    collate: Callable[[np.ndarray], Batch],
    *,
    precision: Precision = "float32",
    offsets: np.ndarray | None = None,
) -> np.ndarray:
    """A classifier's logits of all examples in their own order, float32 [positions, classes].

    `offsets` [examples + 1] says where each example's positions begin; None: each has one.
    """
    parts = []
    for batch, said in answers(model, ask, buckets, collate, precision=precision):
        assert isinstance(said, Outputs)
        parts.append((batch.indices, said.logits.float().cpu().numpy()))
    if offsets is None:
        offsets = np.arange(sum(len(rows) for rows, _ in parts) + 1)
    out = np.empty((int(offsets[-1]), parts[0][1].shape[1]), np.float32)
    for rows, logits in parts:
        out[spread(offsets[rows], offsets[rows + 1] - offsets[rows])] = logits
    return out
