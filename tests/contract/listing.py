"""The losses under contract. A new loss joins here, with a row of the table; no test is written.

A row says what the loss is (its function and its module), what it should be (an independent NumPy
reference in float64), one value by hand, and what it does where student and teacher agree.
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

Array = np.ndarray
LOG = math.log


@dataclass(frozen=True)
class Loss:
    """One loss: `function(student, target, **settings)` gives [batch] values.

    The target is teacher logits, class ids or real values (`target`); `classes` is the width of
    the student's head. Where both agree a divergence is 0, and a cross-entropy has its minimum.
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
    agreement: Literal["zero", "minimum"] = "zero"
    rules_out: bool = False  # finite where the teacher rules a class out: its logit is -inf
    order: int = 2  # the gradient falls as T to the power of -order
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
            "beta": (0.5, 0.1, 0.9),
            "skew": (0.1, 0.6),
            "temperature": (1.0, 0.5, 4.0),
            "scale_by_t2": (True, False),
            "reduction": ("batchmean", "mean"),
        }
        names = [name for name in tried if self.takes(name)]
        for values in product(*(tried[name] for name in names)):
            yield dict(zip(names, values, strict=True))

    def agreed(self, student: Tensor) -> tuple[Tensor, Tensor]:
        """Student logits and a target that they agree with wholly."""
        if self.target == "class":
            sure = 1e4 * nn.functional.one_hot(student.argmax(-1), self.classes)
            return sure.to(student.dtype), student.argmax(-1)
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


def softmax(logits: Array) -> Array:
    weights: Array = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def over_classes(values: Array, reduction: str) -> Array:
    return values.sum(axis=-1) if reduction == "batchmean" else values.mean(axis=-1)


def of_softmax(by_class: Callable[..., Array]) -> Callable[..., Array]:
    """A divergence of the student's softmax q and the teacher's p, from its terms of (p, q)."""

    def reference(
        student: Array,
        teacher: Array,
        *,
        temperature: float = 1.0,
        scale_by_t2: bool = True,
        reduction: str = "batchmean",
        **own: float,
    ) -> Array:
        p, q = softmax(teacher / temperature), softmax(student / temperature)
        values = over_classes(by_class(p, q, **own), reduction)
        return values * (temperature**2 if scale_by_t2 else 1)

    return reference


def log_ratio(p: Array, q: Array) -> Array:
    """p log(p / q), 0 where p is."""
    with np.errstate(divide="ignore"):
        return p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, q, 1))


def cross_entropy(p: Array, q: Array) -> Array:
    return -p * np.log(q)


def jensen_shannon(p: Array, q: Array, beta: float = 0.5) -> Array:
    m = beta * p + (1 - beta) * q
    return beta * log_ratio(p, m) + (1 - beta) * log_ratio(q, m)


def skewed(p: Array, q: Array, skew: float = 0.1) -> Array:
    return log_ratio(p, skew * p + (1 - skew) * q)


def of_sides(
    student: Array,
    teacher: Array,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: str = "mean",
) -> Array:
    """KL of each label that holds or not by itself."""
    p, q = (1 / (1 + np.exp(-logits / temperature)) for logits in (teacher, student))
    values = over_classes(log_ratio(p, q) + log_ratio(1 - p, 1 - q), reduction)
    return values * (temperature**2 if scale_by_t2 else 1)


def squared_error(student: Array, teacher: Array, *, reduction: str = "mean") -> Array:
    return over_classes((student - teacher) ** 2, reduction)


def negative_log_likelihood(student: Array, labels: Array) -> Array:
    return -np.log(np.take_along_axis(softmax(student), labels[..., None], axis=-1)[..., 0])


LOSSES = (
    Loss(
        name="forward_kl",
        module=losses.ForwardKL,
        function=losses.forward_kl,
        reference=of_softmax(log_ratio),
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
        reference=of_softmax(cross_entropy),
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
        reference=of_softmax(lambda p, q: log_ratio(q, p)),
        student=[0.0, 0.0],  # (1/2, 1/2)
        teacher=[LOG(9), 0.0],  # (3/4, 1/4) at T = 2
        by_hand={"temperature": 2.0},
        value=4 * (0.5 * LOG(2 / 3) + 0.5 * LOG(2)),
    ),
    Loss(
        name="jsd",
        module=losses.JSD,
        function=losses.jsd,
        reference=of_softmax(jensen_shannon),
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
        reference=of_softmax(skewed),
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
        reference=of_softmax(lambda p, q, skew=0.1: skewed(q, p, skew)),
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
        reference=of_softmax(lambda p, q: np.abs(p - q) / 2),
        student=[0.0, LOG(3)],  # (1/4, 3/4)
        teacher=[LOG(4), 0.0],  # (4/5, 1/5)
        value=0.55,
        rules_out=True,
        order=1,
    ),
    Loss(
        name="logit_mse",
        module=losses.LogitMSE,
        function=losses.logit_mse,
        reference=squared_error,
        student=[1.0, 2.0],
        teacher=[0.0, 5.0],
        value=5.0,
    ),
    Loss(
        name="bernoulli_kl",
        module=losses.BernoulliKL,
        function=losses.bernoulli_kl,
        reference=of_sides,
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
        reference=negative_log_likelihood,
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
