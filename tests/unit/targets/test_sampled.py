"""`sampled`: an unbiased estimate, from draws that belong to the example and not to the batch."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import gammaln
from torch import Tensor

from distillkit.targets import Draws, Sampled
from distillkit.targets.codecs.bit_packing import payload
from distillkit.types import Outputs
from tests.unit.targets.answers import CPU, NOWHERE, keys, random_logits, there_and_back

SETTINGS = [(1.0, 1.0), (1.0, 0.5), (1.0, 1.5), (2.0, 1.0), (0.5, 0.7)]  # temperature, exponent


def whole(targets: Any, outputs: int) -> Tensor:
    """The estimates of all probabilities, [positions, outputs] float64."""
    empty = torch.zeros(len(targets.ids), outputs, dtype=torch.float64)
    return empty.scatter_add(1, targets.ids, targets.log_probs.double().exp())


# what it estimates


@pytest.mark.parametrize(("temperature", "exponent"), SETTINGS)
def test_the_mean_of_the_estimates_is_the_distribution(temperature: float, exponent: float) -> None:
    """The count is binomial, so the mean over P positions has variance w^2 q (1 - q) / (n P).

    Ids that are drawn 50 times or more, so that the count is as good as normal, are within 4.5
    sigma: one in 2,500 seeds would fail. And the errors are as large as that variance says, not
    smaller: the draws are independent.
    """
    outputs, draws, positions = 60, 10, 20_000
    logits = random_logits(1, outputs, spread=2.0)
    codec = Sampled(draws=draws, temperature=temperature, exponent=exponent)
    targets = there_and_back(codec, logits.expand(positions, -1), [positions // 4] * 4)
    p = (logits[0].double() / temperature).softmax(dim=-1)
    q = (logits[0].double() * exponent / temperature).softmax(dim=-1)
    often = q * draws * positions >= 50
    assert often.sum() >= 30 and p[often].max() > 50 * p[often].min()
    sigma = p / q * (q * (1 - q) / (draws * positions)).sqrt()
    z = (whole(targets, outputs).mean(dim=0) - p) / sigma
    assert z[often].abs().max() < 4.5
    assert 0.3 < z[often].square().mean() < 1.9  # chi-square of 30 or more: 1 +- 0.26 or less


@pytest.mark.parametrize("draws", [1, 2, 9, 50, 300])
def test_shares_of_the_draws_sum_to_one(draws: int) -> None:
    logits = random_logits(30, 40)
    targets = there_and_back(Sampled(draws=draws), logits, [11, 0, 19])
    shares = targets.log_probs.double().exp()
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(30).double(), rtol=0, atol=1e-6)
    counts = shares * draws
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-4)
    assert targets.is_estimate
    assert list(targets.log_z) == [1.0]
    assert torch.equal(targets.log_z[1.0], torch.zeros(30))
    assert (targets.ids.dtype, targets.log_probs.dtype) == (torch.int64, torch.float32)


def test_the_temperature_is_the_one_that_was_captured() -> None:
    targets = there_and_back(Sampled(temperature=2.0), random_logits(3, 40))
    assert list(targets.log_z) == [2.0] == list(Sampled(temperature=2.0).supported_temperatures)


def test_ids_are_there_once_and_ascend() -> None:
    targets = there_and_back(Sampled(draws=30), random_logits(30, 40))
    for ids, log_probs in zip(targets.ids, targets.log_probs, strict=True):
        kept = ids[log_probs > -torch.inf]
        assert torch.equal(kept, kept.unique())


@pytest.mark.parametrize(("temperature", "exponent"), SETTINGS)
def test_weights_are_kept_to_a_two_thousandth(temperature: float, exponent: float) -> None:
    logits = random_logits(50, 300)
    codec = Sampled(draws=20, temperature=temperature, exponent=exponent)
    targets = there_and_back(codec, logits)
    p = (logits.double() / temperature).softmax(dim=-1).gather(1, targets.ids)
    q = (logits.double() * exponent / temperature).softmax(dim=-1).gather(1, targets.ids)
    counts = targets.log_probs.double().exp() * 20 * q / p
    torch.testing.assert_close(counts, counts.round(), rtol=2**-10, atol=1e-3)
    assert (counts.sum(dim=-1) - 20).abs().max() < 0.02


def test_without_an_exponent_no_weights_are_kept() -> None:
    positions = np.array([5])
    draws = Draws(0, keys(1), positions)
    assert set(Sampled().select(Outputs(random_logits(5, 40)), draws)) == {"ids"}


# hard cases


@pytest.mark.parametrize("outputs", [1, 2, 49_152, 151_936, 2**18 + 3])
def test_vocabularies_of_any_size(outputs: int) -> None:
    logits = torch.zeros(3, outputs)
    logits[1, -1] = logits[2, 0] = 40.0
    targets = there_and_back(Sampled(draws=40), logits, [1, 2])
    assert targets.ids.max() == outputs - 1
    assert targets.ids[1, 0] == outputs - 1 and targets.log_probs[1, 0] == 0
    assert targets.ids[2, 0] == 0 and targets.log_probs[2, 0] == 0


def test_ids_without_mass_are_never_drawn() -> None:
    logits = random_logits(200, 40)
    impossible = torch.rand(200, 40, generator=torch.Generator().manual_seed(0)) < 0.9
    impossible[:, 7] = False
    estimate = whole(there_and_back(Sampled(), logits.masked_fill(impossible, -torch.inf)), 40)
    assert (estimate[impossible] == 0).all()


class Extreme(Draws):
    """All draws at one end."""

    __slots__ = ()
    number = 0.0

    def uniforms(self, each: int, part: slice) -> np.ndarray:
        return np.full((part.stop - part.start, each), self.number)


class Highest(Extreme):
    __slots__ = ()
    number = 1 - 2.0**-53


@pytest.mark.parametrize(("kind", "expected"), [(Extreme, 3), (Highest, 30)])
def test_the_ends_of_the_unit_interval_are_ids_with_mass(kind: Any, expected: int) -> None:
    logits = random_logits(50, 40)
    logits[:, :3] = logits[:, 31:] = -torch.inf
    picked = Sampled(draws=4).select(Outputs(logits), kind(0, keys(1), np.array([50])))
    assert (picked["ids"] == expected).all()


# whose draws they are


def test_draws_do_not_depend_on_the_batch() -> None:
    logits, codec = random_logits(40, 100), Sampled(draws=12)
    positions = np.array([15, 0, 20, 5])
    begins = np.cumsum([0, *positions])
    together = codec.select(Outputs(logits), Draws(4, keys(4), positions))["ids"]
    for order in ([0, 1, 2, 3], [2, 0], [3], [3, 2, 1, 0]):
        rows = np.concatenate([np.arange(begins[i], begins[i + 1]) for i in order])
        draws = Draws(4, keys(4)[order], positions[order])
        alone = codec.select(Outputs(logits[rows]), draws)["ids"]
        np.testing.assert_array_equal(alone, together[rows])


def test_another_seed_draws_others() -> None:
    logits = random_logits(40, 100)
    one, other = (there_and_back(Sampled(), logits, seed=seed) for seed in (0, 1))
    assert not torch.equal(whole(one, 100), whole(other, 100))
    assert torch.equal(whole(one, 100), whole(there_and_back(Sampled(), logits), 100))


def test_positions_of_an_example_have_draws_of_their_own() -> None:
    targets = there_and_back(Sampled(), random_logits(1, 1000).expand(2, -1))
    assert not torch.equal(*whole(targets, 1000))


# room


def test_a_position_takes_its_counts_and_its_set_of_ids() -> None:
    """n - 1 bits for the counts; for the ids little more than the number of such sets asks for."""
    outputs, positions = 49_152, np.full(4, 100)
    logits = random_logits(400, outputs, spread=4.5)
    codec = Sampled(draws=50)
    column = codec.encode(codec.select(Outputs(logits), Draws(0, keys(4), positions)), positions)
    used = codec.decoder(NOWHERE, outputs, CPU)(payload(column, positions)).log_probs > -torch.inf
    unique = used.sum(dim=-1).double().numpy()
    assert 15 < unique.mean() < 35
    sets = gammaln(outputs + 1) - gammaln(unique + 1) - gammaln(outputs - unique + 1)
    least = 49 + (sets / np.log(2)).mean()
    assert least < 8 * column.nbytes / 400 < 1.12 * least
