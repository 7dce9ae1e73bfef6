"""How much of a vocabulary's logits is there at a time."""

from typing import Any

import pytest
import torch

from distillkit.losses import ForwardKL, chunked
from distillkit.types import (
    HardLabels,
    Head,
    HiddenOutputs,
    HiddenTargets,
    SoftTargets,
    SparseTargets,
    Targets,
)

POSITIONS, CLASSES, HIDDEN = 30, 50, 4


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the logits that the loss was given."""
    shapes = []
    soft = ForwardKL.soft

    def watched(self: ForwardKL, logits: torch.Tensor, targets: Any, labels: Any) -> torch.Tensor:
        shapes.append(tuple(logits.shape))
        if isinstance(targets, SoftTargets):
            assert targets.logits.shape == logits.shape
        return soft(self, logits, targets, labels)

    monkeypatch.setattr(ForwardKL, "soft", watched)
    return shapes


def kinds_of_targets() -> list[Targets]:
    logits = torch.randn(POSITIONS, CLASSES)
    log_p = logits.log_softmax(dim=-1)
    top = log_p.topk(3)
    return [
        SoftTargets(logits),
        HiddenTargets(torch.randn(POSITIONS, 3), Head(torch.randn(CLASSES, 3), CLASSES)),
        SparseTargets(top.indices, top.values, {1.0: torch.zeros(POSITIONS)}),
    ]


def run(targets: Targets) -> None:
    weight = torch.randn(CLASSES + 6, HIDDEN, requires_grad=True)
    outputs = HiddenOutputs(torch.randn(POSITIONS, HIDDEN), Head(weight, CLASSES))
    labels = HardLabels(torch.zeros(POSITIONS), torch.zeros(POSITIONS, dtype=torch.bool), None)
    ForwardKL()(outputs, targets, labels).total.backward()


@pytest.mark.parametrize("targets", kinds_of_targets(), ids=lambda t: type(t).__name__)
def test_logits_of_a_chunk_keep_to_the_budget(
    targets: Targets, seen: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "CHUNK_BYTES", 4 * CLASSES * 8 + 7)
    run(targets)
    assert seen == [(8, CLASSES)] * 3 + [(6, CLASSES)]


def test_a_position_is_never_cut(
    seen: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "CHUNK_BYTES", 1)
    run(kinds_of_targets()[0])
    assert seen == [(1, CLASSES)] * POSITIONS


def test_a_small_batch_is_one_chunk(seen: list[tuple[int, ...]]) -> None:
    run(kinds_of_targets()[0])
    assert seen == [(POSITIONS, CLASSES)]
