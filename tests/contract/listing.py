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
    rules_out: bool = False  # a teacher may rule a class out: its logit is -inf
    task: Any = field(default_factory=Classification)
    classes: int = 3

    def takes(self, setting: str) -> bool:
        """Whether the function has this setting."""
        return setting in inspect.signature(self.function).parameters

    def settings(self) -> Iterator[dict[str, Any]]:
        """Every combination of settings that the function takes, its defaults among them."""
        tried: dict[str, tuple[Any, ...]] = {
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


def log_softmax(logits: Array) -> Array:
    with np.errstate(divide="ignore"):
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def over_classes(values: Array, reduction: str) -> Array:
    return values.sum(axis=-1) if reduction == "batchmean" else values.mean(axis=-1)


def kl(
    student: Array,
    teacher: Array,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: str = "batchmean",
) -> Array:
    log_p, log_q = log_softmax(teacher / temperature), log_softmax(student / temperature)
    p = np.exp(log_p)
    values = np.where(p > 0, p * (np.where(p > 0, log_p, 0) - log_q), 0)
    return over_classes(values, reduction) * (temperature**2 if scale_by_t2 else 1)


def cross_entropy(
    student: Array,
    teacher: Array,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: str = "batchmean",
) -> Array:
    p, log_q = np.exp(log_softmax(teacher / temperature)), log_softmax(student / temperature)
    return over_classes(-p * log_q, reduction) * (temperature**2 if scale_by_t2 else 1)


def squared_error(student: Array, teacher: Array, *, reduction: str = "mean") -> Array:
    return over_classes((student - teacher) ** 2, reduction)


def negative_log_likelihood(student: Array, labels: Array) -> Array:
    return -np.take_along_axis(log_softmax(student), labels[..., None], axis=-1)[..., 0]


LOSSES = (
    Loss(
        name="forward_kl",
        module=losses.ForwardKL,
        function=losses.forward_kl,
        reference=kl,
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
        reference=cross_entropy,
        student=[LOG(16), 0.0],  # (4/5, 1/5) at T = 2
        teacher=[LOG(9), 0.0],  # (3/4, 1/4) at T = 2
        by_hand={"temperature": 2.0, "scale_by_t2": False},
        value=-0.75 * LOG(0.8) - 0.25 * LOG(0.2),
        agreement="minimum",
        rules_out=True,
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


def every(*, where: Callable[[Loss], bool] = lambda loss: True) -> pytest.MarkDecorator:
    """Run a test for every loss of the table, or for those that a property holds for."""
    chosen = [loss for loss in LOSSES if where(loss)]
    return pytest.mark.parametrize("loss", chosen, ids=lambda loss: loss.name)


def soft(loss: Loss) -> bool:
    """Whether it learns from a teacher's logits."""
    return loss.target == "logits"
