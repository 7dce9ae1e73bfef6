"""Draws that rounded logits propose: they come from the exact distribution all the same."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from distillkit.errors import TargetsError
from distillkit.losses.heads import project
from distillkit.targets import Draws, Sampled
from distillkit.targets.codecs import logits
from distillkit.targets.codecs import rejection_sampling as proposals
from distillkit.types import HiddenOutputs
from tests.unit.targets.answers import keys, random_hidden

OUTPUTS, POSITIONS, DRAWS = 40, 10_000, 10
# (how loud the logits are, what the head does beside its product, temperature): all so that
# rounding the logits changes their distribution by several per cent
CASES: list[tuple[float, dict[str, Any], float]] = [
    (50.0, {}, 1.0),
    (150.0, {}, 3.0),
    (300.0, {"scale": 0.125}, 1.0),
    (100.0, {"softcap": 200.0}, 1.0),
    (50.0, {"bias": True}, 1.0),
]


def loud(loudness: float, positions: int, settings: dict[str, Any]) -> HiddenOutputs:
    """One hidden state again and again, whose likeliest logits lie around `loudness`."""
    said = random_hidden(1, OUTPUTS, size=16)
    generator = torch.Generator().manual_seed(0)
    logits = loudness + torch.randn(OUTPUTS + 3, generator=generator)
    hidden = said.hidden / said.hidden.norm()
    weight = said.head.weight - torch.outer(said.head.weight @ hidden[0] - logits, hidden[0])
    if settings.get("bias"):
        settings = {"bias": torch.randn(OUTPUTS + 3, generator=generator)}
    head = replace(said.head, weight=weight.bfloat16(), **settings)
    return HiddenOutputs(hidden.bfloat16().expand(positions, -1), head)


def draw(said: HiddenOutputs, temperature: float = 1.0, seed: int = 0) -> Tensor:
    positions = np.array([len(said.hidden)])
    return proposals.draw(said, Draws(seed, keys(1), positions), DRAWS, temperature)


def off(ids: Tensor, p: Tensor) -> float:
    """How far the shares of ids are from p, as a chi-square over its degrees of freedom."""
    often = p * ids.numel() >= 50
    assert often.sum() >= 15
    counts = ids.flatten().bincount(minlength=len(p))
    expected = p * ids.numel()
    return float(((counts - expected).square() / expected)[often].sum() / often.sum())


@pytest.fixture
def drawn_anew(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many positions were drawn from all their exact logits."""
    seen: list[int] = []

    def counted(said: HiddenOutputs) -> Iterator[tuple[slice, Tensor]]:
        seen.append(len(said.hidden))
        return logits.chunks(said)

    monkeypatch.setattr(proposals, "chunks", counted)
    return lambda: sum(seen)


@pytest.mark.parametrize(("loudness", "settings", "temperature"), CASES)
def test_draws_come_from_the_exact_distribution(
    loudness: float,
    settings: dict[str, Any],
    temperature: float,
    drawn_anew: Callable[[], int],
) -> None:
    """A chi-square over 15 degrees of freedom or more is above 2.7 of each in 1 of 2,000 seeds."""
    said = loud(loudness, POSITIONS, settings)
    exact = project(said.hidden[:1].double(), said.head)[0] / temperature
    (_, raw), *_ = logits.rounded(HiddenOutputs(said.hidden[:1], said.head))
    bias = 0.0 if said.head.bias is None else said.head.bias[:OUTPUTS]
    as_rounded = logits.finish(raw.float() + bias, said.head)[0] / temperature
    ids = draw(said, temperature)
    assert off(ids, exact.softmax(dim=-1)) < 2.7
    assert off(ids, as_rounded.double().softmax(dim=-1)) > 5  # so the test can tell
    assert drawn_anew() < POSITIONS / 3


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_where_too_few_are_accepted_all_exact_logits_are_drawn_from(
    temperature: float, drawn_anew: Callable[[], int]
) -> None:
    said = loud(1600.0 * temperature, POSITIONS, {})
    exact = project(said.hidden[:1].double(), said.head)[0] / temperature
    assert off(draw(said, temperature), exact.softmax(dim=-1)) < 2.7
    assert drawn_anew() == POSITIONS


