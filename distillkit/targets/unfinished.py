"""The shard that a signal ended a capture in: what its first batches gave, for the next run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distillkit.artifacts.arrays import DamagedArraysError, load_arrays, save_arrays
from distillkit.console.progress import warn

Picked = dict[str, np.ndarray]
PATTERN = "shard-*.unfinished.npz"
_BATCHES, _ANSWERS, _STATES = "batches", "answers.", "states."


def joined(parts: Sequence[Picked]) -> Picked:
    """The arrays of several batches as one of each name."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def save(folder: Path, shard: int, batches: int, answers: Picked, states: Picked) -> None:
    """Keep what the first `batches` of a shard gave."""
    arrays = {_ANSWERS + name: array for name, array in answers.items()}
    arrays |= {_STATES + name: array for name, array in states.items()}
    save_arrays(_path(folder, shard), arrays | {_BATCHES: np.array(batches)})


def load(folder: Path, shard: int) -> tuple[int, Picked, Picked] | None:
    """(batches, answers, states) that were kept of a shard; None, and a word, for a damaged file.

    One of another shard or store counts as damaged.
    """
    path = _path(folder, shard)
    if not path.is_file():
        return None
    try:
        arrays = load_arrays(path)
        batches = int(arrays.pop(_BATCHES))
    except (DamagedArraysError, KeyError):
        warn(f"targets: {path.name} is damaged; its batches are asked again")
        path.unlink()
        return None
    answers, states = (
        {name.removeprefix(kind): a for name, a in arrays.items() if name.startswith(kind)}
        for kind in (_ANSWERS, _STATES)
    )
    return batches, answers, states


def remove(folder: Path) -> None:
    """Forget what was kept: the shards are there, or the work was cut otherwise."""
    for path in folder.glob(PATTERN):
        path.unlink()


def _path(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:05d}.unfinished.npz"
