"""A model and what it learns, as one module.

Wrappers for several devices act on a module's own forward, so everything that has gradients must
happen inside it: the loss over a language model's head, for one, and a loss's own parameters.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch

from distillkit.types import Batch, LossTerms


class Objective(torch.nn.Module, ABC):
    """What a model learns: called with (model, batch), it gives the loss's terms.

    Its parameters are trained beside the model's, and checkpoints hold them and its buffers; a
    saved model has nothing of it.
    """

    @property
    def passes_over(self) -> bool:
        """Whether some of the model's parameters may get no gradient, and other processes wait."""
        return False

    @property
    def moving(self) -> dict[str, float]:
        """What of the loss changes from step to step, under its name in metrics.jsonl."""
        return {}

    @abstractmethod
    def forward(self, model: Any, batch: Batch) -> LossTerms:
        """The terms of the loss on one micro-batch."""

    def at(self, progress: float) -> None:
        """Before each optimizer step: the share of the run that is done, 0 <= progress < 1."""

    def after(self, shares: Mapping[str, float]) -> None:
        """After each optimizer step: the loss and its terms, over all its positions.

        Every process is told the same; what is kept of it belongs into buffers.
        """


class Learner(torch.nn.Module):
    """A model with its objective: (batch) -> the loss's terms."""

    def __init__(self, model: torch.nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch) -> LossTerms:
        """The terms of the loss on one micro-batch."""
        terms: LossTerms = self.objective(self.model, batch)
        return terms
