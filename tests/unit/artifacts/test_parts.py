"""What a stage keeps of its work: batches and records, by name."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from distillkit.artifacts.parts import NOWHERE, Arrays, Parts


def batches(done: int, *, breaks_at: int = 99) -> Iterator[Arrays]:
    """Batch i of four holds i, as float32 and as text."""
    for i in range(done, 4):
        if i == breaks_at:
            raise KeyboardInterrupt
        yield {"a": np.full(2, i, np.float32), "b": np.array(["x", str(i)])}


def values(found: list[Arrays]) -> list[tuple[list[float], list[str]]]:
    return [(part["a"].tolist(), part["b"].tolist()) for part in found]


WHOLE = [([i, i], ["x", str(i)]) for i in range(4)]


def test_batches_go_on_after_those_that_were_there(tmp_path: Path) -> None:
    for at in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            Parts(tmp_path).batches("n", lambda done, at=at: batches(done, breaks_at=at))
    begun: list[int] = []

    def rest(done: int) -> Iterator[Arrays]:
        begun.append(done)
        return batches(done)

    assert values(Parts(tmp_path).batches("n", rest)) == WHOLE
    assert values(Parts(tmp_path).batches("n", rest)) == WHOLE
    assert begun == [3, 4]


def test_a_record_is_made_once(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, list[float]]:
        made.append(1)
        return {"a": [0.1, float("inf")]}

    for _ in range(2):
        assert Parts(tmp_path).record("r", make) == {"a": [0.1, float("inf")]}
    assert made == [1]


@pytest.mark.parametrize("place", [0, 40, 90, -30, -1])
def test_what_is_damaged_is_made_again_with_a_word(
    place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = Parts(tmp_path)
    parts.batches("n", batches)
    parts.record("r", lambda: "a value" * 20)
    for name in ("n.npz", "r.json"):
        path = tmp_path / "parts" / name
        content = bytearray(path.read_bytes())
        content[place] ^= 8
        path.write_bytes(content)
    assert values(parts.batches("n", batches)) == WHOLE
    assert parts.record("r", lambda: "a value" * 20) == "a value" * 20
    assert "r.json: damaged; it is worked out again" in capsys.readouterr().err


def test_nothing_is_kept_nowhere_or_once_removed(tmp_path: Path) -> None:
    assert values(NOWHERE.batches("n", batches)) == WHOLE
    assert NOWHERE.record("r", lambda: 3) == 3
    parts = Parts(tmp_path)
    parts.record("r", lambda: 3)
    parts.remove()
    parts.remove()
    assert not list(tmp_path.iterdir())


def test_the_parts_of_another_artifact_are_not_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (tmp_path / f"evaluation-{digit * 16}" for digit in "ab")
    Parts(one).batches("n", batches)
    Parts(one).record("r", lambda: "one's")
    one.rename(other)
    assert values(Parts(other).batches("n", batches)) == WHOLE
    assert Parts(other).record("r", lambda: "the other's") == "the other's"
    assert capsys.readouterr().err.count("damaged; it is worked out again") == 2
