"""How a sweep is run: by which launcher and sweeper, and the words of theirs that nobody typed.

A sweeper that chooses for itself tunes on what `sweep.objective` names. That is never a figure of
the held-out rows: what was chosen by them would look better on them than it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from distillkit.config.compose import composing
from distillkit.console.wording import listed
from distillkit.errors import ConfigError

OBJECTIVES = {  # of the student: name -> whether more is better
    "validation": True,
    "parameters": False,
    "megabytes": False,
    "latency_p50_ms": False,
    "seconds": False,
}
TUNED = ("train", "train-student")  # commands that have a value of every objective or some
FEWEST = 1.0  # hydra.sweeper.max_failure_rate: a trial that fails is a row, and no end of the study


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """`total` jobs (None: nobody knows), `at_once` of them here, and further `words`.

    `objective` is what a sweeper that chooses goes by: name -> whether more is better.
    """

    total: int | None
    at_once: int | None  # on this machine; None: they work elsewhere
    words: list[str]
    objective: dict[str, bool] = field(default_factory=dict)


def objectives(value: Any) -> list[str]:
    """The names that `sweep.objective` holds."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return [str(name) for name in value] if several else [str(value)]


def problems(settings: object) -> Iterator[tuple[str, str]]:
    """What is wrong with the settings of sweeps: an objective that is none, or of held-out rows."""
    names = objectives(settings.get("objective")) if isinstance(settings, Mapping) else []
    for name in names:
        if name not in OBJECTIVES:
            yield (
                f"sweep.objective = {name}",
                f"may be {listed(OBJECTIVES)}, or a list of some; validation is the student's own "
                "score on the validation rows, and nothing is tuned on the held-out ones",
            )
    if not names or len({*names}) < len(names):
        yield "sweep.objective", "names each objective once"


def plan(
    command: str,
    words: list[str],
    cfg: Any,
    swept: Mapping[str, int],
    user_folder: Path | None,
    *,
    cores: int,
) -> SweepPlan:
    """The plan of a sweep of these words; raises `ConfigError` for a study that cannot be right."""
    own = [word for word in words if word.lstrip("+~").startswith("hydra")]
    total = prod(swept.values())
    if not any("hydra/sweeper" in word or "hydra.sweeper._target_" in word for word in own):
        _check_intervals(words)
    if not any("hydra/" in word or "hydra.launcher" in word for word in own):
        return SweepPlan(total, 1, [])
    with composing(user_folder) as composer:
        _, hydra = composer.compose(own)
    launcher, sweeper = hydra["launcher"], hydra["sweeper"]
    name = str(launcher["_target_"]).rpartition(".")[2]
    at_once = _at_once(name, launcher, cores)
    typed = {word.lstrip("+").partition("=")[0] for word in own}
    study = "BasicSweeper" not in sweeper["_target_"]
    if study:
        _check_once(words)
    more = [*_of_study(command, sweeper, cfg, typed)] if study else []
    batch = "n_jobs" if study else "max_batch_size"  # jobs that are launched together
    if batch in sweeper and (study or name == "LocalLauncher"):
        if f"hydra.sweeper.{batch}" in typed and sweeper[batch]:
            at_once = min(at_once or sweeper[batch], sweeper[batch])
        elif at_once:
            more.append(f"hydra.sweeper.{batch}={at_once}")
    objective = {it: OBJECTIVES[it] for it in objectives(cfg.sweep.objective)} if study else {}
    return SweepPlan(_total(sweeper, total), at_once, more, objective)


def _total(sweeper: Mapping[str, Any], choices: int) -> int | None:
    """How many jobs there will be, of so many combinations."""
    if "BasicSweeper" in sweeper["_target_"]:
        return choices
    trials, sampler = sweeper.get("n_trials"), sweeper.get("sampler")
    if not isinstance(trials, int):
        return None
    is_grid = isinstance(sampler, Mapping) and "GridSampler" in str(sampler.get("_target_"))
    return min(trials, choices) if is_grid else trials


def _check_intervals(words: list[str]) -> None:
    """Raise `ConfigError` for an interval where every combination is run: it has no end."""
    for override in OverridesParser.create().parse_overrides(words):
        if override.is_interval_sweep():
            raise ConfigError(
                f"{override.key_or_group} = {override.get_value_string()}: an interval has no "
                "combinations to run; name values (1,2,4), or add hydra/sweeper=optuna, which "
                "chooses within it"
            )


def _check_once(words: list[str]) -> None:
    """Raise `ConfigError` for a key that is fixed and chosen, too: Optuna would not choose it."""
    overrides = OverridesParser.create().parse_overrides(words)
    fixed = {it.key_or_group for it in overrides if not it.is_sweep_override()}
    for override in overrides:
        if override.is_sweep_override() and override.key_or_group in fixed:
            raise ConfigError(
                f"{override.key_or_group} = {override.get_value_string()}: the command line also "
                "gives it one value, which would hold; leave one of the two out"
            )


def _at_once(launcher: str, settings: Mapping[str, Any], cores: int) -> int | None:
    """How many jobs a launcher has at work on this machine at a time; None: elsewhere."""
    if launcher == "JoblibLauncher":
        given = settings.get("n_jobs")
        if given == 0:
            raise ConfigError(
                "hydra.launcher.n_jobs = 0: no job would run; -1 runs as many as there are cores"
            )
        jobs = int(given or 1)
        return jobs if jobs > 0 else max(1, cores + 1 + jobs)  # as joblib counts: -1 is all cores
    if launcher == "LocalLauncher":
        return max(1, cores // int(settings.get("cpus_per_task") or 1))
    return 1 if launcher == "BasicLauncher" else None


def _of_study(command: str, sweeper: Mapping[str, Any], cfg: Any, typed: set[str]) -> Iterator[str]:
    """Direction, seed and the like of a sweeper that chooses, by what is optimised."""
    if command not in TUNED:
        raise ConfigError(
            f"hydra.sweeper: a sweeper that chooses tunes what {listed(TUNED)} return; "
            f"{command} has nothing to tune, so leave hydra/sweeper out"
        )
    names = objectives(cfg.sweep.objective)
    rises = ["maximize" if OBJECTIVES[name] else "minimize" for name in names]
    direction = rises[0] if len(rises) == 1 else f"[{','.join(rises)}]"
    if "direction" in sweeper:
        if "hydra.sweeper.direction" in typed:
            given = sweeper["direction"]
            _check_direction(given if isinstance(given, list) else [given], names, rises)
        else:
            yield f"hydra.sweeper.direction={direction}"
    if "max_failure_rate" in sweeper and "hydra.sweeper.max_failure_rate" not in typed:
        yield f"hydra.sweeper.max_failure_rate={FEWEST}"
    sampler = sweeper.get("sampler")
    if isinstance(sampler, Mapping) and sampler.get("seed", 0) is None:
        yield f"hydra.sweeper.sampler.seed={cfg.seed}"


def _check_direction(given: list[Any], names: list[str], rises: list[str]) -> None:
    words = [str(getattr(item, "name", item)) for item in given]
    if words != rises:
        raise ConfigError(
            f"hydra.sweeper.direction = {listed(words)}: of sweep.objective={listed(names)} it is "
            f"{listed(rises)}; leave it out"
        )
