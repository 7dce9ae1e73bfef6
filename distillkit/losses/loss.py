"""What all losses share: they are called in one way, and are mixed with the hard labels in one."""

from torch import Tensor, nn

from distillkit.errors import ConfigError
from distillkit.losses.chunked import Known, loss_terms
from distillkit.records import Distribution, HardLabels, HiddenOutputs, LossTerms, Outputs, Targets


class Loss(nn.Module):
    """A loss is called with the student's outputs, the teacher's soft targets and the hard labels.

    It returns its terms, of which `reduce_terms` makes the number. Each position counts once: its
    loss is soft_weight * soft + hard_weight * hard, the second only where it has a label. A loss
    says what it computes from logits (`soft`); that outputs may be hidden states, and targets too,
    is no concern of its. `takes` names what outputs may mean to it.
    """

    needs_teacher = True
    takes: tuple[Distribution, ...] = ("softmax", "choice", "bernoulli", "real")

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights

    def forward(
        self, outputs: Outputs | HiddenOutputs, targets: Targets | None, labels: HardLabels
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

    def soft(self, logits: Tensor, targets: Known) -> Tensor:
        """What is learnt from the teacher, a position."""
        raise NotImplementedError


class HardLabelLoss(Loss):
    """The task's own loss on the hard labels alone: how the control and the teacher learn."""

    needs_teacher = False

    def __init__(self) -> None:
        super().__init__({"hard": 1.0})


def mixed(soft_weight: float, hard_weight: float) -> dict[str, float]:
    """The weights of the terms; raises `ConfigError` where nothing is learnt from the teacher."""
    if soft_weight == 0:
        raise ConfigError(
            "loss.soft_weight = 0: nothing would be learnt from the teacher; choose "
            "loss=hard_labels to train on the labels alone"
        )
    return {"soft": soft_weight, **({"hard": hard_weight} if hard_weight else {})}
