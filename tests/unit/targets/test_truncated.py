"""`top_k` and `top_p`: the right ids, their probabilities, and exactly the mass of the others."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from distillkit.errors import ConfigError
from distillkit.targets import Draws, TopK, TopP
from distillkit.targets.codecs.quantization import log_kept, stored_masses
from distillkit.types import Outputs, SparseTargets
from tests.unit.targets.answers import keys, random_logits, there_and_back

BITS: list[Any] = [6, 8, 16]
LARGE = 2**18 + 5


def log_softmax(logits: Tensor) -> Tensor:
    return logits.double().log_softmax(dim=-1)


def exact(logits: Tensor, targets: SparseTargets, temperature: float = 1.0) -> Tensor:
    """The true log-probabilities of the ids that were kept, -inf where none was."""
    log_p = log_softmax(logits / temperature).gather(1, targets.ids)
    return log_p.masked_fill(targets.log_probs == -torch.inf, -torch.inf)


def rest(logits: Tensor, targets: SparseTargets, temperature: float = 1.0) -> Tensor:
    """The true mass of all other ids, summed over these."""
    p = log_softmax(logits / temperature).exp()
    used = targets.log_probs > -torch.inf
    for row, (ids, kept) in enumerate(zip(targets.ids, used, strict=True)):
        p[row, ids[kept]] = 0
    return p.sum(dim=-1)


def level(logits: Tensor, targets: SparseTargets, bits: int) -> Tensor:
    """The most that a level may be: the range by 2^bits - 1, rounded up by 1/8 octave."""
    log_p = exact(logits, targets)
    smallest = log_p.masked_fill(log_p == -torch.inf, torch.inf).amin(dim=-1)
    return (log_p.amax(dim=-1) - smallest) / (2**bits - 1) * 2 ** (1 / 8) + 2**-20


def check(logits: Tensor, targets: SparseTargets, bits: int) -> None:
    """Ids ascend; log-probabilities are within a level; the mass is that of float16's precision."""
    used = targets.log_probs > -torch.inf
    for ids, kept in zip(targets.ids, used, strict=True):
        assert torch.equal(ids[kept], ids[kept].unique())
    difference = (targets.log_probs - exact(logits, targets))[used].abs()
    most = level(logits, targets, bits)[:, None].expand(used.shape)[used]
    # half a level of its own, half of the others' when all are scaled to the mass; and float32
    assert (difference <= most + 1e-3).all()
    kept, left = targets.log_probs.double().exp().sum(dim=-1), rest(logits, targets)
    torch.testing.assert_close(
        1 - kept, left, rtol=0, atol=float(torch.minimum(left, 1 - left).max()) * 2**-11 + 3e-7
    )


def test_value_by_hand() -> None:
    logits = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]).log()
    targets = there_and_back(TopK(k=2, bits=16), logits)
    assert targets.ids[0].tolist() == [1, 2]
    torch.testing.assert_close(
        targets.log_probs[0], torch.tensor([0.5, 0.3]).log(), rtol=0, atol=1e-4
    )
    assert targets.ids[1, -1] == 2
    assert math.isclose(targets.log_probs[1, -1].exp(), 0.8, abs_tol=1e-4)
    assert torch.equal(targets.log_z[1.0], torch.zeros(2))
    assert not targets.is_estimate
    assert (targets.ids.dtype, targets.log_probs.dtype) == (torch.int64, torch.float32)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(
    ("outputs", "k"), [(2, 1), (2, 2), (40, 1), (40, 7), (40, 40), (3000, 50), (LARGE, 20)]
)
@pytest.mark.parametrize("spread", [0.01, 3.0, 30.0])
def test_the_most_probable_ids_come_back(bits: Any, outputs: int, k: int, spread: float) -> None:
    logits = random_logits(6, outputs, spread=spread)
    logits[0, -1] = logits[1, 0] = 100.0  # the largest and the smallest id, alone with all mass
    targets = there_and_back(TopK(k=k, bits=bits), logits, [2, 0, 4])
    assert targets.ids.shape == (6, k)
    assert torch.equal(targets.ids, logits.topk(k).indices.sort(dim=-1).values)
    check(logits, targets, bits)


