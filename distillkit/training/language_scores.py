"""How a language model is measured, a chunk of positions at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from distillkit.losses.heads import project
from distillkit.types import Batch, HiddenOutputs, Outputs

CHUNK = 2**23  # logits held at a time


def chunks(outputs: HiddenOutputs, labels: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """(positions, float32 logits [chunk, vocabulary], labels [chunk]) of all positions in order."""
    step = max(1, CHUNK // outputs.head.size)
    for begin in range(0, len(labels), step):
        part = slice(begin, begin + step)
        yield part, project(outputs.hidden[part], outputs.head), labels[part]


def mean_loss(answers: Iterator[tuple[Batch, Outputs | HiddenOutputs]]) -> float:
    """The mean cross-entropy to the labels, in nats a counted position."""
    total, count = 0.0, 0
    for batch, outputs in answers:
        assert isinstance(outputs, HiddenOutputs)
        with torch.inference_mode():
            for _, logits, labels in chunks(outputs, batch.labels):
                nats = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
                total, count = total + float(nats), count + len(labels)
    return total / max(1, count)
