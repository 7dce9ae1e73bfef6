"""The jobs of a sweep, named by their number and by what they alone are run with."""

import math
from collections.abc import Mapping

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode


def is_job() -> bool:
    """Whether this run is one of a sweep."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def job_title(swept: Mapping[str, int]) -> str:
    """ "job 2 of 4: loss.temperature=2 optimizer.lr=3e-4"; empty outside of a sweep.

    `swept` has the number of choices of each key that is swept; a sweeper that chooses for itself
    says no total.
    """
    if not is_job():
        return ""
    settings = HydraConfig.get()
    number = int(settings.job.num) + 1
    basic = "BasicSweeper" in settings.sweeper["_target_"]
    total = f" of {math.prod(swept.values())}" if basic and swept else ""
    own = [word for word in settings.overrides.task if word.partition("=")[0].lstrip("+") in swept]
    return f"job {number}{total}: {' '.join(own)}".rstrip(": ")
