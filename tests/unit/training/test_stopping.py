"""The training loop under a signal: it ends after the step, whole, and goes on bit by bit."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import nn

from distillkit import stopping
from distillkit.training.checkpoint import Checkpoints
from distillkit.training.trainer import METRICS
from distillkit.types import Batch, LossTerms
from tests.processes import run_two
from tests.unit.training import stopping_ranks
from tests.unit.training.toy import STEPS, assert_bits, likelihood, net, objective, train, weights

SELDOM: dict[str, Any] = {"checkpoint_seconds": 1e9}


@pytest.fixture(autouse=True)
def _handlers_as_they_were() -> Iterator[None]:
    before = {name: signal.getsignal(getattr(signal, name)) for name in stopping.NAMES}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)
    with stopping.handled():  # forgets what came
        pass


def signalled_at(call: int, number: int) -> Callable[[Any, Batch], LossTerms]:
    """The toy's objective, in whose n-th call a signal comes."""
    calls = 0

    def changed(model: nn.Module, batch: Batch) -> LossTerms:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), number)
        return objective(model, batch)

    return changed


def stopped(out: Path, **how: Any) -> int | None:
    """Train until a signal ends it; return the step of the checkpoint that is there."""
    with stopping.handled(), pytest.raises(stopping.Stopped), stopping.scope():
        train(out, net(), **SELDOM, **how)
    newest = Checkpoints(out).newest()
    return int(newest.name.split("-")[1]) if newest else None


def assert_goes_on(tmp_path: Path, **how: Any) -> None:
    """A further run ends as an undisturbed one, its metrics included."""
    with stopping.handled():  # as a process that begins
        expected = train(tmp_path / "whole", whole := net(), **how)
        report = train(tmp_path / "cut", cut := net(), **how)
    assert_bits(weights(cut), weights(whole))
    assert replace(report, seconds=0.0) == replace(expected, seconds=0.0)
    texts = [(tmp_path / run / METRICS).read_text() for run in ("whole", "cut")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", stopping.NAMES)
def test_a_signal_in_a_step_ends_the_run_after_it(name: str, tmp_path: Path) -> None:
    number = getattr(signal, name)
    assert stopped(tmp_path / "cut", objective=signalled_at(5, number)) == 5
    assert stopping.status() == (130 if name == "SIGINT" else 75)
    assert_goes_on(tmp_path)


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("patience", [None, 1])
def test_any_step_and_several_signals_in_turn(
    keep: str, patience: int | None, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"keep": keep, "patience": patience, "micro_batch_size": 3}
    for calls, step in ((1, 1), (3, 3), (2, 4)):  # two calls a step but for the last of an epoch
        how["objective"] = signalled_at(calls, signal.SIGTERM)
        found = stopped(tmp_path / "cut", **how)
        assert found is not None and found <= step
    del how["objective"]
    assert_goes_on(tmp_path, **how)


@pytest.mark.parametrize("at", range(1, STEPS // 2 + 1))
def test_a_signal_in_a_validation_leaves_it_to_the_next_run(at: int, tmp_path: Path) -> None:
    calls = 0

    def evaluate(model: nn.Module) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("the signal breaks a validation off")
        return likelihood(model)

    assert stopped(tmp_path / "cut", evaluate=evaluate) == 2 * at
    assert_goes_on(tmp_path)


def test_a_signal_in_the_validation_of_the_start_loses_nothing(tmp_path: Path) -> None:
    def evaluate(model: nn.Module) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGHUP)
        return likelihood(model)

    assert stopped(tmp_path / "cut", evaluate=evaluate, start_counts=True) is None
    assert_goes_on(tmp_path, start_counts=True)


def test_a_signal_to_one_of_two_processes_ends_both_after_the_same_step(tmp_path: Path) -> None:
    """The first process is told by the second, and one checkpoint is there; then both go on."""
    run_two(stopping_ranks.__name__, tmp_path, 3)
    for rank in "01":
        cut, whole = (load_file(tmp_path / run / f"{rank}.st") for run in ("cut", "whole"))
        assert_bits(cut, whole)
