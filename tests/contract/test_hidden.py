"""A loss of hidden states is the loss of their logits, however it is cut into chunks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from distillkit.errors import TargetsError
from distillkit.losses import chunked, reduce_terms
from distillkit.losses.heads import project
from distillkit.types import (
    HardLabels,
    Head,
    HiddenOutputs,
    HiddenTargets,
    LossTerms,
    Outputs,
    SoftTargets,
    Targets,
)
from tests.contract.entries import top_entries
from tests.contract.listing import NAMES, Loss, every, soft

POSITIONS, CLASSES, HIDDEN, TEACHER_HIDDEN, PADDING = 13, 11, 5, 7, 3
HEADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"bias": True},
    "scale": {"scale": 0.3},
    "softcap": {"softcap": 4.0},
    "everything": {"bias": True, "scale": 0.3, "softcap": 4.0},
}
LossAndGradients = tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]  # total, shares, gradients

every_head = pytest.mark.parametrize("kind", HEADS)


def wide(loss: Loss) -> Loss:
    """The loss with the classes of a vocabulary, if it has classes."""
    return replace(loss, classes=CLASSES) if loss.classes > 1 else loss


def head(classes: int, hidden: int, kind: str = "plain", *, seed: int = 1) -> Head:
    """A head whose weights are padded to more rows than there are classes."""
    generator = torch.Generator().manual_seed(seed)
    settings = dict(HEADS[kind])
    rows = classes + PADDING
    weight = torch.randn(rows, hidden, generator=generator, dtype=torch.float64)
    if settings.pop("bias", False):
        settings["bias"] = torch.randn(rows, generator=generator, dtype=torch.float64)
    return Head(weight, classes, **settings)


def states(hidden: int, *, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(POSITIONS, hidden, generator=generator, dtype=torch.float64)


def labels_for(loss: Loss) -> HardLabels:
    values = torch.arange(POSITIONS) % loss.classes
    if loss.target == "real":
        values = values.double() + 0.5
    return HardLabels(values, torch.arange(POSITIONS) % 3 != 2, loss.task.per_example)


def teachers(loss: Loss, kind: str = "plain") -> HiddenTargets:
    return HiddenTargets(
        states(TEACHER_HIDDEN, seed=3), head(loss.classes, TEACHER_HIDDEN, kind, seed=4)
    )


def loss_and_gradients(
    loss: Loss, hidden: Tensor, of: Head, targets: Targets | None, *, in_chunks: bool
) -> LossAndGradients:
    """Total, shares and gradients of a step, from hidden states or from their logits."""
    leaves = {"hidden": hidden, "weight": of.weight}
    if of.bias is not None:
        leaves["bias"] = of.bias
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in leaves.items()}
    of = replace(of, weight=leaves["weight"], bias=leaves.get("bias"))
    outputs = (
        HiddenOutputs(leaves["hidden"], of) if in_chunks else Outputs(project(leaves["hidden"], of))
    )
    module = loss.module(**({"hard_weight": 0.3} if soft(loss) else {}))
    terms = module(outputs, targets if soft(loss) else None, labels_for(loss))
    total, shares = reduce_terms(terms, count=2 * POSITIONS)
    (3.0 * total).backward()
    return total.detach(), shares, {n: t.grad for n, t in leaves.items() if t.grad is not None}


def limit_chunk(monkeypatch: pytest.MonkeyPatch, positions: int, classes: int) -> None:
    """Hold the logits of so many positions at a time."""
    monkeypatch.setattr(chunked, "CHUNK_BYTES", 8 * classes * positions)


def assert_same(one: LossAndGradients, other: LossAndGradients) -> None:
    assert one[2].keys() == other[2].keys()
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert all(gradient.abs().max() > 1e-6 for gradient in one[2].values())


def all_targets(loss: Loss) -> Iterator[Targets | None]:
    """All that the loss can learn from; the first two are the same teacher."""
    if not soft(loss):
        yield None
        return
    hidden = teachers(loss, "everything")
    logits = project(hidden.hidden, hidden.head)
    yield SoftTargets(logits)
    yield hidden
    if loss.is_divergence or loss.from_entries:
        yield top_entries(logits, 4)


@every()
@every_head
@pytest.mark.parametrize(
    "positions",
    [
        pytest.param(1, id="one", marks=pytest.mark.slow),
        pytest.param(7, id="7"),
        pytest.param(POSITIONS, id="all", marks=pytest.mark.slow),
    ],
)
def test_hidden_states_in_chunks_are_their_logits(
    loss: Loss, kind: str, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = wide(loss)
    student = states(HIDDEN), head(loss.classes, HIDDEN, kind)
    limit_chunk(monkeypatch, positions, loss.classes)
    for targets in all_targets(loss):
        dense = loss_and_gradients(loss, *student, targets, in_chunks=False)
        assert_same(loss_and_gradients(loss, *student, targets, in_chunks=True), dense)


@every(where=soft)
@every_head
@pytest.mark.parametrize("in_chunks", [False, True], ids=["logits", "hidden states"])
def test_a_teachers_hidden_states_are_its_logits(
    loss: Loss, kind: str, in_chunks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = wide(loss)
    limit_chunk(monkeypatch, 4, loss.classes)
    student, hidden = (states(HIDDEN), head(loss.classes, HIDDEN)), teachers(loss, kind)
    logits = SoftTargets(project(hidden.hidden, hidden.head))
    assert_same(
        loss_and_gradients(loss, *student, hidden, in_chunks=in_chunks),
        loss_and_gradients(loss, *student, logits, in_chunks=in_chunks),
    )


@every()
def test_padding_of_the_vocabulary_has_no_gradient(loss: Loss) -> None:
    loss = wide(loss)
    of = head(loss.classes, HIDDEN, "bias")
    targets = next(all_targets(loss))
    _, _, gradients = loss_and_gradients(loss, states(HIDDEN), of, targets, in_chunks=True)
    assert (gradients["weight"][loss.classes :] == 0).all()
    assert (gradients["bias"][loss.classes :] == 0).all()


@every()
def test_bfloat16_is_rounded_at_the_ends_only(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient in bfloat16 is the one in float64, rounded once: to 8 bits, so by 2^-8."""
    loss = wide(loss)
    limit_chunk(monkeypatch, 4, loss.classes)
    of = head(loss.classes, HIDDEN, "everything")
    hidden = states(HIDDEN).bfloat16()
    narrow = replace(of, weight=of.weight.bfloat16(), bias=of.bias.bfloat16())  # type: ignore[union-attr]
    exact = replace(of, weight=narrow.weight.double(), bias=narrow.bias.double())  # type: ignore[union-attr]
    targets = next(all_targets(loss))
    _, _, rough = loss_and_gradients(loss, hidden, narrow, targets, in_chunks=True)
    _, _, whole = loss_and_gradients(loss, hidden.double(), exact, targets, in_chunks=True)
    for name, gradient in whole.items():
        assert rough[name].dtype == torch.bfloat16
        error = (rough[name].double() - gradient).norm() / gradient.norm()
        assert error < 2**-8, name


