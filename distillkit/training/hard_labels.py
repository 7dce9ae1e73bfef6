"""The loss on hard labels, each by the weight of its class where classes have some."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from distillkit.tasks import SequenceTask, Task
from distillkit.token_table import TokenTable

PerExample = Callable[[Tensor, Tensor], Tensor]


def weighted_per_example(
    task: Task, examples: TokenTable, classes: int, device: torch.device
) -> PerExample:
    """The task's `per_example`; "balanced" weights are of the labels of these training examples."""
    if not isinstance(task, SequenceTask):
        return task.per_example
    labels = np.asarray(examples.labels)[np.asarray(examples.label_mask)]
    weights = task.label_weights(labels, classes)
    if weights is None:
        return task.per_example
    by_class = torch.from_numpy(weights).to(device)
    return lambda logits, values: task.per_example(logits, values) * by_class[values]
