"""What losses on the inside of two models share: a layer map, and a projection between widths."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from distillkit.errors import ConfigError
from distillkit.losses.layer_maps import LayerMap, drawing, layer_pairs
from distillkit.losses.loss import Extent, Loss
from distillkit.losses.reduction import at_least_float32
from distillkit.schedules import Constant
from distillkit.types import (
    Activations,
    ActivationSpec,
    Dimensions,
    HardLabels,
    HiddenOutputs,
    LossTerms,
    Outputs,
    PairedActivations,
    StoredLayers,
    Targets,
)

ANY_DEPTH = Dimensions("any", layers=10**6, hidden=1)  # deeper than pairs of layers ever reach
Projection = Literal["none", "shared", "each"]
PROJECTION_STD = 0.02


@dataclass(eq=False, repr=False, kw_only=True)
class LayeredLoss(Loss):
    """Compares layers of the student with layers of the teacher, text by text.

    Its value at a position is that of the text which the position belongs to, a mean over the
    text's own tokens: so a task with one answer a text counts every text once, however long it is,
    and a language model counts it by its positions. Official codes take one mean over all tokens of
    a batch, so that a text counts by its length: DistilBERT's and, given a mask, TextBrewer's over
    those that there are; TinyBERT's, and TextBrewer's examples, over padding too.
    """

    needs_soft_targets = False
    needs_activations = True
    has_unused_parameters = True
    term = "layers"
    first_token = False  # of each text is all that is looked at
    lowest = 1  # layer that can be compared; 0 is the embeddings
    usual_layers: ClassVar[LayerMap] = "uniform"

    layers: LayerMap | None = None  # `usual_layers`

    def __post_init__(self) -> None:
        super().__init__({self.term: Constant(1.0)})
        self.layer_map = self.layers or self.usual_layers
        self.pairs: list[tuple[int, int]] = []
        self._drawing = ""

    def bind(self, student: Dimensions, teacher: Dimensions) -> None:
        """Settle the pairs of layers. Raises `ConfigError` for layers that there are not."""
        self.pairs = self.pairs_of(student, teacher)
        self._drawing = drawing(self.pairs, teacher)

    def pairs_of(self, student: Dimensions, teacher: Dimensions) -> list[tuple[int, int]]:
        """(student's layer, teacher's layer), of each pair that is compared."""
        return layer_pairs(self.layer_map, student, teacher, key="loss.layers", lowest=self.lowest)

    @property
    def states(self) -> StoredLayers:
        """The teacher's hidden states that it looks at."""
        layers = self.activation_specs[1].hidden
        return StoredLayers(first=layers) if self.first_token else StoredLayers(whole=layers)

    @property
    def drawings(self) -> dict[str, str]:
        """The layer map."""
        return {self.term: self._drawing}

    @property
    def activation_specs(self) -> tuple[ActivationSpec, ActivationSpec]:
        """What is looked at inside the student and inside the teacher."""
        student_layer, teacher_layer = zip(*self.pairs, strict=True)
        return self.looked_at(frozenset(student_layer)), self.looked_at(frozenset(teacher_layer))

    @property
    def teacher_scope(self) -> Extent:
        """How much of the teacher it looks at."""
        first_layer = frozenset({1})
        if self.looked_at(first_layer) != ActivationSpec(hidden=first_layer):
            return "more"
        if self.first_token:
            return "first"
        if isinstance(self.layer_map, str):
            return "more"
        teacher_layer = {teacher_layer for _, teacher_layer in self.pairs_of(ANY_DEPTH, ANY_DEPTH)}
        return "last" if teacher_layer == {ANY_DEPTH.layers} else "more"

    @abstractmethod
    def looked_at(self, layers: frozenset[int]) -> ActivationSpec:
        """What is looked at in these layers of a model."""

    @abstractmethod
    def by_text(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        """The values [texts]; `mask` [texts, tokens] says which tokens there are."""

    def total(self, values: Iterable[Tensor]) -> Tensor:
        """The sum over the pairs, each with a weight of 1."""
        return torch.stack(list(values)).sum(dim=0)

    def forward(
        self,
        outputs: Outputs | HiddenOutputs,
        targets: Targets | None,
        labels: HardLabels,
        insides: PairedActivations | None = None,
    ) -> LossTerms:
        """The terms, before reduction."""
        assert insides is not None, "a loss that looks inside is given what is there"
        # float32 inside: under autocast the products of a projection would be rounded
        with torch.autocast(insides.mask.device.type, enabled=False):
            values = self.by_text(insides.student, insides.teacher, insides.mask)
        return LossTerms({self.term: values[insides.text_index]}, self.weights)


@dataclass(eq=False, repr=False, kw_only=True)
class HiddenLoss(LayeredLoss):
    """Compares hidden states, projected to the teacher's width where it asks for that."""

    term = "hidden"
    lowest = 0

    projection: Projection = "shared"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.projections = nn.ModuleList()

    def bind(self, student: Dimensions, teacher: Dimensions) -> None:
        """Settle the pairs of layers, and make the projections."""
        super().bind(student, teacher)
        if self.projection == "none":
            if student.hidden != teacher.hidden:
                raise ConfigError(
                    f"loss.projection = none: the student's hidden states are {student.hidden} "
                    f"wide and the teacher's {teacher.hidden}; set loss.projection=shared, one "
                    "matrix for all layers, or each"
                )
            return
        count = 1 if self.projection == "shared" else len(self.pairs)
        self.projections = nn.ModuleList(
            projection(student.hidden, teacher.hidden) for _ in range(count)
        )

    def looked_at(self, layers: frozenset[int]) -> ActivationSpec:
        """The hidden states."""
        return ActivationSpec(hidden=layers)

    def compared(
        self, student: Activations, teacher: Activations
    ) -> Iterable[tuple[Tensor, Tensor]]:
        """The hidden states [texts, tokens, hidden] of each pair, the student's projected."""
        for number, (student_layer, teacher_layer) in enumerate(self.pairs):
            yield (
                self.projected(student.hidden[student_layer], number),
                teacher.hidden[teacher_layer],
            )

    def projected(self, hidden: Tensor, number: int) -> Tensor:
        """The student's hidden states of a pair, as wide as the teacher's."""
        if not self.projections:
            return hidden
        shared = len(self.projections) == 1
        projected: Tensor = self.projections[0 if shared else number](at_least_float32(hidden))
        return projected


def projection(width: int, to: int) -> nn.Linear:
    """A new projection as in the official codes of TinyBERT and TextBrewer: N(0, 0.02), bias 0."""
    linear = nn.utils.skip_init(nn.Linear, width, to)
    nn.init.normal_(linear.weight, std=PROJECTION_STD)
    nn.init.zeros_(linear.bias)
    return linear
