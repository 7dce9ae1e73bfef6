"""Learning-rate schedules: a step's factor from its number alone, so nothing is to be saved."""

import math
from dataclasses import dataclass
from typing import Protocol

from distillkit.constraints import Fraction, Share
from distillkit.errors import ConfigError


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
        rising, progress = _warm_up(step, steps, self.warmup)
        return min(rising, 1.0 - (1.0 - self.final) * progress)


@dataclass(frozen=True)
class Cosine:
    """Up over the first `warmup` of the run, then half a cosine down to `final`.

    Loshchilov, Hutter 2017, https://arxiv.org/abs/1608.03983, equation 5, one cycle.
    """

    warmup: Fraction = 0.06
    final: Share = 0.0

    def __call__(self, step: int, steps: int) -> float:
        """The factor of this step."""
        rising, progress = _warm_up(step, steps, self.warmup)
        return min(
            rising, self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * progress))
        )


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
        if not self.decay:
            return rising
        left = (steps - step) / max(1.0, self.decay * steps)
        return min(rising, self.final + (1.0 - self.final) * min(1.0, left))


def _warm_up(step: int, steps: int, share: float) -> tuple[float, float]:
    """The rising factor of the warm-up, and the progress in [0, 1] after it."""
    rise = share * steps
    return min(1.0, step / max(1.0, rise)), max(0.0, (step - rise) / max(1.0, steps - rise))
