"""What all losses share: how they are called, and what training tells them.

Loss                    the student's outputs, soft targets, hard labels -> terms
  LogitLoss             … from logits, which may be there for a few positions at a time only
    HardLabelLoss       the task's own loss
    SoftTargetLoss      a loss to the teacher, mixed with the task's own
      SoftmaxLoss       … between softmaxes at a temperature
  Mixture               named losses with weights (mixture.py)

A loss with settings is a dataclass: its fields are what the config sets, their types what is
checked. One with more to prepare does so in `__post_init__`, after that of its base.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from torch import Tensor, nn

from distillkit.errors import ConfigError
from distillkit.losses.chunked import Known, loss_terms
from distillkit.losses.reduction import Reduction
from distillkit.schedules import Constant, Schedule, Temperature, Weight, scheduled
from distillkit.types import (
    DISTRIBUTIONS,
    ActivationSpec,
    Dimensions,
    Distribution,
    HardLabels,
    HiddenOutputs,
    LossTerms,
    Outputs,
    PairedActivations,
    SoftTargets,
    StoredLayers,
    Targets,
)

# logits alone; the first token's hidden states too; all tokens' of the last layer; anything else
Extent = Literal["logits", "first", "last", "more"]
EXTENTS: tuple[Extent, ...] = get_args(Extent)
SOFTMAX: tuple[Distribution, ...] = ("softmax",)
# what a loss could define under an earlier name: it would never be called or read
RENAMED = {
    "at": "on_step_begin",
    "after": "on_step_end",
    "moving": "scheduled_values",
    "passes_over": "has_unused_parameters",
    "looks_inside": "needs_activations",
    "needs_inside": "activation_specs",
    "extent": "teacher_scope",
    "takes": "supported_outputs",
}


class Loss(nn.Module, ABC):
    """A loss is called with what student and teacher said, and the hard labels.

    It returns its terms, of which `reduce_terms` makes the number, and a weight for each. Weights
    may be schedules. A loss may have parameters of its own, which are learnt beside the student's,
    and buffers. `supported_outputs` names what outputs may mean to it: of those that it computes
    from, that is, and so anything for a loss on activations alone.
    """

    needs_teacher = True
    needs_soft_targets = True  # or it learns from what is inside of the teacher alone
    needs_activations = False
    least_outputs = 1  # of a position, or it has no gradient
    compares_texts = False  # of a micro-batch with each other, and so learns nothing from one
    has_unused_parameters = False  # of the student, the head's for one: they get no gradient
    supported_outputs: tuple[Distribution, ...] = DISTRIBUTIONS

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        """A module already, so that a dataclass can set its fields, whatever they are."""
        loss = super().__new__(cls)
        nn.Module.__init__(loss)
        return loss

    def __init_subclass__(cls, **options: Any) -> None:
        """Raise `ConfigError` for a loss that defines a hook under its earlier name."""
        super().__init_subclass__(**options)
        for name, new in RENAMED.items():
            # a setting of such a name is a number, and no hook
            value = getattr(cls, name, None)
            if callable(value) or isinstance(value, property | bool | tuple | str):
                raise ConfigError(
                    f"{cls.__module__}.{cls.__qualname__}.{name}: such a hook of a loss is called "
                    f"{new} now; rename it"
                )

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("passes_over", "looks_inside", "takes"):
            raise ConfigError(f"{type(self).__name__}.{name}: is called {RENAMED[name]} now")
        # a module would be kept elsewhere, and the field's default read in its place
        if isinstance(value, nn.Module) and hasattr(type(self), name):
            kind = type(value).__name__
            raise ConfigError(f"loss.{name} = {kind}: must be a number, or a schedule")
        super().__setattr__(name, value)

    def __init__(self, weights: Mapping[str, Schedule]) -> None:
        self.progress = 0.0
        self._schedules = dict(weights)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term, as far as training is."""
        return {name: weight(self.progress) for name, weight in self._schedules.items()}

    @property
    def scheduled_values(self) -> dict[str, float]:
        """The present value of each schedule and running estimate, as metrics.jsonl names it."""
        return {
            f"{name}_weight": weight(self.progress)
            for name, weight in self._schedules.items()
            if not weight.is_constant
        }

    @abstractmethod
    def forward(
        self,
        outputs: Outputs | HiddenOutputs,
        targets: Targets | None,
        labels: HardLabels,
        insides: PairedActivations | None = None,
    ) -> LossTerms:
        """The terms, before reduction."""

    def bind(self, student: Dimensions, teacher: Dimensions) -> None:
        """Called once before training, of a loss that looks inside: settles what is compared.

        Parameters of the loss's own are made here, so seed torch before. Raises `ConfigError` for
        what these models do not have.
        """

    @property
    def activation_specs(self) -> tuple[ActivationSpec, ActivationSpec]:
        """What is looked at inside the student and inside the teacher, once it is bound."""
        return ActivationSpec(), ActivationSpec()

    @property
    def teacher_scope(self) -> Extent:
        """How much of the teacher it looks at."""
        return "logits"

    @property
    def states(self) -> StoredLayers:
        """The teacher's hidden states that it looks at, once it is bound; of extent first or last.

        A store keeps these for it.
        """
        return StoredLayers()

    @property
    def temperatures(self) -> dict[str, Schedule]:
        """The temperatures of the teacher's softmax that it looks at, by their setting."""
        return {}

    @property
    def summands(self) -> Sequence["Loss"]:
        """The losses that it adds up, or itself."""
        return (self,)

    @property
    def drawings(self) -> dict[str, str]:
        """The layer maps, once it is bound: term -> a drawing of a few lines."""
        return {}

    def on_step_begin(self, progress: float) -> None:
        """Called before each optimizer step; `progress` is the share of the run done, in [0, 1)."""
        self.progress = progress

    def on_step_end(self, shares: Mapping[str, float]) -> None:
        """Called after each optimizer step; `shares` is each term's mean in it, before its weight.

        All processes get the same values. State made from them belongs in a buffer, so that
        checkpoints hold it.
        """


