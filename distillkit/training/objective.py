"""A model and its training objective, as one module.

Wrappers for several devices act on a module's own forward, so everything that has gradients must
happen inside it: the loss over a language model's head, for one, and a loss's own parameters.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch

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


class ModelWithObjective(torch.nn.Module):
    """A model with its objective: (batch) -> the loss's terms."""

    def __init__(self, model: torch.nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch) -> LossTerms:
        """The terms of the loss on one micro-batch."""
        terms: LossTerms = self.objective(self.model, batch)
        return terms
