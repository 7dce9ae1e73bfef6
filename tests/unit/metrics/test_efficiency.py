"""What a model costs to hold and to run."""

import time
from pathlib import Path

import pytest

from distillkit.metrics.efficiency import megabytes, seconds_each


def test_calls_are_taken_in_turn_and_the_warm_up_is_not_counted() -> None:
    said: list[tuple[str, int]] = []
    calls = [lambda i, name=name: said.append((name, i)) for name in "ab"]
    spent = seconds_each(calls, rounds=3, warm_up=2)
    assert spent.shape == (3, 2)
    warm, counted = said[:4], said[4:]
    assert [name for name, _ in said] == ["a", "b"] * 5
    assert warm == [("a", 0), ("b", 0)] * 2
    assert counted == [(name, i) for i in range(3) for name in "ab"]


def test_times_are_those_of_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    first = iter([50.0, 1.0, 2.0])  # slow while it warms up
    calls = [lambda i: passes(next(first)), lambda i: passes(0.5)]
    assert seconds_each(calls, rounds=2, warm_up=1).tolist() == [[1.0, 0.5], [2.0, 0.5]]


def test_the_second_of_two_calls_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = 100.0, []

    def passes(name: str, seconds: float) -> None:
        nonlocal now
        order.append(name)
        now += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    first = iter([9.0, 1.0, 9.0, 2.0])  # the caches are another's
    calls = [lambda i: passes("a", next(first)), lambda i: passes("b", 0.5)]
    spent = seconds_each(calls, rounds=2, warm_up=0, is_twice=True)
    assert spent.tolist() == [[1.0, 0.5], [2.0, 0.5]]
    assert order == list("aabb" * 2)


def test_no_warm_up_counts_every_call() -> None:
    rounds: list[int] = []
    seconds_each([rounds.append], rounds=2, warm_up=0)
    assert rounds == [0, 1]


def test_megabytes_are_millions_of_bytes_of_the_weights_alone(tmp_path: Path) -> None:
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"x" * 1_500_000)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"x" * 500_000)
    (tmp_path / "tokenizer.json").write_bytes(b"x" * 1000)
    (tmp_path / "config.json").write_text("{}")
    assert megabytes(tmp_path) == pytest.approx(2.0)
