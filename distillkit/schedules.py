"""Schedules: values of a loss that change while a student learns, and learning rates.

A `Schedule` is a function of the progress of training: 0 before the first optimizer step, and just
short of 1 before the last. Where a number of a loss may stand, a schedule may:

    loss.hard_weight={_target_:distillkit.schedules.Linear,start:1.0,end:0.2}

A `LearningRateSchedule` (the names that end in LR, as in torch.optim) gives the factor of a step
from its number alone, so nothing is to be saved.

The warm-up takes W = ceil(warmup * N) of the N steps, as in the Trainer of transformers, but never
all of them. Steps are counted from 1. A factor rises from 0 at the step before the first to 1 at
step W + 1, and what falls gets to `final` at the step after the last: no step is taken at a rate of
0, neither the first nor the last.

From step W + 1 on the factors are those that LambdaLR gives to the same step with
`get_linear_schedule_with_warmup`, `get_cosine_schedule_with_warmup`, `get_wsd_schedule`
(decay_type="linear") and `get_constant_schedule_with_warmup` of transformers. Those begin a
warm-up at 0, so that its first step does nothing: there step k of it has (k - 1) / W, here
k / (W + 1).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

from distillkit.errors import ConfigError
from distillkit.setting_types import Finite, Fraction, NonNegative, Positive, Share

ROUNDING = 1e-9  # 0.07 * 100 is 7.000000000000001, and 7 steps are meant


class Schedule(ABC):
    """progress in [0, 1) -> a value."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """The value."""

    @property
    @abstractmethod
    def span(self) -> tuple[float, float]:
        """Bounds of its values, the least and the greatest."""

    @property
    def is_constant(self) -> bool:
        """Whether it never changes."""
        lowest, greatest = self.span
        return lowest == greatest


Weight = NonNegative | Schedule
Temperature = Positive | Schedule


@dataclass(frozen=True)
class Constant(Schedule):
    """The same all along: what a number is."""

    value: Finite

    def __call__(self, progress: float) -> float:
        """The value."""
        return self.value

    @property
    def span(self) -> tuple[float, float]:
        """Only the value."""
        return self.value, self.value


@dataclass(frozen=True)
class Linear(Schedule):
    """Straight from `start` to `end`."""

    start: Finite
    end: Finite

    def __call__(self, progress: float) -> float:
        """The value."""
        return _between(self.start, self.end, progress)

    @property
    def span(self) -> tuple[float, float]:
        """From one end to the other."""
        return min(self.start, self.end), max(self.start, self.end)


@dataclass(frozen=True)
class Cosine(Linear):
    """Half a cosine from `start` to `end`: slow at both ends.

    Loshchilov, Hutter 2017, https://arxiv.org/abs/1608.03983, equation 5, one cycle.
    """

    def __call__(self, progress: float) -> float:
        """The value."""
        return _between(self.start, self.end, 0.5 * (1.0 - math.cos(math.pi * progress)))


@dataclass(frozen=True)
class WSD(Schedule):
    """Warm-up, stable, decay: from `start` straight to `peak`, level, then straight to `end`.

    Hu et al. 2024, https://arxiv.org/abs/2404.06395, section 4, whose schedule is of the learning
    rate. `warmup` and `decay` are shares of the run.
    """

    peak: Finite
    start: Finite = 0.0
    end: Finite = 0.0
    warmup: Share = 0.06
    decay: Share = 0.2

    def __post_init__(self) -> None:
        if self.warmup + self.decay > 1:
            raise ConfigError(
                f"loss: a WSD schedule with warmup + decay = {self.warmup + self.decay:g}: more "
                "than the whole run"
            )

    def __call__(self, progress: float) -> float:
        """The value."""
        if progress < self.warmup:
            return _between(self.start, self.peak, progress / self.warmup)
        remaining = 1.0 - progress
        return (
            _between(self.end, self.peak, remaining / self.decay)
            if remaining < self.decay
            else self.peak
        )

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest of its three values."""
        values = (self.start, self.peak, self.end)
        return min(values), max(values)


