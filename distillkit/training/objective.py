"""A model and its training objective, as one module.

Wrappers for several devices act on a module's own forward, so everything that has gradients must
happen inside it: the loss over a language model's head, for one, and a loss's own parameters.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch

from distillkit.training.sharding import Shared
from distillkit.types import Batch, LossTerms


class Objective(torch.nn.Module, ABC):
    """The training objective of a model: (model, batch) -> the loss's terms.

    Its parameters are trained with the model's, and checkpoints hold them and its buffers; a saved
    model holds none of them.
    """

    @property
    def has_unused_parameters(self) -> bool:
        """True if some of the model's parameters get no gradient (DDP looks for them then)."""
        return False

    @property
    def scheduled_values(self) -> dict[str, float]:
        """The present value of each schedule, under its name in metrics.jsonl."""
        return {}

    @abstractmethod
    def forward(self, model: Any, batch: Batch) -> LossTerms:
        """The terms of the loss on one micro-batch."""

    def on_step_begin(self, progress: float) -> None:
        """Called before each optimizer step; `progress` is the share of the run done, in [0, 1)."""

    def on_step_end(self, shares: Mapping[str, float]) -> None:
        """Called after each optimizer step; `shares` is the loss and its terms over all positions.

        All processes get the same values; state made from them belongs in buffers.
        """


class ModelWithObjective(Shared):
    """A model with its objective, whose parameters are in place while `forward` runs.

    What each wrapper of several processes does around it: DDP has all parameters on each process,
    and exchanges gradients as the backward pass makes them. FSDP2 gathers a layer while it runs,
    forward and backward; embeddings, last norm, head and the objective's own parameters are the
    root's: gathered once a micro-batch, as `forward` begins, and held until its backward pass ends,
    so that a loss over the head finds all of it and makes its logits chunk by chunk. Then their
    gradients are summed and shared out with the rest.
    """

    def __init__(self, model: torch.nn.Module, objective: Objective) -> None:
        super().__init__(model)
        self.objective = objective


def terms_of(batch: Batch) -> Callable[[Any], LossTerms]:
    """The work of one micro-batch: the terms of its loss."""

    def terms(whole: Any) -> LossTerms:
        value: LossTerms = whole.objective(whole.model, batch)
        return value

    return terms
