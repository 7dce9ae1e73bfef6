"""The folder of a sweep: where it will be, and whether a job left results in it."""

import copy
import time
from pathlib import Path
from typing import Any

KEY = "hydra.sweep.dir"


def folder_of_sweep(settled: list[str], cfg: Any) -> Path:
    """The sweep's folder, fixed before Hydra starts so that the leaderboard can be made after.

    Raises `OutputError` for one inside of an artifact, where Hydra would write first.
    """
    from omegaconf import OmegaConf

    from distillkit.artifacts.homes import workspace_folder
    from distillkit.artifacts.inside import check_outside
    from distillkit.config.words import quoted

    folder = _named(settled)
    if folder is None:
        stamp = time.strftime("%Y%m%d-%H%M%S") + f".{time.time_ns() // 1000 % 1_000_000:06d}"
        folder = Path("outputs") / str(cfg.run_name) / f"{stamp}-sweep"
        settled.append(f"{KEY}={quoted(str(folder))}")
    path = OmegaConf.select(cfg, "workspace.path", throw_on_missing=False)
    workspace = workspace_folder(path) if isinstance(path, str) else None
    check_outside(_resolved(folder, cfg), f"{KEY} = {folder}", workspace)
    return folder


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
