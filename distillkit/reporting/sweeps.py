"""What a sweep says as a whole: runs of several seeds as one, the effect of each key, the front."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from distillkit.artifacts.sweep_records import SweepState
from distillkit.reporting.leaderboard import Run
from distillkit.reporting.svg import pareto
from distillkit.reporting.sweep_choice import chosen

SEED = "seed"
SCHEMA = 1  # of sweep.json
COSTS = ("megabytes", "parameters", "latency_p50_ms")


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of some values, their standard deviation, and the t-interval of the mean.

    Of one value there is no deviation and no interval.
    """

    count: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        """ "0.7834 ± 0.0044 (3 seeds)": the half width of the interval."""
        if self.low is None:
            return f"{self.mean:.4f}"
        return f"{self.mean:.4f} ± {self.mean - self.low:.4f}"


@dataclass(frozen=True, slots=True)
class Folded:
    """Runs that differ in their seeds alone: their settings, scores, and gains over the control.

    `word` is what the interval of the gain says; "" where there is none.
    """

    settings: dict[str, str]
    seeds: list[str]
    score: Mean
    gain: Mean | None
    word: str


@dataclass(frozen=True, slots=True)
class Effect:
    """A swept key: the mean score at each of its values, and how far these are apart."""

    key: str
    means: dict[str, Mean]
    spread: float


def mean_of(values: Sequence[float], level: float) -> Mean:
    """The mean of independent values with Student's t-interval at `level`."""
    every = np.asarray(values, np.float64)
    if len(every) < 2:
        return Mean(len(every), float(every.mean()))
    sd = float(every.std(ddof=1))
    half = float(student_t.ppf((1 + level) / 2, len(every) - 1)) * sd / math.sqrt(len(every))
    mean = float(every.mean())
    return Mean(len(every), mean, sd, mean - half, mean + half)


def varied(runs: Sequence[Run]) -> list[str]:
    """The keys that differ between the runs."""
    keys = sorted({key for run in runs for key in run.overrides})
    return [k for k in keys if len({run.overrides.get(k) for run in runs}) > 1]


def folded(runs: Sequence[Run]) -> list[Folded]:
    """The runs of one setting as one, the best first; nothing where no setting has two seeds."""
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        settings = {k: v for k, v in run.overrides.items() if k != SEED}
        groups.setdefault(tuple(sorted(settings.items())), []).append(run)
    if SEED not in varied(runs) or all(len(group) < 2 for group in groups.values()):
        return []
    keys = [key for key in varied(runs) if key != SEED]
    rises = _rises(runs)
    every = [_fold(group, keys, rises=rises) for group in groups.values()]
    return sorted(every, key=lambda it: -it.score.mean if rises else it.score.mean)


def _fold(group: Sequence[Run], keys: Sequence[str], *, rises: bool) -> Folded:
    level = float(group[0].results.get("level", 0.95))
    gains = [run.results["comparison"].get("student_minus_control") for run in group]
    gain = mean_of([it["difference"] for it in gains], level) if all(gains) else None
    word = ""
    if gain is not None and gain.low is not None and gain.high is not None:
        word = "within the noise"
        if gain.low > 0 or gain.high < 0:
            word = "better" if (gain.low > 0) == rises else "worse"
    return Folded(
        settings={key: group[0].overrides.get(key, "") for key in keys},
        seeds=[run.overrides.get(SEED, "") for run in group],
        score=mean_of([run.score for run in group], level),
        gain=gain,
        word=word,
    )


def effects(runs: Sequence[Run]) -> list[Effect]:
    """Each swept key, that of the largest effect first."""
    level, found = float(runs[0].results.get("level", 0.95)), []
    for key in varied(runs):
        values = sorted({run.overrides.get(key, "") for run in runs}, key=_order)
        scores = {v: [r.score for r in runs if r.overrides.get(key, "") == v] for v in values}
        means = {value: mean_of(each, level) for value, each in scores.items()}
        ends = [it.mean for it in means.values()]
        found.append(Effect(key, means, max(ends) - min(ends)))
    return sorted(found, key=lambda it: -it.spread)


def _order(value: str) -> tuple[bool, float, str]:
    """Numbers by their size, before words."""
    number = as_number(value)
    return (number is None, number or 0.0, value)


def as_number(value: str) -> float | None:
    """What an override's value is as a number, if it is a finite one."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def fronts(runs: Sequence[Run]) -> dict[str, list[int]]:
    """Cost -> the places in `runs` of those that none beats at that cost, the cheapest first."""
    found = {}
    for cost in COSTS:
        values = [run.results["rows"]["student"].get(cost) for run in runs]
        if all(values) and len(set(values)) > 1:
            scores = [run.score for run in runs]
            found[cost] = pareto([float(v) for v in values if v], scores, rises=_rises(runs))
    return found


def _rises(runs: Sequence[Run]) -> bool:
    return bool(runs[0].results.get("higher_is_better", True))


def record(runs: Sequence[Run], sweep: SweepState | None = None) -> dict[str, Any]:
    """All of it as JSON; runs are named by their folders, the best first."""
    jobs = _jobs(sweep) if sweep else {}
    if not runs:
        return {"schema": SCHEMA, "runs": [], **jobs}
    return _results(runs) | jobs | {"chosen": [run.folder.name for run in chosen(runs, sweep)]}


def _jobs(sweep: SweepState) -> dict[str, Any]:
    """How the jobs of a sweep fare, and what its study tuned."""
    lost = [
        {"run": path.name, "overrides": job.overrides, "state": job.state, "error": job.error}
        for path, job in sweep.lost.items()
    ]
    done, total = sweep.count("done"), max(sweep.total or 0, len(sweep.jobs))
    jobs = {"total": total, "done": done, "lost": lost}
    return {"jobs": jobs, **({"objective": [*sweep.objective]} if sweep.objective else {})}


def _results(runs: Sequence[Run]) -> dict[str, Any]:
    students: list[Mapping[str, Any]] = [run.results["rows"]["student"] for run in runs]
    return {
        "schema": SCHEMA,
        "headline": runs[0].results["headline"],
        "runs": [
            {
                "run": run.folder.name,
                "overrides": run.overrides,
                "score": run.score,
                "student_minus_control": run.results["comparison"].get("student_minus_control"),
                **{name: row[name] for name in COSTS if name in row},
            }
            for run, row in zip(runs, students, strict=True)
        ],
        "folded": [asdict(it) for it in folded(runs)],
        "effects": [asdict(it) for it in effects(runs)],
        "fronts": {
            cost: [runs[i].folder.name for i in front] for cost, front in fronts(runs).items()
        },
    }