@every()
def test_autocast_has_no_say(loss: Loss) -> None:
    loss = wide(loss)
    student = (
        states(HIDDEN).float(),
        replace(head(loss.classes, HIDDEN), weight=head(loss.classes, HIDDEN).weight.float()),
    )
    for targets in all_targets(loss):
        plain = loss_and_gradients(loss, *student, targets, in_chunks=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(
                loss_and_gradients(loss, *student, targets, in_chunks=True), plain, rtol=0, atol=0
            )


def terms_of(loss: Loss, hidden: Tensor, of: Head, count: int = POSITIONS) -> LossTerms:
    module = loss.module(**({"hard_weight": 0.3} if soft(loss) else {}))
    targets = next(all_targets(loss))
    rows = slice(0, count)
    labels = labels_for(loss).part(rows)
    terms: LossTerms = module(HiddenOutputs(hidden, of), targets and targets.part(rows), labels)
    return terms


@every()
def test_no_positions_give_a_zero_with_gradients_of_zero(loss: Loss) -> None:
    loss = wide(loss)
    hidden = states(HIDDEN)[:0].requires_grad_()
    of = head(loss.classes, HIDDEN)
    of.weight.requires_grad_()
    total, shares = reduce_terms(terms_of(loss, hidden, of, count=0), count=POSITIONS)
    assert total == 0
    assert all(share == 0 for share in shares.values())
    by_hidden, by_weight = torch.autograd.grad(total, [hidden, of.weight])
    assert by_hidden.shape == hidden.shape
    assert (by_weight == 0).all()


@every()
def test_a_frozen_head_and_frozen_states_get_no_gradient(loss: Loss) -> None:
    loss = wide(loss)
    hidden, of = states(HIDDEN), head(loss.classes, HIDDEN)
    both = loss_and_gradients(loss, hidden, of, next(all_targets(loss)), in_chunks=True)[2]
    for frozen, learnt in (("weight", hidden), ("hidden", of.weight)):
        learnt.requires_grad_()
        total, _ = reduce_terms(terms_of(loss, hidden, of), count=2 * POSITIONS)
        (gradient,) = torch.autograd.grad(3.0 * total, learnt)
        expected = both["hidden" if frozen == "weight" else "weight"]
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)
        learnt.requires_grad_(False)


