"""Ids drawn at random, each with the probability that the teacher gives it."""

import pytest
import torch

from distillkit.losses.elementwise import cross_entropy_terms
from distillkit.losses.sparse import sparse_divergence
from distillkit.targets import Sampled, SampledLogits
from tests.unit.targets.answers import random_logits, there_and_back

LOGITS = random_logits(7, 60)


def test_the_ids_are_those_that_the_same_draws_give() -> None:
    counted = there_and_back(Sampled(draws=20), LOGITS, [3, 4])
    found = there_and_back(SampledLogits(k=20, bits=16), LOGITS, [3, 4])
    assert torch.equal(found.ids, counted.ids)
    assert not found.is_estimate


def test_each_has_its_own_probability_and_the_others_theirs_together() -> None:
    found = there_and_back(SampledLogits(k=20, bits=16), LOGITS)
    used = found.log_probs > -torch.inf
    p = LOGITS.softmax(dim=-1)
    kept = p.gather(1, found.ids) * used
    torch.testing.assert_close(found.log_probs.exp() * used, kept, rtol=2e-3, atol=1e-6)
    rest = 1 - found.log_probs.exp().sum(dim=-1)
    torch.testing.assert_close(rest, 1 - kept.sum(dim=-1), rtol=1e-3, atol=1e-6)


def test_an_id_that_is_drawn_many_times_is_kept_once() -> None:
    sure = torch.tensor([[9.0, 0.0, 0.0, -torch.inf]])
    found = there_and_back(SampledLogits(k=300), sure)
    ids = found.ids[found.log_probs > -torch.inf]
    assert 0 in ids
    assert 3 not in ids
    assert len(ids) == len(ids.unique()) <= 3


def test_gemmas_target_is_the_teacher_within_the_draws() -> None:
    """Probability zero for what was not drawn, and the rest renormalised: by hand."""
    found = there_and_back(SampledLogits(k=9, bits=16), LOGITS)
    student = random_logits(7, 60, seed=5)
    loss = sparse_divergence(cross_entropy_terms, student, found, rest="renormalise")
    log_q = student.log_softmax(dim=-1)
    for row in range(7):
        ids = found.ids[row][found.log_probs[row] > -torch.inf]
        target = LOGITS[row][ids].softmax(dim=-1)
        expected = -(target * log_q[row][ids]).sum()
        torch.testing.assert_close(loss[row], expected, rtol=2e-3, atol=1e-4)


def test_the_mass_of_the_others_is_known_at_each_temperature() -> None:
    codec = SampledLogits(k=30, bits=16, temperatures=[2.0])
    found = there_and_back(codec, LOGITS)
    assert codec.supported_temperatures == (1.0, 2.0)
    softened = (LOGITS / 2).softmax(dim=-1)
    used = found.log_probs > -torch.inf
    kept = (found.log_probs / 2 - found.log_z[2.0][:, None]).exp() * used
    wanted = softened.gather(1, found.ids) * used
    torch.testing.assert_close(kept.sum(-1), wanted.sum(-1), rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 3])
def test_what_is_drawn_hangs_on_the_seed(seed: int) -> None:
    one = there_and_back(SampledLogits(k=5), LOGITS, seed=seed)
    other = there_and_back(SampledLogits(k=5), LOGITS, seed=seed + 1)
    assert not torch.equal(one.ids, other.ids)
