"""What all losses share: they are called in one way, and are mixed with the hard labels in one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from distillkit.errors import ConfigError
from distillkit.losses.chunked import Known, loss_terms
from distillkit.records import (
    Dimensions,
    Distribution,
    HardLabels,
    HiddenOutputs,
    Insides,
    LossTerms,
    Needs,
    Outputs,
    Targets,
)


class Loss(nn.Module, ABC):
    """A loss is called with what student and teacher said, and the hard labels.

    It returns its terms, of which `reduce_terms` makes the number: each position counts once.
    `takes` names what outputs may mean to it.
    """

    needs_teacher = True
    needs_soft_targets = True  # or it learns from what is inside of the teacher alone
    looks_inside = False
    takes: tuple[Distribution, ...] = ("softmax", "choice", "bernoulli", "real")

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights

    @abstractmethod
    def forward(
        self,
        outputs: Outputs | HiddenOutputs,
        targets: Targets | None,
        labels: HardLabels,
        insides: Insides | None = None,
    ) -> LossTerms:
        """The terms, before reduction."""

    def bind(self, student: Dimensions, teacher: Dimensions) -> None:
        """Called once before training, of a loss that looks inside: settles what is compared.

        Parameters of the loss's own are made here, so seed torch before. Raises `ConfigError` for
        what these models do not have.
        """

    @property
    def needs_inside(self) -> tuple[Needs, Needs]:
        """What is looked at inside the student and inside the teacher, once it is bound."""
        return Needs(), Needs()

    @property
    def drawings(self) -> dict[str, str]:
        """The layer maps, once it is bound: term -> a drawing of a few lines."""
        return {}

    def at(self, progress: float) -> None:
        """Called before each optimizer step with the share of the run that is done, in [0, 1)."""

    def after(self, shares: Mapping[str, float]) -> None:
        """Called after each optimizer step with what each term came to in it, before its weight.

        Every process is told the same. What is kept of it belongs into a buffer, which a
        checkpoint holds.
        """


class LogitLoss(Loss):
    """A loss on logits: soft_weight * soft + hard_weight * hard, the second where a label is.

    It says what it computes from logits (`soft`); that outputs may be hidden states, and targets
    too, is no concern of its.
    """

    def forward(
        self,
        outputs: Outputs | HiddenOutputs,
        targets: Targets | None,
        labels: HardLabels,
        insides: Insides | None = None,
    ) -> LossTerms:
        """The terms, before reduction."""
        return loss_terms(self.terms, self.weights, outputs, targets, labels)

    def terms(self, logits: Tensor, targets: Known, labels: HardLabels) -> dict[str, Tensor]:
        """The values [positions] of each term that has a weight, of some positions' logits."""
        values = {"soft": self.soft(logits, targets)} if "soft" in self.weights else {}
        if "hard" in self.weights:
            hard: Tensor = labels.per_example(logits, labels.values)
            values["hard"] = hard.masked_fill(~labels.labelled, 0.0)
        return values

    @abstractmethod
    def soft(self, logits: Tensor, targets: Known) -> Tensor:
        """What is learnt from the teacher, a position."""


class HardLabelLoss(LogitLoss):
    """The task's own loss on the hard labels alone: how the control and the teacher learn."""

    needs_teacher = False
    needs_soft_targets = False

    def __init__(self) -> None:
        super().__init__({"hard": 1.0})

    def soft(self, logits: Tensor, targets: Known) -> Tensor:
        """Nothing is learnt from a teacher."""
        return torch.zeros_like(logits[..., 0])


def mixed(soft_weight: float, hard_weight: float) -> dict[str, float]:
    """The weights of the terms; raises `ConfigError` where nothing is learnt from the teacher."""
    if soft_weight == 0:
        raise ConfigError(
            "loss.soft_weight = 0: nothing would be learnt from the teacher; choose "
            "loss=hard_labels to train on the labels alone"
        )
    return {"soft": soft_weight, **({"hard": hard_weight} if hard_weight else {})}
