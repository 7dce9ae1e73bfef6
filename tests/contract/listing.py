"""The losses under contract. A new loss joins here, with a row of the table; no test is written.

A row says what the loss is (its function and its module), what it should be (an independent NumPy
reference in float64, see references.py), one value by hand, and what it does where student and
teacher agree.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distillkit import losses
from distillkit.tasks import Classification, Regression
from tests.contract import references as ref

Array = np.ndarray
LOG = math.log


@dataclass(frozen=True)
class Loss:
    """One loss: `function(student, target, **settings)` gives [batch] values.

    The target is teacher logits, class ids or real values (`target`); `classes` is the width of
    the student's head. Where both agree a divergence is 0, and a cross-entropy has its minimum; a
    loss of the order alone is 0 where the student has the teacher's order, by far.
    """

    name: str
    module: type[nn.Module]
    function: Callable[..., Tensor]
    reference: Callable[..., Array]
    student: list[float]  # by hand: these logits,
    teacher: Any  # this target,
    value: float  # and so this value, at the settings `by_hand`
    by_hand: Mapping[str, Any] = field(default_factory=dict)
    target: Literal["logits", "class", "real"] = "logits"
    agreement: Literal["zero", "minimum", "order"] = "zero"
    rules_out: bool = False  # finite where the teacher rules a class out: its logit is -inf
    order: int = 2  # the gradient falls as T to the power of -order
    labels: bool = False  # function and reference take class ids after the target; -1: not known
    holds: bool = False  # part of it has no gradient: the reference takes that student as `held`
    state: tuple[str, ...] = ()  # settings of the function that the module has as buffers
    from_entries: bool = False  # takes a store of the likeliest entries, though no divergence
    merges: bool = True  # an f-divergence: classes with one ratio p / q may be taken together
    task: Any = field(default_factory=Classification)
    classes: int = 3

    def takes(self, setting: str) -> bool:
        """Whether the function has this setting."""
        return setting in inspect.signature(self.function).parameters

    @property
    def is_divergence(self) -> bool:
        """Whether it compares two softmaxes, and so takes a few entries of one of them."""
        return "rest" in inspect.signature(self.module).parameters

    def settings(self) -> Iterator[dict[str, Any]]:
        """Every combination of settings that the function takes, its defaults among them."""
        tried: dict[str, tuple[Any, ...]] = {
            "alpha": (0.2, 0.9),
            "head_mass": (0.5, 0.9),
            "t": (0.5, 1.0),
            "top": (10, 2),
            "beta": (0.5, 0.1, 0.9),
            "skew": (0.1, 0.6),
            "temperature": (1.0, 0.5, 4.0),
            "scale_by_t2": (True, False),
            "reduction": ("batchmean", "mean"),
        }
        names = [name for name in tried if self.takes(name)]
        for values in product(*(tried[name] for name in names)):
            yield dict(zip(names, values, strict=True))

    def values(
        self, student: Tensor, target: Tensor, *, labels: Tensor | None = None, **settings: Any
    ) -> Tensor:
        """What the function gives; of a loss that takes labels, every class in turn and none."""
        return self.function(student, target, *self._labels(student, labels), **settings)

    def expected(self, student: Tensor, target: Tensor, **settings: Any) -> Tensor:
        """What the reference gives."""
        ids = [labels.numpy() for labels in self._labels(student, None)]
        return torch.from_numpy(self.reference(student.numpy(), target.numpy(), *ids, **settings))

    def _labels(self, student: Tensor, labels: Tensor | None) -> list[Tensor]:
        if not self.labels:
            return []
        shape = student.shape[:-1]
        in_turn = torch.arange(shape.numel()).reshape(shape) % (self.classes + 1) - 1
        return [in_turn if labels is None else labels]

    def make(self, **settings: Any) -> nn.Module:
        """The module, its state set."""
        module = self.module(**{k: v for k, v in settings.items() if k not in self.state})
        for name in self.state:
            if name in settings:
                getattr(module, name).fill_(settings[name])
        return module

    def agreeing_pair(self, student: Tensor) -> tuple[Tensor, Tensor]:
        """Student logits and a target that they agree with wholly."""
        if self.target == "class":
            sure = 1e4 * nn.functional.one_hot(student.argmax(-1), self.classes)
            return sure.to(student.dtype), student.argmax(-1)
        if self.agreement == "order":
            return 1e4 * student, student
        return student, student.squeeze(-1) if self.target == "real" else student.clone()

    def random(
        self, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64
    ) -> tuple[Tensor, Tensor]:
        """Student logits [*shape, classes] and a target for them."""
        rng = np.random.default_rng(seed)
        student = rng.normal(scale=2.0, size=(*shape, self.classes))
        teacher: Array = rng.normal(scale=2.0, size=student.shape)
        if self.target == "class":
            teacher = rng.integers(0, self.classes, shape)
        elif self.target == "real":
            teacher = teacher[..., 0]
        target = torch.from_numpy(np.asarray(teacher))
        return torch.from_numpy(student).to(dtype), target.to(
            dtype if target.is_floating_point() else torch.int64
        )


LOSSES = (
    Loss(
        name="forward_kl",
        module=losses.ForwardKL,
        function=losses.forward_kl,
        reference=ref.of_softmax(ref.log_ratio),
        student=[0.0, 0.0],  # (1/2, 1/2)
        teacher=[LOG(9), 0.0],  # (9/10, 1/10), and (3/4, 1/4) at T = 2
        by_hand={"temperature": 2.0},
        value=4 * (0.75 * LOG(1.5) + 0.25 * LOG(0.5)),
        rules_out=True,
    ),
    Loss(
        name="soft_cross_entropy",
        module=losses.SoftCrossEntropy,
        function=losses.soft_cross_entropy,
        reference=ref.of_softmax(ref.cross_entropy),
        student=[LOG(16), 0.0],  # (4/5, 1/5) at T = 2
        teacher=[LOG(9), 0.0],  # (3/4, 1/4) at T = 2
        by_hand={"temperature": 2.0, "scale_by_t2": False},
        value=-0.75 * LOG(0.8) - 0.25 * LOG(0.2),
        agreement="minimum",
        rules_out=True,
    ),
    Loss(
        name="reverse_kl",
        module=losses.ReverseKL,
        function=losses.reverse_kl,
        reference=ref.of_softmax(lambda p, q: ref.log_ratio(q, p)),
        student=[0.0, 0.0],  # (1/2, 1/2)
        teacher=[LOG(9), 0.0],  # (3/4, 1/4) at T = 2
        by_hand={"temperature": 2.0},
        value=4 * (0.5 * LOG(2 / 3) + 0.5 * LOG(2)),
    ),
    Loss(
        name="jsd",
        module=losses.JSD,
        function=losses.jsd,
        reference=ref.of_softmax(ref.jensen_shannon),
        student=[LOG(3), 0.0],  # (3/4, 1/4)
        teacher=[0.0, LOG(3)],  # (1/4, 3/4), and m = (5/8, 3/8)
        by_hand={"beta": 0.25},
        value=0.25 * (0.25 * LOG(2 / 5) + 0.75 * LOG(2))
        + 0.75 * (0.75 * LOG(6 / 5) + 0.25 * LOG(2 / 3)),
        rules_out=True,
    ),
    Loss(
        name="skew_kl",
        module=losses.SkewKL,
        function=losses.skew_kl,
        reference=ref.of_softmax(ref.skewed),
        student=[0.0, LOG(3)],  # (1/4, 3/4)
        teacher=[LOG(3), 0.0],  # (3/4, 1/4), and the mixture is (3/8, 5/8)
        by_hand={"skew": 0.25},
        value=0.75 * LOG(2) + 0.25 * LOG(2 / 5),
        rules_out=True,
    ),
    Loss(
        name="skew_reverse_kl",
        module=losses.SkewReverseKL,
        function=losses.skew_reverse_kl,
        reference=ref.of_softmax(lambda p, q, skew=0.1: ref.skewed(q, p, skew)),
        student=[0.0, LOG(3)],  # (1/4, 3/4)
        teacher=[LOG(3), 0.0],  # (3/4, 1/4), and the mixture is (5/8, 3/8)
        by_hand={"skew": 0.25},
        value=0.25 * LOG(2 / 5) + 0.75 * LOG(2),
        rules_out=True,
    ),
    Loss(
        name="total_variation",
        module=losses.TotalVariation,
        function=losses.total_variation,
        reference=ref.of_softmax(lambda p, q: np.abs(np.exp(p) - np.exp(q)) / 2),
        student=[0.0, LOG(3)],  # (1/4, 3/4)
        teacher=[LOG(4), 0.0],  # (4/5, 1/5)
        value=0.55,
        rules_out=True,
        order=1,
    ),
    Loss(
        name="alpha_beta",
        module=losses.AlphaBeta,
        function=losses.alpha_beta,
        reference=ref.of_softmax(ref.alpha_beta),
        student=[0.0, LOG(3)],  # (1/4, 3/4)
        teacher=[0.0, LOG(15)],  # (1/16, 15/16)
        by_hand={"alpha": 0.5, "beta": 0.5},
        value=4 * (1 - 0.125 - math.sqrt(45) / 8),
        rules_out=True,
        merges=False,
    ),
    Loss(
        name="dkd",
        module=losses.DKD,
        function=losses.dkd,
        reference=ref.decoupled,
        student=[0.0, 0.0, LOG(2)],  # (1/4, 1/4, 1/2)
        teacher=[LOG(5), LOG(3), LOG(2)],  # (1/2, 3/10, 1/5); the first is the target
        by_hand={"alpha": 1.0, "beta": 2.0},
        value=0.5 * LOG(2) + 0.5 * LOG(2 / 3) + 2 * (0.6 * LOG(9 / 5) + 0.4 * LOG(3 / 5)),
        labels=True,
        rules_out=True,
    ),
    Loss(
        name="akl",
        module=losses.AKL,
        function=losses.akl,
        reference=ref.adaptive,
        student=[0.0, 0.0, LOG(2)],  # (1/4, 1/4, 1/2)
        teacher=[LOG(5), LOG(3), LOG(2)],  # (1/2, 3/10, 1/5): the head is the first alone
        by_hand={"head_mass": 0.6},
        value=(5 / 12) * (0.5 * LOG(2) + 0.3 * LOG(6 / 5) + 0.2 * LOG(2 / 5))
        + (7 / 12) * (0.25 * LOG(1 / 2) + 0.25 * LOG(5 / 6) + 0.5 * LOG(5 / 2)),
        holds=True,
    ),
    Loss(
        name="taid",
        module=losses.TAID,
        function=losses.taid,
        reference=ref.interpolated,
        student=[0.0, 0.0],  # (1/2, 1/2)
        teacher=[LOG(9), 0.0],  # (9/10, 1/10), and (3/4, 1/4) half-way
        by_hand={"t": 0.5},
        value=0.75 * LOG(1.5) + 0.25 * LOG(0.5),
        rules_out=True,
        holds=True,
        state=("t",),
    ),
    Loss(
        name="standardised_kl",
        module=losses.StandardisedKL,
        function=losses.standardised_kl,
        reference=ref.standardised,
        student=[-7.0, 0.0, 7.0],  # z-scores -1, 0, 1
        teacher=[5.0, 3.0, 1.0],  # z-scores 1, 0, -1
        value=2 * (math.e - 1 / math.e) / (math.e + 1 + 1 / math.e),
    ),
    Loss(
        name="rank_net",
        module=losses.RankNet,
        function=losses.rank_net,
        reference=ref.of_pairs,
        student=[0.0, 0.0, 0.0],  # either order of each pair: (1/2, 1/2)
        teacher=[LOG(9), 0.0, LOG(9)],  # (9/10, 1/10) twice, (1/2, 1/2) once
        value=2 * (0.9 * LOG(1.8) + 0.1 * LOG(0.2)),
        from_entries=True,
    ),
    Loss(
        name="list_mle",
        module=losses.ListMLE,
        function=losses.list_mle,
        reference=ref.of_order,
        student=[LOG(2), LOG(5), LOG(3)],  # the order 0, 2, 1: 2 of 10, 3 of 8, 5 of 5
        teacher=[9.0, 1.0, 2.0],
        value=-LOG(2 / 10) - LOG(3 / 8),
        agreement="order",
        from_entries=True,
    ),
    Loss(
        name="logit_mse",
        module=losses.LogitMSE,
        function=losses.logit_mse,
        reference=ref.squared_error,
        student=[1.0, 2.0],
        teacher=[0.0, 5.0],
        value=5.0,
    ),
    Loss(
        name="bernoulli_kl",
        module=losses.BernoulliKL,
        function=losses.bernoulli_kl,
        reference=ref.of_sides,
        student=[0.0, LOG(4)],  # 1/2, and 2/3 at T = 2
        teacher=[LOG(9), 0.0],  # 3/4, and 1/2 at T = 2
        by_hand={"temperature": 2.0, "reduction": "batchmean"},
        value=4 * (0.75 * LOG(3 / 2) + 0.25 * LOG(1 / 2) + 0.5 * LOG(3 / 4) + 0.5 * LOG(3 / 2)),
        rules_out=True,
    ),
    Loss(
        name="hard_labels",
        module=losses.HardLabelLoss,
        function=Classification.per_example,
        reference=ref.negative_log_likelihood,
        student=[LOG(3), 0.0],  # (3/4, 1/4)
        teacher=1,
        value=LOG(4),
        target="class",
    ),
    Loss(
        name="hard_values",
        module=losses.HardLabelLoss,
        function=Regression.per_example,
        reference=lambda student, values: (student[..., 0] - values) ** 2,
        student=[1.5],
        teacher=-0.5,
        value=4.0,
        target="real",
        task=Regression(),
        classes=1,
    ),
)

NAMES = {loss.name: loss for loss in LOSSES}


def each_setting(*, where: Callable[[Loss], bool] = lambda loss: True) -> list[Any]:
    """(loss, settings) of every loss and combination of settings, as pytest's parameters.

    What differs from the first combination in more than one setting runs with `-m slow`.
    """
    found = []
    for loss in filter(where, LOSSES):
        first: dict[str, Any] = {}
        for settings in loss.settings():
            first = first or settings
            changes = sum(value != first[name] for name, value in settings.items())
            marks = [pytest.mark.slow] if changes > 1 else []
            name = "-".join([loss.name, *map(str, settings.values())])
            found.append(pytest.param(loss, settings, id=name, marks=marks))
    return found


def every(*, where: Callable[[Loss], bool] = lambda loss: True) -> pytest.MarkDecorator:
    """Run a test for every loss of the table, or for those that a property holds for."""
    chosen = [loss for loss in LOSSES if where(loss)]
    return pytest.mark.parametrize("loss", chosen, ids=lambda loss: loss.name)


def soft(loss: Loss) -> bool:
    """Whether it learns from a teacher's logits."""
    return loss.target == "logits"


def divergence(loss: Loss) -> bool:
    """Whether it compares two softmaxes."""
    return loss.is_divergence
