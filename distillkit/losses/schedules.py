"""Weights and temperatures that change while a student learns.

A schedule is a function of the progress of training: 0 before the first optimizer step, and just
short of 1 before the last. Where a number may stand, a schedule may:

    loss.hard_weight={_target_:distillkit.losses.schedules.Linear,start:1.0,end:0.2}
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from distillkit.errors import ConfigError
from distillkit.setting_types import NonNegative, Positive, Share


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
        least, greatest = self.span
        return least == greatest


Weight = NonNegative | Schedule
Temperature = Positive | Schedule


@dataclass(frozen=True)
class Constant(Schedule):
    """The same all along: what a number is."""

    value: float

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

    start: float
    end: float

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

    peak: float
    start: float = 0.0
    end: float = 0.0
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
        left = 1.0 - progress
        return _between(self.end, self.peak, left / self.decay) if left < self.decay else self.peak

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
                f"loss.{key} = {value}: must be a number, or a schedule out of "
                "distillkit.losses.schedules"
            )
        value = Constant(float(value))
    least = value.span[0]
    if least < 0 or (positive and least == 0):
        bound = "greater than 0" if positive else "0 or more"
        raise ConfigError(f"loss.{key}: gets as low as {least:g}; it must be {bound} all along")
    return value


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share
