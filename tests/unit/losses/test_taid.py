"""How TAID's interpolation moves: the part of the loss that is not a function of logits."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from distillkit.errors import ConfigError
from distillkit.losses import TAID, Mixture
from distillkit.losses.loss import HardLabelLoss
from distillkit.tasks import Classification
from distillkit.types import Batch, HardLabels, LossTerms, Outputs, SoftTargets
from tests.unit.training import toy
from tests.unit.training.toy import assert_bits, net, train, weights


def by_the_paper(losses: list[float], *, start: float, end: float, rate: float) -> list[float]:
    """t before each step of algorithm 1, and after the last one."""
    t, momentum, previous, found = start, 0.0, None, []
    for step, loss in enumerate([*losses, math.nan]):
        t = min(end, max(t, start + (end - start) * step / len(losses)))
        found.append(t)
        if previous is not None:
            momentum = 0.9 * momentum + 0.1 * (previous - loss) / previous
            t += rate / (1 + math.exp(-momentum)) * (1 - t)
        previous = loss
    return found


@pytest.mark.parametrize("rate", [0.0, 0.05, 1.0])
def test_t_follows_the_algorithm(rate: float) -> None:
    losses = [3.0, 1.0, 2.0, 0.5, 0.4, 0.4, 0.1, 0.09]
    loss = TAID(start=0.2, end=0.9, rate=rate, momentum=0.9)
    found = []
    for step, value in enumerate(losses):
        loss.on_step_begin(step / len(losses))
        found.append(float(loss.t))
        loss.on_step_end({"loss": 9.0, "soft": value})
    assert found == pytest.approx(
        by_the_paper(losses, start=0.2, end=0.9, rate=rate)[:-1], rel=1e-5
    )
    assert found == sorted(found)


def test_a_step_without_a_loss_says_nothing_of_how_fast_it_falls() -> None:
    """At start 0 the first loss is 0; what the second is of it is no number."""
    taid = TAID(start=0.0, rate=0.5, momentum=0.5)
    taid.on_step_begin(0.0)
    taid.on_step_end({"soft": 0.0})
    taid.on_step_begin(0.1)
    taid.on_step_end({"soft": 2.0})
    assert float(taid.t) == pytest.approx(0.1) and float(taid.decrease) == 0.0
    taid.on_step_end({"soft": 1.0})
    assert float(taid.decrease) == pytest.approx(0.25)
    assert float(taid.t) == pytest.approx(0.1 + 0.5 * 0.9 / (1 + math.exp(-0.25)))


def test_a_start_beyond_the_end_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss\.start = 0\.8: above loss\.end = 0\.5"):
        TAID(start=0.8, end=0.5)


class Objective(toy.Objective):
    """The toy's points, taught by fixed logits."""

    def __init__(self) -> None:
        super().__init__()
        taid = TAID(rate=0.3, momentum=0.5)
        self.loss = Mixture({"taid": taid, "hard": HardLabelLoss()}, {"taid": 1.0, "hard": 0.5})
        self.taid = taid

    def forward(self, model: nn.Module, batch: Batch) -> LossTerms:
        logits = model(batch.inputs["x"])
        taught = SoftTargets(2.0 * nn.functional.one_hot(batch.labels, 2).float())
        labels = HardLabels(batch.labels, batch.label_mask, Classification.per_example)
        terms: LossTerms = self.loss(Outputs(logits), taught, labels)
        return terms

    def on_step_begin(self, progress: float) -> None:
        self.loss.on_step_begin(progress)

    def on_step_end(self, shares: Any) -> None:
        self.loss.on_step_end(shares)


class Killed(BaseException):
    """As SIGKILL would."""


class Dying(Objective):
    """Killed before a step."""

    def on_step_begin(self, progress: float) -> None:
        if progress >= 0.6:
            raise Killed
        super().on_step_begin(progress)


def test_a_killed_run_goes_on_from_the_same_t(tmp_path: Path) -> None:
    whole, model = Objective(), net()
    train(tmp_path / "whole", model, objective=whole)
    with pytest.raises(Killed):
        train(tmp_path / "cut", net(), objective=Dying())
    resumed, again = Objective(), net()
    train(tmp_path / "cut", again, objective=resumed)
    assert_bits(weights(again), weights(model))
    assert_bits(weights(resumed), weights(whole))
    line = 0.4 + 0.6 * 11 / 12
    assert float(whole.taid.t) > line  # it went ahead of it: what was resumed is not the line
    assert torch.isfinite(whole.taid.previous)
