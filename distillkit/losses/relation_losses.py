"""The losses on attention and other relations of tokens that a run can choose."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from distillkit.errors import ConfigError
from distillkit.losses.layer_maps import LayerMap
from distillkit.losses.layered import LayeredLoss
from distillkit.losses.relations import relation, relation_kl, relation_mse
from distillkit.setting_types import PositiveInt
from distillkit.types import Activations, ActivationSpec, Dimensions

Vectors = Literal["queries", "keys", "values"]
OF: tuple[Vectors, ...] = ("queries", "keys", "values")


@dataclass(eq=False, repr=False, kw_only=True)
class AttentionLoss(LayeredLoss):
    """Compares the attention scores of layers, head by head.

    They are made again from queries and keys, so that the models' own attention can be any kernel.
    """

    term = "attention"

    def bind(self, student: Dimensions, teacher: Dimensions) -> None:
        """Settle the pairs of layers; heads must be as many in both models."""
        has_attention(student, "student", type(self).__name__)
        has_attention(teacher, "teacher", type(self).__name__)
        for model, owner in ((student, "student"), (teacher, "teacher")):
            if model.rotates or model.keys != model.queries:
                raise ConfigError(
                    f"loss = {type(self).__name__}: the {owner}, a {model.name}, rotates its "
                    "queries and keys or shares keys between heads; choose loss=relations, which "
                    "compares them as they are"
                )
        if student.heads != teacher.heads:
            raise ConfigError(
                f"loss = {type(self).__name__}: the student has {student.heads} attention heads "
                f"and the teacher {teacher.heads}, and they are compared one by one; choose "
                "loss=relations, or a student with as many heads"
            )
        super().bind(student, teacher)

    def looked_at(self, layers: frozenset[int]) -> ActivationSpec:
        """Queries and keys."""
        return ActivationSpec(queries=layers, keys=layers)

    @abstractmethod
    def compare(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """The values [texts] of attention scores [texts, heads, tokens, tokens]."""

    def by_text(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        """Summed over the pairs of layers."""
        values = [
            self.compare(
                relation(
                    student.queries[student_layer], student.keys[student_layer], heads=student.heads
                ),
                relation(
                    teacher.queries[teacher_layer], teacher.keys[teacher_layer], heads=teacher.heads
                ),
                mask,
            )
            for student_layer, teacher_layer in self.pairs
        ]
        return torch.stack(values).sum(dim=0)


@dataclass(eq=False, repr=False, kw_only=True)
class AttentionMSE(AttentionLoss):
    """`relation_mse` of the attention scores before the softmax: TinyBERT's attention loss."""

    def compare(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """Squared scores a text."""
        return relation_mse(student, teacher, mask)


@dataclass(eq=False, repr=False, kw_only=True)
class AttentionKL(AttentionLoss):
    """`relation_kl` of the attention maps, of the last layers unless told otherwise: MiniLM's."""

    usual_layers: ClassVar[LayerMap] = [[-1, -1]]

    def compare(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """Nats a query."""
        return relation_kl(student, teacher, mask)


@dataclass(eq=False, repr=False, kw_only=True)
class Relations(LayeredLoss):
    """`relation_kl` of queries with queries, keys with keys and values with values, summed.

    They are cut into `relation_heads` parts, which may be any number that divides the widths of
    both models. MiniLM v2; with of=[values] and the heads of the models the value relation of
    MiniLM.
    """

    term = "relations"
    usual_layers: ClassVar[LayerMap] = [[-1, -1]]

    relation_heads: PositiveInt = 12
    of: list[Vectors] | None = None  # all three

    def bind(self, student: Dimensions, teacher: Dimensions) -> None:
        """Settle the pairs of layers; the relation heads must divide all widths."""
        for model, owner in ((student, "student"), (teacher, "teacher")):
            has_attention(model, owner, type(self).__name__)
            for width in (model.queries, model.keys):
                if width % self.relation_heads:
                    raise ConfigError(
                        f"loss.relation_heads = {self.relation_heads}: does not divide the "
                        f"{owner}'s {width} channels of queries, keys or values; set a number that "
                        "divides both models'"
                    )
        super().bind(student, teacher)

    def looked_at(self, layers: frozenset[int]) -> ActivationSpec:
        """The vectors that are compared."""
        return ActivationSpec(**dict.fromkeys(self.of or OF, layers))

    def by_text(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        """Nats a token, summed over vectors and pairs of layers."""
        values = []
        for name in self.of or OF:
            for student_layer, teacher_layer in self.pairs:
                of_student, of_teacher = (
                    getattr(student, name)[student_layer],
                    getattr(teacher, name)[teacher_layer],
                )
                values.append(
                    relation_kl(
                        relation(of_student, of_student, heads=self.relation_heads),
                        relation(of_teacher, of_teacher, heads=self.relation_heads),
                        mask,
                    )
                )
        return torch.stack(values).sum(dim=0)


def has_attention(model: Dimensions, owner: str, loss: str) -> None:
    """Raise `ConfigError` for a model that has no attention."""
    if not model.heads:
        raise ConfigError(
            f"loss = {loss}: the {owner}, a {model.name}, has no attention; choose a loss on "
            "logits, or a transformer"
        )
