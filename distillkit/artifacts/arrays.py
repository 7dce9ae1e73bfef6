"""Arrays that a killed run left: whole and the artifact's own, or as good as not there."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from distillkit.artifacts.digests import place_of
from distillkit.artifacts.workspace import atomic

_PLACE = "place"


class DamagedArraysError(Exception):
    """A file of arrays that is not as it was written, or was written elsewhere."""


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays, none of which is named `place`, their names, and where they belong."""
    place = np.array([place_of(path), *arrays])
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays, **{_PLACE: place})


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file; raises `DamagedArraysError`.

    Zip has a checksum of each array, which is looked at as it is read. What is altered beside them
    gives errors of all kinds, as that a password is needed, or lets an array go unseen.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (MemoryError, PermissionError):
        raise
    except Exception as error:
        raise DamagedArraysError(str(path)) from error
    place, *names = arrays.pop(_PLACE, np.array([""])).tolist()
    if place != place_of(path) or names != list(arrays):
        raise DamagedArraysError(f"{path}: belongs elsewhere, or lacks arrays")
    return arrays
