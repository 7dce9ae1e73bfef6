"""The jobs of a sweep, named by their number and by what they alone are run with."""

import math
from collections.abc import Iterable, Mapping

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from distillkit.artifacts.sweep_records import JobRecord
from distillkit.console import masking


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
    is_basic = "BasicSweeper" in settings.sweeper["_target_"]
    trials = math.prod(swept.values()) if is_basic else settings.sweeper.get("n_trials")
    total = f" of {trials}" if trials and swept else ""
    own = [word for word in settings.overrides.task if word.partition("=")[0].lstrip("+") in swept]
    return f"job {number}{total}: {' '.join(own)}".rstrip(": ")


def record(title: str, names: Iterable[str]) -> JobRecord:
    """This job's record, in which the values of the variables `names` are not."""
    words = [str(word) for word in HydraConfig.get().overrides.task]
    pairs = (word.lstrip("+").partition("=") for word in words)
    overrides = {
        key: masking.masked(value, names)
        for key, _, value in pairs
        if key != "recipe" and key.partition(".")[0] != "workspace"
    }
    return JobRecord(int(HydraConfig.get().job.num), masking.masked(title, names), overrides)
