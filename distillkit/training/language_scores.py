"""How a language model is measured, a chunk of positions at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from distillkit.losses.heads import project
from distillkit.ragged import stretches
from distillkit.types import Batch, HiddenOutputs, Outputs

# logits held at a time: more than of a store (targets/codecs/logits.py), whose chunks take each
# other's memory, and than of a loss (losses/chunked.py), which has gradients beside. Each budget is
# measured, and another one is another product of matrices, whose last bits are others
CHUNK = 2**23


def pieces(positions: int, vocabulary: int) -> Iterator[slice]:
    """Stretches of positions whose logits are no more than `CHUNK`."""
    return stretches(positions, CHUNK // vocabulary)


def chunks(outputs: HiddenOutputs, labels: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """(positions, float32 logits [chunk, vocabulary], labels [chunk]) of all positions in order."""
    for part in pieces(len(labels), outputs.head.size):
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
