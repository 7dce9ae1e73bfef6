"""Batch sources: batches that are cut by a plan, and batches that are made as training goes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distillkit.schedules import LinearLR
from distillkit.training.batch_source import BatchSource, MicroBatch, PlannedBatches
from distillkit.training.batching import PaddedPlan
from distillkit.training.checkpoint import Checkpoints
from distillkit.training.distributed import compute_device
from distillkit.training.trainer import METRICS
from distillkit.types import Batch, FitReport
from tests.unit.training.toy import (
    EXAMPLES,
    OPTIMIZERS,
    SEED,
    STEPS,
    Projected,
    assert_bits,
    collate,
    net,
    train,
    trainer,
    weights,
)

ROWS = 7  # of a step, in micro-batches of at most 3


class Killed(BaseException):
    """As SIGKILL would: nothing in the loop may catch it."""


class Rollouts(BatchSource):
    """Points that are drawn in each step, labelled by the model that is being trained.

    On-policy in small: the batch follows from the model's present weights, from what is drawn and
    from a running mean over all steps, which is the source's state. `dies` is the micro-batch,
    counted from the source's first, in whose making the process is killed.
    """

    def __init__(self, model: nn.Module, *, dies: int = 0) -> None:
        self.model, self._dies, self._made = model, dies, 0
        self.mean = torch.zeros(4)
        self._points, self._labels = torch.empty(0, 4), torch.empty(0, dtype=torch.long)

    steps_per_epoch = 5

    def positions(self, step: int) -> int:
        """Make the whole step's batch: its size is not known before."""
        self._points = torch.randn(ROWS - step % 2, 4) + 0.1 * self.mean
        self.mean = 0.9 * self.mean + self._points.mean(dim=0)
        with torch.no_grad():
            said = self.model(self._points.to(compute_device())).cpu().softmax(dim=-1)
        self._labels = torch.multinomial(said, 1).squeeze(-1)
        return len(self._points)

    def micro_batches(self, step: int, rank: int, world: int) -> Iterator[MicroBatch]:
        """Three rows at a time."""
        for rows in torch.arange(len(self._points)).split(3):
            self._made += 1
            if self._made == self._dies:
                raise Killed
            inputs = {"x": self._points[rows].to(compute_device())}
            labels = self._labels[rows].to(compute_device())
            yield MicroBatch(Batch(inputs, rows.numpy(), labels, torch.ones_like(labels).bool()))

    def tokens(self, step: int) -> int:
        """A point is a token."""
        return len(self._points)

    def state_dict(self) -> Mapping[str, Tensor]:
        """The running mean."""
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The running mean."""
        self.mean = state["mean"]


def rolled_out(out: Path, *, dies: int = 0, **changes: Any) -> tuple[FitReport, dict[str, Tensor]]:
    """Train on rollouts; the report, and the weights of model, loss and source."""
    model, loss = net(), Projected()
    source = Rollouts(model, dies=dies)
    report = train(out, model, source=source, objective=loss, **changes)
    return replace(report, seconds=0.0), weights(model) | weights(loss) | source.state_dict()


@pytest.fixture
def every_third_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints at steps 3, 6, 9 only, so that a kill costs work."""
    save = Checkpoints.save

    def seldom(self: Checkpoints, progress: Any, *rest: Any) -> None:
        if progress.step % 3 == 0:
            save(self, progress, *rest)

    monkeypatch.setattr(Checkpoints, "save", seldom)


@pytest.mark.usefixtures("every_third_step")
@pytest.mark.parametrize("kills", [[2], [8], [14], [23], [9, 4, 11]])
def test_batches_that_are_made_as_it_goes_are_killed_and_resumed_with_equal_bits(
    kills: list[int], tmp_path: Path
) -> None:
    how = {"make_optimizer": OPTIMIZERS["adamw"], "schedule": LinearLR(final=0.1)}
    expected, bits = rolled_out(tmp_path / "whole", **how)
    for number in kills:
        with pytest.raises(Killed):
            rolled_out(tmp_path / "cut", dies=number, **how)
    report, found = rolled_out(tmp_path / "cut", **how)
    assert_bits(found, bits)
    assert report == expected
    texts = [(tmp_path / run / METRICS).read_text() for run in ("whole", "cut")]
    assert texts[0] == texts[1]


