"""A sweep around its jobs: its folder, what is said before, the leaderboard after.

The same command goes on in the folder of a sweep that has not come to its end: each of its jobs
finds in the workspace what it made before.
"""

import copy
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distillkit.artifacts.digests import fingerprint
from distillkit.console.wording import brief
from distillkit.errors import ConfigError, DistillkitError

if TYPE_CHECKING:
    from distillkit.config.overrides import Checked

KEY = "hydra.sweep.dir"


def sweep(
    command: str,
    settled: list[str],
    checked: "Checked",
    user_folder: Path | None,
    run: Callable[[list[str]], list[str]],
) -> None:
    """Have `run` do the jobs of a sweep by its settled words, and report on all that became of it.

    Raises `ConfigError` with a line for each job that failed, the leaderboard written.
    """
    from distillkit.artifacts import sweep_records
    from distillkit.cli import launched
    from distillkit.config import sweepers
    from distillkit.console import masking
    from distillkit.console.progress import say

    plan = sweepers.plan(
        command, settled, checked.cfg, checked.swept, user_folder, cores=launched.cores()
    )
    words, names = [*settled, *plan.words], masking.names_of(settled)
    digest = fingerprint({"words": [command, *(masking.masked(word, names) for word in words)]})
    folder = folder_of_sweep(words, checked.cfg, digest)
    before = sweep_records.state_of(folder)
    if before and before.jobs:
        say(f"sweep: goes on in {folder}; {before.sentence()}")
    if plan.objective:
        _quiet_study()
    sweep_records.begin(folder, total=plan.total, command=digest, objective=plan.objective)
    is_over = False
    try:
        with launched.shared_cores(plan.at_once, plan.total):
            failed = _outcome(lambda: run(words), folder)
            is_over = True
    finally:  # also of a sweep that a signal ends
        masking.mask_file(folder / "multirun.yaml", names)
        launched.tidy(folder, names, is_over=is_over or launched.LOCAL in words)
        sweep_records.withdraw(folder)
    if command == "train":
        _leaderboard(folder)
    if failed:
        raise ConfigError(failed)


def _quiet_study() -> None:
    """Have Optuna say nothing of each trial: a job says what it is, and what becomes of it."""
    with suppress(ImportError):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)


def _outcome(run: Callable[[], list[str]], folder: Path) -> list[str]:
    """The faults of jobs, and that of a launcher or sweeper which broke off, a line each."""
    try:
        failed = run()
    except DistillkitError:
        raise
    except Exception as error:  # launchers and sweepers raise whatever they like
        faults = _failures(folder)
        if not faults and not has_results(folder):
            raise
        failed = [f"sweep: it broke off ({brief(error)}); the same command goes on from here"]
        return [*faults, *failed]
    return [*_failures(folder), *failed]


def _leaderboard(folder: Path) -> None:
    """Print and write what there is of a sweep, if any of its jobs has something to report."""
    from distillkit.cli.commands.report import report

    if has_results(folder) or _failures(folder):
        report(folder)


def _failures(folder: Path) -> list[str]:
    from distillkit.artifacts import sweep_records

    state = sweep_records.state_of(folder)
    jobs = state.jobs.values() if state else ()
    return [f"{job.title}: {job.error}" for job in jobs if job.state in ("failed", "killed")]


def folder_of_sweep(settled: list[str], cfg: Any, digest: str) -> Path:
    """The sweep's folder, fixed before Hydra starts so that the leaderboard can be made after.

    It is that of the newest sweep by this command, the one of this digest, if that has not come to
    its end. Raises `OutputError` for one inside of an artifact, where Hydra would write first.
    """
    from omegaconf import OmegaConf

    from distillkit.artifacts.homes import workspace_folder
    from distillkit.artifacts.inside import check_outside
    from distillkit.config.words import quoted

    folder = _named(settled)
    if folder is None:
        stamp = time.strftime("%Y%m%d-%H%M%S") + f".{time.time_ns() // 1000 % 1_000_000:06d}"
        home = Path("outputs") / str(cfg.run_name)
        folder = _unfinished(home, digest) or home / f"{stamp}-sweep"
        settled.append(f"{KEY}={quoted(str(folder))}")
    path = OmegaConf.select(cfg, "workspace.path", throw_on_missing=False)
    workspace = workspace_folder(path) if isinstance(path, str) else None
    check_outside(_resolved(folder, cfg), f"{KEY} = {folder}", workspace)
    return folder


def _unfinished(home: Path, digest: str) -> Path | None:
    """The folder of the newest sweep by this command, if it ended before all jobs were done."""
    from distillkit.artifacts import sweep_records

    try:
        folders = sorted(home.glob("*-sweep"), reverse=True)
    except OSError:  # a name that no folder can have
        return None
    folder = next((it for it in folders if sweep_records.command_of(it) == digest), None)
    state = sweep_records.state_of(folder) if folder else None
    return folder if state and state.missing and not state.is_running else None


def _named(settled: list[str]) -> Path | None:
    """The sweep's folder that the words name."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    for word in settled:
        if word.startswith(f"{KEY}="):
            return Path(str(OverridesParser.create().parse_override(word).value()))
    return None


def _resolved(folder: Path, cfg: Any) -> Path:
    """A folder with its references to the config resolved, as far as that can be done now."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    whole = copy.deepcopy(cfg)
    OmegaConf.set_struct(whole, False)
    try:
        whole["sweep_folder"] = str(folder)
        return Path(str(whole["sweep_folder"]))
    except OmegaConfBaseException:  # one of Hydra's own, as the time
        return folder


def has_results(folder: Path) -> bool:
    """Whether a job of the sweep wrote its report."""
    try:
        return any(folder.glob("*/results.json"))
    except OSError:  # a name that no folder can have
        return False
