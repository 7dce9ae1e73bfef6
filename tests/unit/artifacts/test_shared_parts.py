"""Batches that several processes work out together."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from distillkit.artifacts import shared_parts
from distillkit.artifacts.parts import Arrays
from distillkit.artifacts.shared_parts import NothingLeftError, SharedParts

COUNT = 150


class Worker:
    """Somebody who works out batches, and notes which."""

    def __init__(self, folder: Path) -> None:
        self.parts = SharedParts(folder)
        self.done: list[int] = []

    def make(self, begin: int) -> Iterator[Arrays]:
        """The batches from one on."""
        for number in range(begin, COUNT):
            self.done.append(number)
            yield {"values": np.full(number % 3, number, np.float32)}

    def batches(self) -> list[list[float]]:
        """All of them."""
        return [b["values"].tolist() for b in self.parts.batches("the row", self.make, COUNT)]


EXPECTED = [[float(number)] * (number % 3) for number in range(COUNT)]


def test_each_is_worked_out_once_and_all_get_all(tmp_path: Path) -> None:
    workers = [Worker(tmp_path) for _ in range(3)]
    workers[0].parts.open()
    results: list[list[list[float]]] = []
    threads = [
        threading.Thread(target=lambda w=worker: results.append(w.batches())) for worker in workers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [EXPECTED] * 3
    assert sorted(number for worker in workers for number in worker.done) == list(range(COUNT))


def test_what_is_left_of_a_killed_one_is_taken_and_what_is_damaged_is_worked_out_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = Worker(tmp_path), Worker(tmp_path)
    first.parts.open()
    first.batches()
    files = sorted((tmp_path / "parts").glob("*.npz"))
    assert len(files) == COUNT / 3  # 64 pieces at most
    files[3].unlink()
    files[5].write_bytes(files[5].read_bytes()[:-20])
    assert second.batches() == EXPECTED
    assert second.done == [9, 10, 11, 15, 16, 17]
    assert f"{files[5]}: damaged; it is worked out again" in capsys.readouterr().err


def test_who_is_late_finds_nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Worker(tmp_path), Worker(tmp_path)
    first.parts.open()
    assert second.parts.is_open
    assert first.parts._claims.take("the row, 000000.npz")
    monkeypatch.setattr(shared_parts.time, "sleep", lambda _: first.parts.remove())
    with pytest.raises(NothingLeftError):
        second.batches()
    assert not second.parts.is_open
    with pytest.raises(NothingLeftError):
        Worker(tmp_path).batches()
