"""Random numbers belong to an example's positions, not to the batch they are asked in."""

import numpy as np
import pytest
import torch

from distillkit.targets import Draws
from distillkit.targets.codecs.sampling import BLOCK, draw_ids
from tests.unit.targets.answers import keys

POSITIONS = np.array([3, 0, 7, 1, 0, 5])
EACH = 5
ALL = slice(None)


def numbers(order: list[int], *, seed: int = 0) -> list[np.ndarray]:
    """What each example gets where they are asked in this order."""
    draws = Draws(seed, keys(len(POSITIONS))[order], POSITIONS[order])
    return np.split(draws.uniforms(EACH, ALL), np.cumsum(POSITIONS[order])[:-1])


def test_an_example_has_the_same_numbers_in_any_batch() -> None:
    together = numbers(list(range(len(POSITIONS))))
    backwards = numbers(list(range(len(POSITIONS)))[::-1])[::-1]
    for i, (one, other) in enumerate(zip(together, backwards, strict=True)):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, numbers([i])[0])


@pytest.mark.parametrize("step", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize("each", [1, 4, 5, 50])
def test_a_stretch_of_positions_has_the_numbers_of_the_whole(step: int, each: int) -> None:
    draws = Draws(3, keys(len(POSITIONS)), POSITIONS)
    whole = draws.uniforms(each, ALL)
    parts = [draws.uniforms(each, slice(i, i + step)) for i in range(0, len(whole), step)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_numbers_are_uniform_and_all_different() -> None:
    found = Draws(0, keys(40), np.full(40, 50)).uniforms(50, ALL).ravel()
    assert len(np.unique(found)) == len(found) == 100_000
    assert found.min() >= 0 and found.max() < 1
    # the mean of n uniform numbers is off by 1 / sqrt(12 n), and that of squares much so
    assert abs(found.mean() - 1 / 2) < 5 / np.sqrt(12 * len(found))
    assert abs((found**2).mean() - 1 / 3) < 5 / np.sqrt(11 * len(found))


def test_another_seed_or_key_has_other_numbers() -> None:
    first, second = numbers([2])[0], numbers([2], seed=1)[0]
    assert not np.isin(first, second).any()
    assert not np.isin(first, numbers([5])[0]).any()


def test_keys_with_zero_bytes_have_streams_of_their_own() -> None:
    several = np.array([b"\0" * 16, b"\0\1" + b"\0" * 14, b"\1" + b"\0" * 15], "S16")
    found = Draws(0, several, np.ones(3, int)).uniforms(8, ALL)
    assert len(np.unique(found)) == 24


def test_the_numbers_stay_what_they_are() -> None:
    """A store that is gone on with by another numpy must not change its mind."""
    key = np.array([bytes(range(16))], "S16")
    found = Draws(7, key, np.array([2])).uniforms(3, slice(1, 2))
    raw = [0x2350D414155CE6E3, 0x8287A123722D13CA, 0x1EA4E2A31D9EDFB0]
    np.testing.assert_array_equal(found[0], [(number >> 11) / 2**53 for number in raw])


def masses(outputs: int) -> torch.Tensor:
    """Whole numbers, half of them 0, [2, outputs]; all of the second's mass lies in one place."""
    generator = torch.Generator().manual_seed(outputs)
    first = torch.randint(1, 5, (outputs,), generator=generator)
    first[torch.randperm(outputs, generator=generator)[: outputs // 2]] = 0
    second = torch.zeros_like(first)
    second[outputs // 3] = 7
    return torch.stack([first, second]).float()


@pytest.mark.parametrize("outputs", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 1000])
def test_even_shares_draw_each_id_as_often_as_its_mass(outputs: int) -> None:
    weights = masses(outputs)
    for row in weights:
        total = int(row.sum())
        shares = (torch.arange(total, dtype=torch.float64) + 0.5) / total
        ids, whole = draw_ids(row[None], shares[None])
        assert ids[0].tolist() == torch.arange(outputs).repeat_interleave(row.long()).tolist()
        assert whole.item() == total


@pytest.mark.parametrize("outputs", [1, BLOCK, 3 * BLOCK + 5])
def test_the_ends_of_the_range_find_ids_that_have_mass(outputs: int) -> None:
    weights = masses(outputs)
    ends = torch.tensor([[0.0, np.nextafter(1.0, 0.0)]], dtype=torch.float64).expand(2, 2)
    ids, _ = draw_ids(weights, ends)
    for row, found in zip(weights, ids, strict=True):
        inside = row.nonzero().ravel()
        assert found.tolist() == [int(inside[0]), int(inside[-1])]


def test_ids_of_next_to_no_mass_are_drawn_beside_one_that_has_it_all() -> None:
    weights = torch.full((1, 2 * BLOCK), 1e-12)
    weights[0, 0] = 1.0  # float32 sums of the block would hold nothing else
    shares = torch.tensor([[1 - 2e-10, 1 - 9e-11, 1 - 3e-11]], dtype=torch.float64)
    ids, _ = draw_ids(weights, shares)
    assert ids[0, 0] == 0 < ids[0, 1] < BLOCK < ids[0, 2]