def scheduled(key: str, value: Any, *, positive: bool = False) -> Schedule:
    """The schedule that a setting of a loss stands for.

    Raises `ConfigError` for what is neither a number nor a schedule, or gets negative (with
    `positive`: or 0).
    """
    if not isinstance(value, Schedule):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(
                f"loss.{key} = {value}: must be a number, or a schedule out of distillkit.schedules"
            )
        value = Constant(float(value))
    lowest = value.span[0]
    if lowest < 0 or (positive and lowest == 0):
        bound = "greater than 0" if positive else "0 or more"
        raise ConfigError(f"loss.{key}: gets as low as {lowest:g}; it must be {bound} all along")
    return value


class LearningRateSchedule(Protocol):
    """(step, steps) -> the factor on the learning rate of step 1 … steps."""

    def __call__(self, step: int, steps: int) -> float:
        """The factor, in [0, 1]."""
        ...


@dataclass(frozen=True)
class LinearLR:
    """Up over the first `warmup` of the run, then straight down to `final`."""

    warmup: Fraction = 0.06
    final: Share = 0.0

    def __call__(self, step: int, steps: int) -> float:
        """The factor of this step."""
        rising, remaining = _warm_up(step, steps, self.warmup)
        return min(rising, self.final + (1.0 - self.final) * remaining)


@dataclass(frozen=True)
class CosineLR:
    """Up over the first `warmup` of the run, then half a cosine down to `final`.

    Loshchilov, Hutter 2017, https://arxiv.org/abs/1608.03983, equation 5, one cycle.
    """

    warmup: Fraction = 0.06
    final: Share = 0.0

    def __call__(self, step: int, steps: int) -> float:
        """The factor of this step."""
        rising, remaining = _warm_up(step, steps, self.warmup)
        # (1 + cos(pi (1 - r))) / 2, which has no digits left where r is small
        falling = math.sin(0.5 * math.pi * remaining) ** 2
        return min(rising, self.final + (1.0 - self.final) * falling)


@dataclass(frozen=True)
class ConstantLR:
    """Up over the first `warmup` of the run, then level."""

    warmup: Fraction = 0.06

    def __call__(self, step: int, steps: int) -> float:
        """The factor of this step."""
        return _warm_up(step, steps, self.warmup)[0]


@dataclass(frozen=True)
class WSDLR:
    """Warm-up, stable, decay: level, then straight down to `final` over the last `decay`.

    Hu et al. 2024, https://arxiv.org/abs/2404.06395, section 4.
    """

    warmup: Fraction = 0.06
    decay: Share = 0.2
    final: Share = 0.0

    def __post_init__(self) -> None:
        if self.warmup + self.decay > 1:
            raise ConfigError(
                f"scheduler.warmup + scheduler.decay = {self.warmup + self.decay}: more than the "
                "whole run"
            )

    def __call__(self, step: int, steps: int) -> float:
        """The factor of this step."""
        rising = _warm_up(step, steps, self.warmup)[0]
        falls = min(_whole(self.decay, steps), steps - _warm_up_steps(self.warmup, steps))
        if not falls:
            return rising
        remaining = min(1.0, (steps - step + 1) / falls)
        return min(rising, self.final + (1.0 - self.final) * remaining)


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _warm_up(step: int, steps: int, share: float) -> tuple[float, float]:
    """The rising factor, and how much of what follows the warm-up remains, in (0, 1]."""
    rise = _warm_up_steps(share, steps)
    return min(1.0, step / (rise + 1)), min(1.0, (steps - step + 1) / (steps - rise))


def _warm_up_steps(share: float, steps: int) -> int:
    """W: at least one step is left for the peak."""
    return min(_whole(share, steps), steps - 1)


def _whole(share: float, steps: int) -> int:
    """A share of the steps, rounded up."""
    return math.ceil(share * steps - ROUNDING)