def test_a_processor_that_rounds_more_is_noticed(
    monkeypatch: pytest.MonkeyPatch, drawn_anew: Callable[[], int]
) -> None:
    def coarse(said: HiddenOutputs) -> Iterator[tuple[slice, Tensor]]:
        for part, raw in logits.rounded(said):
            yield part, (raw / 4).round() * 4

    monkeypatch.setattr(proposals, "rounded", coarse)
    said = loud(50.0, POSITIONS, {})
    exact = project(said.hidden[:1].double(), said.head)[0]
    assert off(draw(said), exact.softmax(dim=-1)) < 2.7
    assert drawn_anew() > 0.99 * POSITIONS


def test_draws_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers: products are the same in any order of their sums."""
    generator = torch.Generator().manual_seed(0)
    said = random_hidden(60, OUTPUTS)
    whole = HiddenOutputs(
        torch.randint(-9, 9, said.hidden.shape, generator=generator).bfloat16(),
        replace(said.head, weight=(said.head.weight * 4).round() / 4),
    )
    positions, each = np.array([25, 0, 15, 20]), keys(4)
    begins = np.cumsum([0, *positions])
    together = proposals.draw(whole, Draws(4, each, positions), DRAWS, 1.0)
    monkeypatch.setattr(logits, "CHUNK", 7 * OUTPUTS)
    monkeypatch.setattr(logits, "PRODUCT", 2)
    for order in ([0, 1, 2, 3], [2, 0], [3], [3, 2, 1, 0]):
        rows = np.concatenate([np.arange(begins[i], begins[i + 1]) for i in order])
        part = HiddenOutputs(whole.hidden[rows], whole.head)
        draws = Draws(4, each[order], positions[order])
        assert torch.equal(proposals.draw(part, draws, DRAWS, 1.0), together[rows])


def test_the_padding_of_a_vocabulary_is_never_drawn() -> None:
    said = random_hidden(200, OUTPUTS)
    said.head.weight[OUTPUTS:] = 100 * said.hidden.sum(dim=0).sign()
    ids = draw(HiddenOutputs(said.hidden.bfloat16(), said.head))
    assert ids.min() >= 0 and ids.max() < OUTPUTS
    assert torch.equal(ids, ids.sort(dim=-1).values)


def test_of_no_positions_there_are_no_draws() -> None:
    said = random_hidden(0, OUTPUTS)
    found = draw(HiddenOutputs(said.hidden.bfloat16(), said.head))
    assert found.shape == (0, DRAWS)


def test_logits_that_are_no_distribution_are_refused() -> None:
    said = random_hidden(20, OUTPUTS)
    said.hidden[7] = torch.nan
    with pytest.raises(TargetsError, match="1 of 20 positions are no distribution"):
        draw(HiddenOutputs(said.hidden.bfloat16(), said.head))


@pytest.mark.parametrize(
    ("dtype", "exponent", "has", "expected"),
    [
        (torch.bfloat16, 1.0, True, 1),
        (torch.bfloat16, 1.0, False, 0),
        (torch.float32, 1.0, True, 0),
        (torch.bfloat16, 0.5, True, 0),
    ],
    ids=str,
)
def test_they_are_asked_where_they_are_cheaper(
    dtype: torch.dtype,
    exponent: float,
    has: bool,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def spied(*args: Any) -> Tensor:
        asked.append(args)
        return unspied(*args)

    unspied = proposals.draw
    monkeypatch.setattr(proposals, "draw", spied)
    monkeypatch.setattr(proposals, "has_bfloat16", lambda _: has)
    said = random_hidden(20, OUTPUTS)
    said = HiddenOutputs(said.hidden.to(dtype), said.head)
    picked = Sampled(exponent=exponent).select(said, Draws(0, keys(1), np.array([20])))
    assert len(asked) == expected
    assert picked["ids"].shape == (20, 50) and picked["ids"].dtype == np.int32
