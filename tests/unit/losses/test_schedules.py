"""Weights and temperatures that change while a student learns."""

import itertools
from typing import Any

import pytest

from distillkit.errors import ConfigError
from distillkit.losses import ForwardKL
from distillkit.schedules import WSD, Constant, Cosine, Linear, Schedule, scheduled

ALONG = [step / 100 for step in range(100)]
EVERY = [
    Constant(0.5),
    Linear(4.0, 1.0),
    Cosine(0.2, 0.9),
    WSD(1.0, start=0.1, end=0.3),
    WSD(0.2, start=1.0, end=0.5, warmup=0.0, decay=1.0),
    WSD(2.0, warmup=1.0, decay=0.0),
]
each = pytest.mark.parametrize("schedule", EVERY, ids=repr)


@pytest.mark.parametrize(
    ("schedule", "progress", "value"),
    [
        (Constant(3.0), 0.7, 3.0),
        (Linear(1.0, 0.2), 0.0, 1.0),
        (Linear(1.0, 0.2), 0.25, 0.8),
        (Linear(1.0, 0.2), 1.0, 0.2),
        (Cosine(1.0, 0.0), 0.0, 1.0),
        (Cosine(1.0, 0.0), 0.5, 0.5),
        (Cosine(1.0, 0.0), 1 / 3, 0.75),
        (WSD(2.0, warmup=0.1, decay=0.2), 0.0, 0.0),
        (WSD(2.0, warmup=0.1, decay=0.2), 0.05, 1.0),
        (WSD(2.0, warmup=0.1, decay=0.2), 0.5, 2.0),
        (WSD(2.0, end=1.0, warmup=0.1, decay=0.2), 0.9, 1.5),
    ],
)
def test_values_by_hand(schedule: Schedule, progress: float, value: float) -> None:
    assert schedule(progress) == pytest.approx(value)


@each
def test_a_schedule_keeps_to_its_span_and_does_not_jump(schedule: Schedule) -> None:
    least, greatest = schedule.span
    values = [schedule(progress) for progress in ALONG]
    assert all(least - 1e-12 <= value <= greatest + 1e-12 for value in values)
    jumps = [abs(b - a) for a, b in itertools.pairwise(values)]
    assert max(jumps) <= 0.2 * (greatest - least) + 1e-12
    assert schedule.is_constant is (max(values) == min(values))


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("warm", r"loss\.temperature = warm: must be a number, or a schedule"),
        (True, "must be a number, or a schedule"),
        (ForwardKL(), "must be a number, or a schedule"),
        (Linear(1.0, 0.0), r"loss\.temperature: gets as low as 0; it must be greater than 0"),
        (Constant(-1.0), "gets as low as -1"),
    ],
)
def test_what_cannot_be_a_temperature_is_refused(value: Any, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        ForwardKL(temperature=value)


def test_a_weight_may_go_down_to_0_and_no_lower() -> None:
    assert scheduled("hard_weight", Linear(1.0, 0.0)).span == (0.0, 1.0)
    with pytest.raises(ConfigError, match=r"loss\.hard_weight: gets as low as -0\.1; .* 0 or more"):
        ForwardKL(hard_weight=Linear(1.0, -0.1))


def test_shares_of_more_than_the_run_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"warmup \+ decay = 1\.1"):
        WSD(1.0, warmup=0.6, decay=0.5)


def test_weights_and_temperature_follow_the_progress_of_training() -> None:
    loss = ForwardKL(temperature=Linear(4.0, 1.0), hard_weight=Cosine(1.0, 0.0))
    assert (loss.current_temperature, loss.weights) == (4.0, {"soft": 1.0, "hard": 1.0})
    loss.on_step_begin(0.5)
    assert loss.current_temperature == 2.5
    assert loss.weights == pytest.approx({"soft": 1.0, "hard": 0.5})


def test_a_weight_that_gets_to_0_keeps_its_term() -> None:
    loss = ForwardKL(hard_weight=Linear(0.0, 1.0))
    assert loss.weights == {"soft": 1.0, "hard": 0.0}
    assert ForwardKL(hard_weight=Constant(0.0)).weights == {"soft": 1.0}
