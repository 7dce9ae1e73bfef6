"""A head's logits are those of the model that it was taken from."""

import pytest
import torch
import torch.nn.functional as F

from distillkit.losses.heads import project, raw_logits
from distillkit.types import Head

HIDDEN, ROWS, SIZE = 16, 12, 10


def tensors(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, weights and biases."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
        for shape in ((2, 3, HIDDEN), (ROWS, HIDDEN), (ROWS,))
    )
    return hidden, weight, bias


def test_it_is_the_product_of_the_rows_that_are_no_padding() -> None:
    hidden, weight, bias = tensors()
    logits = project(hidden, Head(weight, SIZE, bias))
    torch.testing.assert_close(logits, F.linear(hidden, weight, bias)[..., :SIZE])


def test_the_cap_comes_after_the_scale() -> None:
    hidden, weight, bias = tensors()
    plain = F.linear(hidden, weight, bias)[..., :SIZE]
    capped = project(hidden, Head(weight, SIZE, bias, scale=0.5, softcap=3.0))
    torch.testing.assert_close(capped, 3.0 * torch.tanh(0.5 * plain / 3.0))
    assert (capped.abs() < 3.0).all()
    torch.testing.assert_close(project(hidden, Head(weight, SIZE, bias, scale=0.5)), 0.5 * plain)


def test_it_takes_any_shape_and_no_positions() -> None:
    hidden, weight, _ = tensors()
    head = Head(weight, SIZE)
    assert project(hidden[0, 0], head).shape == (SIZE,)
    assert project(hidden[:0], head).shape == (0, 3, SIZE)
    torch.testing.assert_close(project(hidden[1], head), project(hidden, head)[1])


@pytest.mark.parametrize(
    ("of_hidden", "of_weight", "of_logits"),
    [
        (torch.bfloat16, torch.bfloat16, torch.float32),
        (torch.float16, torch.float16, torch.float32),
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float32, torch.bfloat16, torch.float32),
        (torch.float32, torch.float32, torch.float32),
        (torch.float64, torch.float64, torch.float64),
    ],
    ids=str,
)
def test_logits_are_float32_and_no_rounding_is_added(
    of_hidden: torch.dtype, of_weight: torch.dtype, of_logits: torch.dtype
) -> None:
    hidden, weight, bias = tensors()
    hidden, weight, bias = hidden.to(of_hidden), weight.to(of_weight), bias.to(of_weight)
    logits = project(hidden, Head(weight, SIZE, bias))
    assert logits.dtype == of_logits
    exact = F.linear(hidden.double(), weight.double(), bias.double())[..., :SIZE]
    torch.testing.assert_close(logits.double(), exact, rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = project(hidden, Head(weight, SIZE, bias))
    torch.testing.assert_close(again, logits, rtol=0, atol=0)


def test_gradients_are_those_of_the_product() -> None:
    hidden, weight, bias = (tensor.requires_grad_() for tensor in tensors())
    assert torch.autograd.gradcheck(
        lambda h, w, b: project(h, Head(w, SIZE, b, scale=0.5, softcap=3.0)), (hidden, weight, bias)
    )


def test_gradients_come_in_the_kinds_of_the_tensors() -> None:
    hidden, weight, bias = tensors(torch.bfloat16)
    learnt = hidden.requires_grad_(), weight.float().requires_grad_(), bias.requires_grad_()
    logits = project(learnt[0], Head(learnt[1], SIZE, learnt[2]))
    found = torch.autograd.grad(logits.square().sum(), learnt)
    assert [gradient.dtype for gradient in found] == [torch.bfloat16, torch.float32, torch.bfloat16]
    assert (found[1][SIZE:] == 0).all()


def test_a_frozen_head_lets_the_gradient_through() -> None:
    hidden, weight, bias = tensors()
    logits = project(hidden.requires_grad_(), Head(weight, SIZE, bias))
    (gradient,) = torch.autograd.grad(logits.sum(), hidden)
    torch.testing.assert_close(gradient, weight[:SIZE].sum(dim=0).expand_as(gradient))


@pytest.mark.parametrize("of_hidden", [torch.float32, torch.bfloat16], ids=str)
def test_a_product_in_memory_that_is_there_rounds_its_factors_at_most(
    of_hidden: torch.dtype,
) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(40, 256, generator=generator).to(of_hidden)
    weight = torch.randn(300, 256, generator=generator)
    before = torch.backends.mkldnn.matmul.fp32_precision
    into = torch.full((50, 300), torch.nan)
    logits = raw_logits(hidden, Head(weight, 300), into=into)
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    assert logits.dtype == torch.float32 and logits.data_ptr() == into.data_ptr()
    rounded = weight.to(of_hidden).double()
    narrow, exact = hidden.double() @ rounded.T, hidden.double() @ weight.double().T
    # as exact as float32 for one of both: a processor may have such products or not
    errors = [float((logits - known).abs().max()) for known in (narrow, exact)]
    assert min(errors) < 1e-4
    if of_hidden == torch.float32:
        assert errors[1] < 1e-4


def test_without_gradients_the_same_products_are_made_in_new_memory() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(40, 256, generator=generator).bfloat16()
    head = Head(torch.randn(303, 256, generator=generator), 300)
    with torch.no_grad():
        logits = raw_logits(hidden, head)
    assert logits.dtype == torch.float32 and not logits.requires_grad
    assert torch.equal(logits, raw_logits(hidden, head, into=torch.empty(40, 300)))