def test_without_its_state_a_resumed_source_would_have_other_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bits = rolled_out(tmp_path / "whole", keep="last")
    with pytest.raises(Killed):
        rolled_out(tmp_path / "cut", dies=14, keep="last")
    monkeypatch.setattr(Rollouts, "load_state_dict", lambda self, state: None)
    _, found = rolled_out(tmp_path / "cut", keep="last")
    assert not torch.equal(found["0.weight"], bits["0.weight"])


def test_the_length_in_epochs_is_the_sources(tmp_path: Path) -> None:
    report, _ = rolled_out(tmp_path, steps=None, epochs=2)
    assert report.steps == 2 * Rollouts.steps_per_epoch
    rows = [ROWS - step % 2 for step in range(1, report.steps + 1)]
    assert sum(row["tokens"] for row in report.history) == sum(rows)


def test_a_steps_loss_is_the_mean_over_all_that_its_source_counts(tmp_path: Path) -> None:
    """In micro-batches of 3, 3 and 1 rows, and at once."""

    class AtOnce(Rollouts):
        def micro_batches(self, step: int, rank: int, world: int) -> Iterator[MicroBatch]:
            parts = [part.batch for part in super().micro_batches(step, rank, world)]
            inputs = {"x": torch.cat([part.inputs["x"] for part in parts])}
            labels, labelled = (
                torch.cat([getattr(part, name) for part in parts])
                for name in ("labels", "label_mask")
            )
            yield MicroBatch(Batch(inputs, np.arange(len(labels)), labels, labelled))

    models = [net(dropout=0), net(dropout=0)]
    for kind, model in zip((Rollouts, AtOnce), models, strict=True):
        how = {"make_optimizer": OPTIMIZERS["sgd"], "steps": 4}
        train(tmp_path / kind.__name__, model, source=kind(model), **how)
    torch.testing.assert_close(weights(models[1]), weights(models[0]), rtol=1e-4, atol=1e-6)


def test_a_checkpoint_of_another_source_is_told_and_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Killed):
        rolled_out(tmp_path, dies=14)
    train(tmp_path, model := net(), steps=STEPS)
    assert "its batches come from another source; it is passed over" in capsys.readouterr().err
    train(tmp_path / "fresh", fresh := net(), steps=STEPS)
    assert_bits(weights(model), weights(fresh))


def planned(micro_batch_size: int | None = None) -> PlannedBatches:
    plan = PaddedPlan(np.arange(1, EXAMPLES + 1), size=6, seed=SEED)
    return PlannedBatches(plan, np.arange(EXAMPLES), collate, micro_batch_size)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("micro", [None, 1, 4])
def test_planned_batches_are_shared_out_to_processes_once_each(
    world: int, micro: int | None
) -> None:
    source = planned(micro)
    for step in range(1, source.steps_per_epoch + 1):
        shares = [list(source.micro_batches(step, rank, world)) for rank in range(world)]
        assert len({len(parts) for parts in shares}) == 1
        given = [part.batch.indices for parts in shares for part in parts if not part.is_filler]
        assert sorted(np.concatenate(given)) == sorted(source.plan.batch(step))
        assert source.positions(step) == source.plan.batch(step).sum()
        assert source.tokens(step) == (source.plan.batch(step) + 1).sum()


def test_planned_batches_leave_nothing_in_a_checkpoint(tmp_path: Path) -> None:
    train(tmp_path, net(), steps=2)
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    names = {"learner.safetensors", "optimizer.safetensors", "progress.json", "files.json"}
    assert {path.name for path in checkpoint.iterdir()} == names


def test_one_step_can_be_taken_by_itself(tmp_path: Path) -> None:
    how: dict[str, Any] = {"steps": 2, "keep": "last", "log_every": 1}
    report = train(tmp_path / "run", run := net(), **how)
    by_step = trainer(tmp_path / "steps", by_hand := net(), **how)
    first, second = by_step.step(), by_step.step()
    assert by_step.progress.step == 2
    assert [row["loss"] for row in report.history] == [first.shares["loss"], second.shares["loss"]]
    assert_bits(weights(by_hand), weights(run))
