"""What is done beside a model: in order, one behind at most, and failures are told."""

import threading
import time
from typing import Any

import pytest
import torch

from distillkit.background import Background
from distillkit.training.side_stream import SideStream


class Told:
    """An event of a GPU that has none."""

    def record(self) -> None:
        pass


class Stream:
    def wait_event(self, told: Told) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> SideStream:
    """As on a GPU, but for the GPU."""
    monkeypatch.setattr(torch.cuda, "Event", Told)
    monkeypatch.setattr(torch.cuda, "device", lambda _: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    found = SideStream(torch.device("cpu"))
    found._background = Background("beside", limit=1)
    found._stream = Stream()
    return found


def test_a_processor_does_it_at_once() -> None:
    with SideStream(torch.device("cpu")) as beside:
        assert beside(threading.get_ident).result() == threading.get_ident()
        with pytest.raises(ValueError, match="no"):
            beside(lambda: (_ for _ in ()).throw(ValueError("no")).__next__())


def test_elsewhere_a_thread_does_it_in_order_and_one_behind_at_most(apart: SideStream) -> None:
    begun: list[int] = []
    behind: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.01)
        return threading.get_ident()

    with apart as beside:
        for number in range(5):
            last = beside(lambda number=number: work(number))  # type: ignore[misc]
            behind.append(number - len(begun))
        beside.wait()
        assert last.result() != threading.get_ident()
    assert begun == [0, 1, 2, 3, 4]
    assert max(behind) <= 1


def test_what_fails_is_raised_by_the_next_call(apart: SideStream) -> None:
    def fail() -> Any:
        raise ValueError("it failed")

    with apart as beside:
        beside(fail)
        with pytest.raises(ValueError, match="it failed"):
            beside(lambda: None)
