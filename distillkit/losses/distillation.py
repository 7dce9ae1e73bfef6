"""The losses that a run can choose: thin modules that hold the settings of a pure function.

A loss is called with the student's outputs, the teacher's soft targets and the hard labels, and
returns its terms position by position; `reduce_terms` makes the number. Each example counts once:
its loss is soft_weight * soft + hard_weight * hard, the second only where it has a label.
"""

from torch import Tensor, nn

from distillkit.constraints import NonNegative, Positive
from distillkit.errors import ConfigError
from distillkit.losses.divergences import forward_kl, logit_mse, soft_cross_entropy
from distillkit.losses.reduction import Reduction
from distillkit.records import HardLabels, LossTerms, Outputs, SoftTargets


class ForwardKL(nn.Module):
    """`forward_kl` to the soft targets, mixed with the task's loss on the hard labels."""

    needs_teacher = True
    divergence = staticmethod(forward_kl)

    def __init__(
        self,
        temperature: Positive = 1.0,
        soft_weight: NonNegative = 1.0,
        hard_weight: NonNegative = 0.0,
        scale_by_t2: bool = True,
        reduction: Reduction = "batchmean",
    ) -> None:
        super().__init__()
        self.temperature = float(temperature)
        self.scale_by_t2, self.reduction = scale_by_t2, reduction
        self.weights = _weights(soft_weight, hard_weight)

    def forward(self, outputs: Outputs, targets: SoftTargets, labels: HardLabels) -> LossTerms:
        """Nats a position, before reduction."""
        soft = self.divergence(
            outputs.logits,
            _several(targets.logits),
            temperature=self.temperature,
            scale_by_t2=self.scale_by_t2,
            reduction=self.reduction,
        )
        return _mixed(soft, outputs, labels, self.weights)


class SoftCrossEntropy(ForwardKL):
    """`soft_cross_entropy` to the soft targets, mixed with the task's loss on the hard labels."""

    divergence = staticmethod(soft_cross_entropy)


class LogitMSE(nn.Module):
    """`logit_mse` to the teacher's logits, mixed with the task's loss on the hard labels."""

    needs_teacher = True

    def __init__(
        self,
        soft_weight: NonNegative = 1.0,
        hard_weight: NonNegative = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.weights = _weights(soft_weight, hard_weight)

    def forward(self, outputs: Outputs, targets: SoftTargets, labels: HardLabels) -> LossTerms:
        """Squared logits a position, before reduction."""
        soft = logit_mse(outputs.logits, targets.logits, reduction=self.reduction)
        return _mixed(soft, outputs, labels, self.weights)


class HardLabelLoss(nn.Module):
    """The task's own loss on the hard labels alone: how the control and the teacher learn."""

    needs_teacher = False

    def __init__(self) -> None:
        super().__init__()
        self.weights = {"hard": 1.0}

    def forward(
        self, outputs: Outputs, targets: SoftTargets | None, labels: HardLabels
    ) -> LossTerms:
        """The task's loss a position, before reduction; `targets` are not looked at."""
        return LossTerms({"hard": _hard(outputs, labels)}, self.weights)


def _weights(soft_weight: float, hard_weight: float) -> dict[str, float]:
    if soft_weight == 0:
        raise ConfigError(
            "loss.soft_weight = 0: nothing would be learnt from the teacher; choose "
            "loss=hard_labels "
            "to train on the labels alone"
        )
    return {"soft": soft_weight, **({"hard": hard_weight} if hard_weight else {})}


def _several(logits: Tensor) -> Tensor:
    if logits.shape[-1] == 1:
        raise ConfigError(
            "loss: a softmax over one real-valued output is constant; use loss=logit_mse"
        )
    return logits


def _mixed(
    soft: Tensor, outputs: Outputs, labels: HardLabels, weights: dict[str, float]
) -> LossTerms:
    values = {"soft": soft}
    if "hard" in weights:
        values["hard"] = _hard(outputs, labels)
    return LossTerms(values, weights)


def _hard(outputs: Outputs, labels: HardLabels) -> Tensor:
    values: Tensor = labels.per_example(outputs.logits, labels.values)
    return values.masked_fill(~labels.labelled, 0.0)
