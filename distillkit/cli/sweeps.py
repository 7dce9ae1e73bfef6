"""The folder of a sweep: where it will be, and whether a job left results in it."""

import time
from pathlib import Path


def folder_of_sweep(settled: list[str], run_name: str) -> Path:
    """The sweep's folder, fixed before Hydra starts so that the leaderboard can be made after."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from distillkit.config.words import quoted

    for word in settled:
        if word.startswith("hydra.sweep.dir="):
            return Path(str(OverridesParser.create().parse_override(word).value()))
    stamp = time.strftime("%Y%m%d-%H%M%S") + f".{time.time_ns() // 1000 % 1_000_000:06d}"
    folder = Path("outputs") / run_name / f"{stamp}-sweep"
    settled.append(f"hydra.sweep.dir={quoted(str(folder))}")
    return folder


def has_results(folder: Path) -> bool:
    """Whether a job of the sweep wrote its report."""
    try:
        return any(folder.glob("*/results.json"))
    except OSError:  # a name that no folder can have
        return False