class LogitLoss(Loss):
    """A loss that says what it computes from the logits of some positions, one by one.

    That outputs may be hidden states, and targets too, is no concern of its.
    """

    def forward(
        self,
        outputs: Outputs | HiddenOutputs,
        targets: Targets | None,
        labels: HardLabels,
        insides: PairedActivations | None = None,
    ) -> LossTerms:
        """The terms, before reduction."""
        return loss_terms(self.of_logits, self.weights, outputs, targets, labels)

    @abstractmethod
    def of_logits(self, logits: Tensor, targets: Known, labels: HardLabels) -> dict[str, Tensor]:
        """The values [positions] of each term, of some positions' logits."""


class HardLabelLoss(LogitLoss):
    """The task's own loss on the hard labels alone: how the control and the teacher learn."""

    needs_teacher = False
    needs_soft_targets = False

    def __init__(self) -> None:
        super().__init__({"hard": Constant(1.0)})

    def of_logits(self, logits: Tensor, targets: Known, labels: HardLabels) -> dict[str, Tensor]:
        """The task's loss where there is a label, 0 elsewhere."""
        return {"hard": hard(logits, labels)}


@dataclass(eq=False, repr=False, kw_only=True)
class SoftTargetLoss(LogitLoss):
    """What is learnt from the teacher, mixed with the task's loss on the hard labels.

    Each position counts once: its loss is soft_weight * soft + hard_weight * hard, the second only
    where it has a label. What else than a softmax its outputs may be, a loss declares in
    `supported_outputs`.
    """

    supported_outputs = SOFTMAX

    soft_weight: Weight = 1.0
    hard_weight: Weight = 0.0

    def __post_init__(self) -> None:
        weights = {
            "soft": scheduled("soft_weight", self.soft_weight),
            "hard": scheduled("hard_weight", self.hard_weight),
        }
        if weights["soft"].span == (0, 0):
            raise ConfigError(
                "loss.soft_weight = 0: nothing would be learnt from the teacher; choose "
                "loss=hard_labels to train on the labels alone"
            )
        super().__init__({name: weight for name, weight in weights.items() if weight.span[1] > 0})

    def of_logits(self, logits: Tensor, targets: Known, labels: HardLabels) -> dict[str, Tensor]:
        """Both terms, the second if it has a weight."""
        values = {"soft": self.soft(logits, targets, labels)}
        return values | ({"hard": hard(logits, labels)} if "hard" in self._schedules else {})

    @abstractmethod
    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """What is learnt from the teacher, a position."""

    def dense_logits(self, targets: Known) -> Tensor:
        """All the teacher's logits; raises `ConfigError` for a store of a few entries."""
        if not isinstance(targets, SoftTargets):
            raise ConfigError(
                f"loss: {type(self).__name__} compares all logits, and the store holds a few "
                "entries of the teacher's distribution; choose loss=forward_kl, or keep all of it "
                "with targets=stored, or targets=last_hidden of a language model"
            )
        return targets.logits


@dataclass(eq=False, repr=False, kw_only=True)
class SoftmaxLoss(SoftTargetLoss):
    """A loss between the student's softmax and the teacher's, both softened by a temperature."""

    supported_outputs = ("softmax", "choice")
    least_outputs = 2

    temperature: Temperature = 1.0
    scale_by_t2: bool = True
    reduction: Reduction = "batchmean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._temperature = scheduled("temperature", self.temperature, positive=True)

    @property
    def temperatures(self) -> dict[str, Schedule]:
        """Its temperature."""
        return {"temperature": self._temperature}

    @property
    def current_temperature(self) -> float:
        """The temperature, as far as training is."""
        return self._temperature(self.progress)

    @property
    def scheduled_values(self) -> dict[str, float]:
        """The temperature too, where it has a schedule."""
        if self._temperature.is_constant:
            return super().scheduled_values
        return super().scheduled_values | {"temperature": self.current_temperature}

    @property
    def softmax_settings(self) -> dict[str, Any]:
        """The settings that all functions of two softmaxes take."""
        return {
            "temperature": self.current_temperature,
            "scale_by_t2": self.scale_by_t2,
            "reduction": self.reduction,
        }

    def dense_logits(self, targets: Known) -> Tensor:
        """All the teacher's logits; raises `ConfigError` where a softmax of them says nothing."""
        logits = super().dense_logits(targets)
        if logits.shape[-1] == 1:
            raise ConfigError(
                "loss: a softmax over one real-valued output is constant; use loss=logit_mse"
            )
        return logits


def hard(logits: Tensor, labels: HardLabels) -> Tensor:
    """The task's loss on the hard labels [positions], 0 where there is none."""
    values: Tensor = labels.per_example(logits, labels.values)
    return values.masked_fill(~labels.label_mask, 0.0)
