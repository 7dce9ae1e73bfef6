"""What a stage has worked out so far, kept beside its artifact: the next run does not do it again.

A signal, which ends a run, loses the batch under way; a kill loses the part under way.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.artifacts.arrays import DamagedArraysError, load_arrays, save_arrays
from distillkit.artifacts.digests import is_sealed, place_of, sealed
from distillkit.artifacts.workspace import read_json, write_json
from distillkit.console.progress import say, warn

Arrays = Mapping[str, np.ndarray]
_DAMAGED = (DamagedArraysError, OSError, ValueError, KeyError, AttributeError, RecursionError)


class Parts:
    """Named parts of a stage's work, below a folder; without a folder nothing is kept.

    A name must say all that decides its part and is not in the artifact's own name. Damaged files
    and those of another artifact are passed over with a word.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder / "parts" if folder else None

    def batches(
        self, name: str, make: Callable[[int], Iterator[Arrays]], count: int | None = None
    ) -> list[Arrays]:
        """What `make(n)` gives, batch after batch from the n-th on; n are there already.

        `count`, where it is known, is how many there are in all.
        """
        batches = self._load(name)
        before = len(batches)
        try:
            for arrays in make(before):
                batches.append(arrays)
        except KeyboardInterrupt:
            self._save(name, batches, before)
            raise
        self._save(name, batches, before)
        return batches

    def record(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives: a value that JSON can hold, as JSON gives it back."""
        path = self._folder / f"{name}.json" if self._folder else None
        if path is not None and path.is_file():
            try:
                parts = read_json(path)
                if is_sealed(parts) and parts.get("place") == place_of(path):
                    return parts["value"]
            except _DAMAGED:
                pass
            self._pass_over(path)
        value = json.loads(json.dumps(make()))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, sealed({"value": value, "place": place_of(path)}))
        return value

    def remove(self) -> None:
        """Forget all: the artifact is whole."""
        if self._folder and self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _load(self, name: str) -> list[Arrays]:
        path = self._folder / f"{name}.npz" if self._folder else None
        if path is None or not path.is_file():
            return []
        try:
            parts = batches_in(path)
        except _DAMAGED:
            self._pass_over(path)
            return []
        say(f"{name}: going on after {len(parts):,} batches")
        return parts

    def _save(self, name: str, batches: list[Arrays], count: int) -> None:
        if self._folder is None or len(batches) == count:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        save_batches(self._folder / f"{name}.npz", batches)

    def _pass_over(self, path: Path) -> None:
        warn(f"{path}: damaged; it is worked out again")
        path.unlink()


def save_batches(path: Path, batches: Sequence[Arrays]) -> None:
    """Write batches into one file."""
    arrays = {
        f"{i}.{field}": array for i, batch in enumerate(batches) for field, array in batch.items()
    }
    save_arrays(path, arrays)


def batches_in(path: Path) -> list[Arrays]:
    """The batches in a file; raises `DamagedArraysError`."""
    batches: dict[int, dict[str, np.ndarray]] = {}
    try:
        for key, array in load_arrays(path).items():
            number, field = key.split(".", 1)
            batches.setdefault(int(number), {})[field] = array
        return [batches[number] for number in range(len(batches))]
    except (ValueError, KeyError) as error:
        raise DamagedArraysError(str(path)) from error


NOWHERE = Parts(None)