@every()
def test_without_gradients_the_loss_is_the_same_number(loss: Loss) -> None:
    loss = wide(loss)
    hidden, of = states(HIDDEN).requires_grad_(), head(loss.classes, HIDDEN)
    learning, _ = reduce_terms(terms_of(loss, hidden, of), count=POSITIONS)
    with torch.no_grad():
        looking, _ = reduce_terms(terms_of(loss, hidden, of), count=POSITIONS)
    assert learning.requires_grad
    assert not looking.requires_grad
    torch.testing.assert_close(looking, learning.detach(), rtol=0, atol=0)


@every()
def test_a_head_that_is_the_embedding_too_gets_both_gradients(loss: Loss) -> None:
    loss = wide(loss)
    of = head(loss.classes, HIDDEN)
    tokens = torch.arange(POSITIONS) % loss.classes
    targets = next(all_targets(loss))
    module = loss.module(**({"hard_weight": 0.3} if soft(loss) else {}))
    gradients = []
    for in_chunks in (False, True):
        weight = of.weight.detach().clone().requires_grad_()
        tied, hidden = replace(of, weight=weight), torch.tanh(weight[tokens])
        outputs = HiddenOutputs(hidden, tied) if in_chunks else Outputs(project(hidden, tied))
        total, _ = reduce_terms(module(outputs, targets, labels_for(loss)), count=POSITIONS)
        gradients += torch.autograd.grad(total, weight)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-12)


@every(where=soft)
@pytest.mark.parametrize("in_chunks", [False, True], ids=["logits", "hidden states"])
def test_a_teacher_with_other_classes_is_refused(loss: Loss, in_chunks: bool) -> None:
    loss = wide(loss)
    student = states(HIDDEN), head(loss.classes, HIDDEN)
    other = teachers(replace(loss, classes=CLASSES + 1))
    for targets in (other, SoftTargets(project(other.hidden, other.head))):
        with pytest.raises(TargetsError, match="the teacher has 12 classes and the student 11"):
            loss_and_gradients(loss, *student, targets, in_chunks=in_chunks)


def test_the_gradients_can_be_taken_once() -> None:
    loss = wide(NAMES["forward_kl"])
    hidden = states(HIDDEN).requires_grad_()
    total, _ = reduce_terms(terms_of(loss, hidden, head(CLASSES, HIDDEN)), count=POSITIONS)
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        total.backward()
