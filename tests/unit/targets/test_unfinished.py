"""A shard that a signal ended a capture in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.targets import unfinished

ANSWERS = {"logits": np.arange(6, dtype=np.float32).reshape(3, 2)}
STATES = {"first": np.ones((3, 2), np.float16)}


def saved(folder: Path) -> Path:
    folder.mkdir()
    unfinished.save(folder, 0, 2, ANSWERS, STATES)
    return folder / "shard-00000.unfinished.npz"


def assert_whole(loaded: Any) -> None:
    batches, answers, states = loaded
    assert batches == 2
    np.testing.assert_equal(answers, ANSWERS)
    np.testing.assert_equal(states, STATES)


def test_it_comes_back(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    assert_whole(unfinished.load(tmp_path / "a", 0))
    assert unfinished.load(tmp_path / "a", 1) is None


def test_no_bit_of_it_is_altered_unseen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a zip file's own words a bit asks for a password, or for a version that nobody has."""
    path = saved(tmp_path / "a")
    content = path.read_bytes()
    refused = 0
    for at in range(len(content)):
        altered = bytearray(content)
        altered[at] ^= 1 << (at % 8)
        path.write_bytes(altered)
        loaded = unfinished.load(path.parent, 0)
        if loaded is None:
            refused += 1
        else:
            assert_whole(loaded)
    assert refused > len(content) / 2
    assert capsys.readouterr().err.count("its batches are asked again") == refused


@pytest.mark.parametrize(
    ("store", "shard"), [("targets-" + "b" * 16, 0), ("targets-" + "a" * 16, 1)]
)
def test_that_of_another_store_or_shard_is_passed_over(
    store: str, shard: int, tmp_path: Path
) -> None:
    path = saved(tmp_path / ("targets-" + "a" * 16))
    path.rename(path.with_name(f"shard-{shard:05d}.unfinished.npz"))
    path.parent.rename(tmp_path / store)
    assert unfinished.load(tmp_path / store, shard) is None
