"""Times of two ways of doing the same, in turn: what their ratio is, and on which machine."""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from distillkit.training.distributed import compute_device

# of a store that no run reads
ORIGIN = {part: {"fingerprint": "measured"} for part in ("teacher", "tokenizer", "data")}


def device() -> torch.device:
    """Where the engine works: a GPU if there is one (ACCELERATE_USE_CPU=true: not then)."""
    return compute_device()


def wait() -> None:
    """Return when a GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(call: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter) -> float:
    """How long a call takes; `time.process_time` counts the work of all threads instead."""
    wait()
    begun = clock()
    call()
    wait()
    return clock() - begun


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """The median of the rounds' ratios, the lowest and the highest."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def shown(figures: dict[str, float]) -> str:
    """A ratio as it is printed."""
    return f"{figures['ratio']:.3f} [{figures['lowest']:.3f}, {figures['highest']:.3f}]"


def machine() -> dict[str, Any]:
    """What the times belong to."""
    gpu = torch.cuda.get_device_name() if device().type == "cuda" else None
    return {
        "gpu": gpu,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _processor() -> str:
    """The processor's name, where the system tells it."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
