"""Arrays that a killed run left."""

from pathlib import Path

import numpy as np
import pytest

from distillkit.artifacts.arrays import DamagedArraysError, load_arrays, save_arrays

ARRAYS = {
    f"{i}.{name}": np.full(2, i, kind)
    for i in range(3)
    for name, kind in (("a", "f4"), ("b", "U2"))
}


def test_no_bit_is_altered_unseen(tmp_path: Path) -> None:
    """In a zip file's own words a bit asks for a password, for a version, or loses an entry."""
    path = tmp_path / "n.npz"
    save_arrays(path, ARRAYS)
    np.testing.assert_equal(load_arrays(path), ARRAYS)
    content = path.read_bytes()
    refused = 0
    for at in range(len(content)):
        altered = bytearray(content)
        altered[at] ^= 1 << (at % 8)
        path.write_bytes(altered)
        try:
            np.testing.assert_equal(load_arrays(path), ARRAYS)
        except DamagedArraysError:
            refused += 1
    assert refused > len(content) / 2


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_what_is_cut_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "n.npz"
    save_arrays(path, ARRAYS)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DamagedArraysError):
        load_arrays(path)


def test_a_record_of_entries_that_loses_some_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.npz"
    save_arrays(path, ARRAYS)
    few = dict(list(ARRAYS.items())[:3])
    with np.load(path) as file:
        place = file["place"]
    np.savez(path, **few, place=place)
    with pytest.raises(DamagedArraysError, match="lacks arrays"):
        load_arrays(path)
