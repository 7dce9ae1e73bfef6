"""What docstrings say of official codes: how they normalise, what a projection starts as."""

import pytest
import torch
from torch.testing import assert_close

from distillkit.losses import HiddenMSE
from distillkit.losses.hidden import hidden_cosine, patience
from distillkit.losses.relations import relation_kl, relation_mse
from distillkit.types import Dimensions

HEADS, TOKENS, PADDED = 3, 5, 20


def scores(seed: int) -> torch.Tensor:
    """Attention scores of one text of 5 tokens in a batch that is padded to 20."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, HEADS, PADDED, PADDED, generator=generator, dtype=torch.float64)


def test_tinyberts_code_counts_padded_queries_and_divides_by_the_padded_square() -> None:
    student, teacher = scores(1), scores(2)
    mask = (torch.arange(PADDED) < TOKENS)[None]
    # the code: scores at padded keys are far below -100, and set to 0
    seen = [it.masked_fill(~mask[:, None, None], 0.0) for it in (student, teacher)]
    official = torch.nn.functional.mse_loss(*seen)
    over_rows = (student - teacher)[..., :TOKENS].square().mean()
    assert_close(official, TOKENS / PADDED * over_rows)
    ours = relation_mse(student, teacher, mask)
    assert_close(ours, (student - teacher)[..., :TOKENS, :TOKENS].square().mean()[None])


def test_a_projection_starts_as_in_the_codes_of_tinybert_and_textbrewer() -> None:
    torch.manual_seed(0)
    loss = HiddenMSE()
    loss.bind(Dimensions("S", 4, 312), Dimensions("T", 12, 768))
    weight, bias = (it.detach() for it in loss.projections[0].parameters())
    assert float(weight.std()) == pytest.approx(0.02, rel=0.01)
    assert float(weight.abs().max()) > 3 * 0.02  # normal, not uniform
    assert (bias == 0).all()


@pytest.mark.parametrize("size", [1e-30, 1e-9, 1.0, 1e20])
def test_a_direction_does_not_know_how_long_the_vector_is(size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 8, generator=generator)
    for loss in (hidden_cosine, patience):
        assert_close(loss(size * student, teacher), loss(student, teacher))


def test_a_vector_of_0_has_no_direction_and_no_gradient() -> None:
    student = torch.zeros(2, 8, requires_grad=True)
    teacher = torch.randn(2, 8)
    for loss, value in ((hidden_cosine, 1.0), (patience, 1.0)):
        found = loss(student, teacher)
        assert_close(found, torch.full((2,), value))
        (gradient,) = torch.autograd.grad(found.sum(), student)
        assert (gradient == 0).all()


def test_a_text_without_tokens_has_neither_a_value_nor_a_gradient() -> None:
    student, teacher = scores(1).requires_grad_(), scores(2)
    mask = torch.zeros(1, PADDED, dtype=torch.bool)
    for loss in (relation_kl, relation_mse):
        value = loss(student, teacher, mask)
        assert (value == 0).all()
        (gradient,) = torch.autograd.grad(value.sum(), student)
        assert (gradient == 0).all()