@pytest.mark.parametrize("bits", BITS)
def test_one_id_with_all_the_mass(bits: Any) -> None:
    logits = torch.full((3, 30), -torch.inf)
    logits[torch.arange(3), torch.tensor([0, 17, 29])] = 2.0
    targets = there_and_back(TopK(k=5, bits=bits), logits)
    assert targets.ids.tolist() == [[0], [17], [29]]  # no id without mass is kept
    assert torch.equal(targets.log_probs, torch.zeros(3, 1))


def test_impossible_ids_are_never_kept() -> None:
    logits = random_logits(8, 30)
    logits[:4, 3:] = -torch.inf
    targets = there_and_back(TopK(k=5, bits=16), logits, [3, 5])
    assert (targets.log_probs > -torch.inf).sum(dim=-1).tolist() == [3] * 4 + [5] * 4
    assert (targets.ids[:4, 3:] == 0).all()
    check(logits, targets, 16)


def test_equal_probabilities_are_equal() -> None:
    targets = there_and_back(TopK(k=4), torch.zeros(2, 8))
    torch.testing.assert_close(targets.log_probs, torch.full((2, 4), math.log(1 / 8)))


@pytest.mark.parametrize("exponent", [-1, -3, -5, -7, -8])
def test_a_small_rest_is_exact_however_small(exponent: int) -> None:
    """1 - sum p would lose it: float32 has 7 digits."""
    logits = torch.full((1, 1001), math.log(10.0**exponent / 1000), dtype=torch.float64).float()
    logits[0, 500] = math.log(1 - 10.0**exponent)
    codec = TopK(k=1)
    stored = codec.select(Outputs(logits), Draws(0, keys(1), np.array([1])))["rest"]
    assert math.isclose(stored[0, 0], 10.0**exponent, rel_tol=1e-5)
    kept = -math.expm1(float(log_kept(stored_masses(stored))[0, 0]))
    assert math.isclose(kept, 10.0**exponent, rel_tol=2**-11, abs_tol=6e-8)


@pytest.mark.parametrize("mass", [1e-9, 1e-6, 1e-3, 0.2, 0.5, 0.7, 0.999, 1 - 1e-6])
def test_masses_have_eleven_bits_at_both_ends(mass: float) -> None:
    stored = stored_masses(np.array([mass, 0.0]))
    smaller = abs(float(stored[0])) * 2.0**-15
    assert math.isclose(smaller, min(mass, 1 - mass), rel_tol=2**-11)
    assert math.isclose(math.exp(log_kept(stored)[0]), 1 - mass, abs_tol=2**-12)
    assert math.exp(log_kept(stored)[1]) == 1


# temperatures


def test_probabilities_at_captured_temperatures() -> None:
    logits = random_logits(20, 200)
    codec = TopK(k=12, bits=16, temperatures=[4.0, 2.0, 0.5])
    targets = there_and_back(codec, logits, [13, 7])
    assert tuple(targets.log_z) == codec.supported_temperatures == (1.0, 0.5, 2.0, 4.0)
    for temperature, log_z in targets.log_z.items():
        log_p = targets.log_probs / temperature - log_z[:, None]
        torch.testing.assert_close(
            log_p.double(), exact(logits, targets, temperature), rtol=0, atol=2e-3
        )
        left = rest(logits, targets, temperature)
        torch.testing.assert_close(
            1 - log_p.double().exp().sum(dim=-1), left, rtol=2**-11, atol=1e-6
        )


