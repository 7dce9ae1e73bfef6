"""What every loss holds to as a module: its terms, hard labels among them, and their reduction."""

from typing import Any

import pytest
import torch

from distillkit.errors import ConfigError
from distillkit.losses import ForwardKL, SoftCrossEntropy, reduce_terms
from distillkit.types import HardLabels, LossTerms, Outputs, SoftTargets
from tests.contract.listing import Loss, every, soft

LABELLED = torch.tensor([True, False, True, True, False, False])
COUNT = len(LABELLED)


def labels_for(loss: Loss, labelled: torch.Tensor = LABELLED) -> HardLabels:
    values = torch.arange(len(labelled)) % loss.classes
    if loss.target == "real":
        values = values.double() + 0.5
    return HardLabels(values, labelled, loss.task.per_example)


def terms_of(
    loss: Loss,
    student: torch.Tensor,
    labels: HardLabels,
    target: torch.Tensor | None = None,
    **settings: Any,
) -> LossTerms:
    """The module's terms; a loss that learns from labels alone gets no soft targets."""
    module = loss.make(**settings)
    found: LossTerms = module(Outputs(student), SoftTargets(target) if soft(loss) else None, labels)
    return found


@every()
def test_a_module_says_whether_it_needs_a_teacher(loss: Loss) -> None:
    assert loss.module.needs_teacher is soft(loss)


@every(where=soft)
def test_the_soft_term_is_the_function_at_the_modules_settings(loss: Loss) -> None:
    student, target = loss.random(COUNT)
    for settings in loss.settings():
        terms = terms_of(loss, student, labels_for(loss), target, **settings)
        assert dict(terms.weights) == {"soft": 1.0}
        ids = labels_for(loss).values.masked_fill(~LABELLED, -1)
        expected = loss.values(student, target, labels=ids, **settings)
        torch.testing.assert_close(terms.values["soft"], expected, rtol=0, atol=0)


@every()
def test_hard_labels_count_only_where_labelled(loss: Loss) -> None:
    student, target = loss.random(COUNT)
    labels = labels_for(loss)
    weights = {"hard_weight": 0.3} if soft(loss) else {}
    student.requires_grad_()
    hard = terms_of(loss, student, labels, target, **weights).values["hard"]
    expected = loss.task.per_example(student, labels.values)
    torch.testing.assert_close(hard[LABELLED], expected[LABELLED])
    assert (hard[~LABELLED] == 0).all()
    (gradient,) = torch.autograd.grad(hard.sum(), student)
    assert (gradient[~LABELLED] == 0).all()
    assert (gradient[LABELLED] != 0).any(dim=-1).all()


@every()
def test_the_whole_is_normalised_by_the_count_of_the_step(loss: Loss) -> None:
    student, target = loss.random(COUNT)
    weights = {"soft_weight": 0.7, "hard_weight": 0.3} if soft(loss) else {}
    terms = terms_of(loss, student, labels_for(loss), target, **weights)
    total, shares = reduce_terms(terms, count=2 * COUNT)
    by_hand = {name: values.sum() / (2 * COUNT) for name, values in terms.values.items()}
    assert shares.keys() == by_hand.keys() == terms.weights.keys()
    for name, share in shares.items():
        torch.testing.assert_close(share, by_hand[name])
        assert not share.requires_grad
    assert terms.weights == ({"soft": 0.7, "hard": 0.3} if soft(loss) else {"hard": 1.0})
    expected = sum(terms.weights[name] * share for name, share in by_hand.items())
    torch.testing.assert_close(total, expected)


@every()
@pytest.mark.parametrize("size", [1, 2, 4])
def test_cutting_a_batch_into_chunks_changes_nothing(loss: Loss, size: int) -> None:
    student, target = loss.random(COUNT)
    weights = {"hard_weight": 0.3} if soft(loss) else {}
    labels = labels_for(loss)

    def total_of(rows: slice, logits: torch.Tensor) -> torch.Tensor:
        part = HardLabels(labels.values[rows], labels.label_mask[rows], labels.per_example)
        terms = terms_of(loss, logits[rows], part, target[rows], **weights)
        return reduce_terms(terms, count=COUNT)[0]

    whole, cut = (student.clone().requires_grad_() for _ in range(2))
    once = total_of(slice(None), whole)
    pieces = torch.stack([total_of(slice(i, i + size), cut) for i in range(0, COUNT, size)]).sum()
    torch.testing.assert_close(pieces, once)
    torch.testing.assert_close(
        torch.autograd.grad(pieces, cut), torch.autograd.grad(once, whole), rtol=1e-6, atol=1e-9
    )


@every()
def test_bfloat16_outputs_give_float32_terms_and_finite_gradients(loss: Loss) -> None:
    student, target = loss.random(COUNT, dtype=torch.bfloat16)
    weights = {"hard_weight": 0.3} if soft(loss) else {}
    student.requires_grad_()
    terms = terms_of(loss, student, labels_for(loss), target, **weights)
    assert {values.dtype for values in terms.values.values()} == {torch.float32}
    (gradient,) = torch.autograd.grad(reduce_terms(terms, count=COUNT)[0], student)
    assert gradient.isfinite().all()


@every()
def test_a_batch_without_one_label_has_a_hard_term_of_zero(loss: Loss) -> None:
    student, target = loss.random(COUNT)
    weights = {"hard_weight": 0.3} if soft(loss) else {}
    labels = labels_for(loss, torch.zeros(COUNT, dtype=torch.bool))
    terms = terms_of(loss, student.requires_grad_(), labels, target, **weights)
    total, shares = reduce_terms(terms, count=COUNT)
    assert shares["hard"] == 0
    assert torch.autograd.grad(total, student)[0].isfinite().all()


@every(where=soft)
def test_a_loss_that_learns_nothing_from_the_teacher_is_refused(loss: Loss) -> None:
    with pytest.raises(ConfigError, match="loss=hard_labels"):
        loss.module(soft_weight=0.0, hard_weight=1.0)


@pytest.mark.parametrize("module", [ForwardKL, SoftCrossEntropy])
def test_a_softmax_over_one_real_value_is_refused(module: Any) -> None:
    one = torch.zeros(COUNT, 1)
    labels = HardLabels(one[:, 0], LABELLED, None)
    with pytest.raises(ConfigError, match="loss=logit_mse"):
        module()(Outputs(one), SoftTargets(one), labels)
