"""The losses on hidden states that a run can choose: they hold the settings of pure functions."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from distillkit.errors import ConfigError
from distillkit.losses.hidden import hidden_cosine, hidden_mse, patience
from distillkit.losses.layer_maps import LayerMap
from distillkit.losses.layered import HiddenLoss, LayeredLoss, Projection
from distillkit.losses.reduction import Reduction, at_least_float32
from distillkit.losses.relations import contrast, flow_mse, gram_mse, text_mean
from distillkit.setting_types import Positive, PositiveInt
from distillkit.types import Activations, ActivationSpec, Dimensions

CLS = 0  # where the token stands that speaks for its text


@dataclass(eq=False, repr=False, kw_only=True)
class HiddenMSE(HiddenLoss):
    """`hidden_mse`, mean over a text's tokens, summed over the pairs of layers.

    With `embeddings` the two models' embeddings are a pair as well.
    """

    embeddings: bool = True
    reduction: Reduction = "mean"

    def pairs_of(self, student: Dimensions, teacher: Dimensions) -> list[tuple[int, int]]:
        """The embeddings, and the pairs of layers."""
        pairs = super().pairs_of(student, teacher)
        return [(0, 0), *pairs] if self.embeddings and (0, 0) not in pairs else pairs

    def by_text(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        """Squared channels a text."""
        return self.total(
            text_mean(hidden_mse(student_layer, teacher_layer, reduction=self.reduction), mask)
            for student_layer, teacher_layer in self.compared(student, teacher)
        )


@dataclass(eq=False, repr=False, kw_only=True)
class HiddenCosine(HiddenLoss):
    """`hidden_cosine`, mean over a text's tokens, summed over the pairs of layers."""

    usual_layers: ClassVar[LayerMap] = [[-1, -1]]

    projection: Projection = "none"

    def by_text(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        """Between 0 and 2 a pair and text."""
        return self.total(
            text_mean(hidden_cosine(student_layer, teacher_layer), mask)
            for student_layer, teacher_layer in self.compared(student, teacher)
        )


@dataclass(eq=False, repr=False, kw_only=True)
class Patience(HiddenLoss):
    """`patience` of the [CLS] states, summed over the pairs of layers.

    PKD-Skip and PKD-Last are layers=skip and layers=last.
    """

    term = "patience"
    first_token = True
    usual_layers: ClassVar[LayerMap] = "skip"

    normalise: bool = True
    projection: Projection = "none"
    reduction: Reduction = "batchmean"

    def by_text(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        """Between 0 and 4 a pair and text, if normalised."""
        return self.total(
            patience(
                student_layer[:, CLS],
                teacher_layer[:, CLS],
                normalise=self.normalise,
                reduction=self.reduction,
            )
            for student_layer, teacher_layer in self.compared(student, teacher)
        )


@dataclass(eq=False, repr=False, kw_only=True)
class GramMSE(LayeredLoss):
    """`gram_mse`, summed over the pairs of layers; hidden states may have any widths."""

    term = "gram"
    lowest = 0

    def looked_at(self, layers: frozenset[int]) -> ActivationSpec:
        """The hidden states."""
        return ActivationSpec(hidden=layers)

    def by_text(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        """Squared products a text."""
        return self.total(
            gram_mse(student.hidden[student_layer], teacher.hidden[teacher_layer], mask)
            for student_layer, teacher_layer in self.pairs
        )


@dataclass(eq=False, repr=False, kw_only=True)
class FlowMSE(HiddenLoss):
    """`flow_mse` from each pair of layers to the next, summed."""

    term = "flow"

    def pairs_of(self, student: Dimensions, teacher: Dimensions) -> list[tuple[int, int]]:
        """The pairs of layers. Raises `ConfigError` where there is one only."""
        pairs = super().pairs_of(student, teacher)
        if len(pairs) < 2:
            raise ConfigError(
                f"loss.layers = {self.layer_map}: gives {len(pairs)} pair of layers, and a flow "
                "goes from one to the next; write two, as in [[0,0],[-1,-1]]"
            )
        return pairs

    def by_text(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        """Squared products a text."""
        compared = list(self.compared(student, teacher))
        return self.total(
            flow_mse((student_layer, my_next), (teacher_layer, their_next), mask)
            for (student_layer, teacher_layer), (my_next, their_next) in pairwise(compared)
        )


@dataclass(eq=False, repr=False, kw_only=True)
class Contrast(LayeredLoss):
    """`contrast` of the [CLS] states, both projected to `width` channels, summed over the pairs."""

    term = "contrast"
    lowest = 0
    compares_texts = True
    usual_layers: ClassVar[LayerMap] = [[-1, -1]]

    temperature: Positive = 0.1
    width: PositiveInt = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        self.projections = nn.ModuleList()

    def bind(self, student: Dimensions, teacher: Dimensions) -> None:
        """Settle the pairs of layers, and make a projection for each model of each pair."""
        super().bind(student, teacher)
        self.projections = nn.ModuleList(
            nn.Linear(model.hidden, self.width) for _ in self.pairs for model in (student, teacher)
        )

    def looked_at(self, layers: frozenset[int]) -> ActivationSpec:
        """The hidden states."""
        return ActivationSpec(hidden=layers)

    def by_text(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        """Nats a text."""
        values = []
        for number, (student_layer, teacher_layer) in enumerate(self.pairs):
            student_states = self._projected(2 * number, student.hidden[student_layer])
            teacher_states = self._projected(2 * number + 1, teacher.hidden[teacher_layer])
            values.append(contrast(student_states, teacher_states, temperature=self.temperature))
        return torch.stack(values).sum(dim=0)

    def _projected(self, number: int, hidden: Tensor) -> Tensor:
        states: Tensor = self.projections[number](at_least_float32(hidden[:, CLS]))
        return states
