"""What a model costs to hold and to run."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

WEIGHTS = (".safetensors", ".gguf", ".bin", ".onnx", ".data")  # the last: of large ONNX files


def megabytes(path: Path) -> float:
    """The size of a model folder's weights, or of a weights file, in MB (10^6 bytes)."""
    if path.is_file():
        return path.stat().st_size / 1e6
    return sum(p.stat().st_size for p in path.iterdir() if p.suffix in WEIGHTS) / 1e6


def seconds_each(
    calls: Sequence[Callable[[int], object]],
    *,
    rounds: int,
    warm_up: int = 3,
    is_twice: bool = False,
) -> np.ndarray:
    """Seconds of `call(round)` for each call, [rounds, calls], the calls in turn in every round.

    Taking them in turn spreads a slow moment of the machine over all of them, so that the ratios
    hold even where the absolute times do not. The warm-up rounds are not counted. With `is_twice`
    a call is made twice and the second is timed: the first finds the processor's caches full of
    what the call before it left, which costs a small model after a large one a fifth of its time.
    """
    spent = np.empty((rounds, len(calls)))
    for i in range(-warm_up, rounds):
        for j, call in enumerate(calls):
            if is_twice:
                call(max(0, i))
            start = time.perf_counter()
            call(max(0, i))
            if i >= 0:
                spent[i, j] = time.perf_counter() - start
    return spent