def test_few_bits_leave_the_mass_at_a_temperature_exact() -> None:
    """Errors of the levels must not look like mass of the other ids."""
    logits = random_logits(20, 12)
    targets = there_and_back(TopK(k=12, bits=6, temperatures=[3.0]), logits)
    p = (targets.log_probs / 3.0 - targets.log_z[3.0][:, None]).exp()
    torch.testing.assert_close(p.sum(dim=-1), torch.ones(20), rtol=0, atol=1e-6)


# top_p


def smallest_set(logits: Tensor, p: float, k: int) -> set[int]:
    """The nucleus, spelt out."""
    probabilities = log_softmax(logits).exp()
    found: set[int] = set()
    for i in probabilities.argsort(descending=True).tolist()[:k]:
        found.add(i)
        if probabilities[list(found)].sum() >= p:
            break
    return found


@pytest.mark.parametrize("p", [0.0, 0.3, 0.8, 0.99])
@pytest.mark.parametrize("k", [1, 6, 40])
def test_the_nucleus_is_the_smallest_set_with_the_mass(p: float, k: int) -> None:
    logits = random_logits(30, 40, spread=2.0)
    targets = there_and_back(TopP(p=p, k=k, bits=16), logits, [7, 0, 23])
    for row, (ids, log_probs) in enumerate(zip(targets.ids, targets.log_probs, strict=True)):
        assert set(ids[log_probs > -torch.inf].tolist()) == smallest_set(logits[row], p, k)
    check(logits, targets, 16)


def test_the_whole_mass_is_the_case_of_top_k() -> None:
    logits = random_logits(9, 40)
    one, other = (there_and_back(codec, logits) for codec in (TopP(p=1.0, k=7), TopK(k=7)))
    assert torch.equal(one.ids, other.ids)
    assert torch.equal(one.log_probs, other.log_probs)


# room


def stored_bytes(codec: TopK | TopP, logits: Tensor) -> int:
    positions = np.array([len(logits)])
    return codec.encode(
        codec.select(Outputs(logits), Draws(0, keys(1), positions)), positions
    ).nbytes


def test_a_bit_more_is_a_bit_more() -> None:
    logits = random_logits(40, 500)
    sizes = [stored_bytes(TopK(k=16, bits=bits), logits) for bits in BITS]
    assert np.diff(sizes).tolist() == [40 * 16 * 2 // 8, 40 * 16]


def test_a_temperature_takes_two_bytes_a_position() -> None:
    logits = random_logits(40, 500)
    one, two = (stored_bytes(TopK(k=9, temperatures=t), logits) for t in ([1.0], [1.0, 2.0]))
    assert two - one == 2 * 40


def test_fifty_ids_of_a_vocabulary_of_49_152_take_114_bytes() -> None:
    """Even where ids have no pattern at all: 71 bytes is what the number of such sets asks for."""
    logits = random_logits(400, 49_152)
    assert stored_bytes(TopK(k=50, bits=6), logits) / 400 < 114


@pytest.mark.parametrize(("bits", "most"), [(6, 1e-3), (8, 1e-4), (16, 2e-7)])
def test_rounding_costs_little(bits: Any, most: float) -> None:
    logits = random_logits(200, 2000)
    targets = there_and_back(TopK(k=50, bits=bits), logits)
    log_p, left = exact(logits, targets), rest(logits, targets)
    moved = (log_p.exp() * (log_p - targets.log_probs)).sum(dim=-1)
    out = left * (left / (1 - targets.log_probs.double().exp().sum(dim=-1))).log()
    assert 0 <= (moved + out).mean() < most


# refusals


@pytest.mark.parametrize("codec", [TopK(k=13), TopP(k=13)])
def test_more_ids_than_there_are_is_refused(codec: TopK | TopP) -> None:
    for call in (lambda: codec.check(12), lambda: there_and_back(codec, random_logits(2, 12))):
        with pytest.raises(ConfigError, match=r"targets\.codec\.k = 13: .* targets\.codec\.k=12"):
            call()
    codec.check(13)
