"""Learning-rate schedules: a step's factor from its number alone, so nothing is to be saved.

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
from dataclasses import dataclass
from typing import Protocol

from distillkit.errors import ConfigError
from distillkit.setting_types import Fraction, Share

ROUNDING = 1e-9  # 0.07 * 100 is 7.000000000000001, and 7 steps are meant


class Schedule(Protocol):
    """(step, steps) -> the factor on the learning rate of step 1 … steps."""

    def __call__(self, step: int, steps: int) -> float:
        """The factor, in [0, 1]."""
        ...


@dataclass(frozen=True)
class Linear:
    """Up over the first `warmup` of the run, then straight down to `final`."""

    warmup: Fraction = 0.06
    final: Share = 0.0

    def __call__(self, step: int, steps: int) -> float:
        """The factor of this step."""
        rising, remaining = _warm_up(step, steps, self.warmup)
        return min(rising, self.final + (1.0 - self.final) * remaining)


@dataclass(frozen=True)
class Cosine:
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
class Constant:
    """Up over the first `warmup` of the run, then level."""

    warmup: Fraction = 0.06

    def __call__(self, step: int, steps: int) -> float:
        """The factor of this step."""
        return _warm_up(step, steps, self.warmup)[0]


@dataclass(frozen=True)
class WSD:
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
