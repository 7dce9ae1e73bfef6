"""What every divergence holds to on a few entries of the teacher's distribution."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from distillkit import losses
from distillkit.errors import ConfigError, TargetsError
from distillkit.losses.sparse import Rest
from distillkit.losses.sparse import entries as softened
from distillkit.schedules import Linear
from distillkit.types import Outputs, SoftTargets, SparseTargets
from tests.contract.entries import (
    TEMPERATURES,
    entries_of,
    no_labels,
    top_entries,
    with_unused_entries,
)
from tests.contract.listing import Loss, divergence, each_setting, every, soft

CLASSES, POSITIONS, K = 11, 16, 4
RESTS: tuple[Rest, ...] = ("tail", "renormalise", "ignore")
CASES = each_setting(where=lambda loss: loss.is_divergence)
every_setting = pytest.mark.parametrize(("loss", "settings"), CASES)
finite = pytest.mark.parametrize(
    ("loss", "settings"), [c for c in CASES if c.values[0].rules_out and c.values[0].merges]
)
ValuesAndGradient = tuple[Tensor, Tensor]


def pair(loss: Loss, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return replace(loss, classes=CLASSES).random(POSITIONS, dtype=dtype)


def values_and_gradient(
    loss: Loss, student: Tensor, targets: SparseTargets | SoftTargets, **settings: Any
) -> ValuesAndGradient:
    """The values and the gradient of their sum."""
    student = student.detach().requires_grad_()
    terms = loss.module(**settings)(Outputs(student), targets, no_labels(len(student)))
    values = terms.values["soft"]
    return values.detach(), torch.autograd.grad(values.sum(), student)[0]


def rests(loss: Loss) -> list[Rest]:
    """The policies that the loss is finite with."""
    return [rest for rest in RESTS if rest != "renormalise" or loss.rules_out]


@every_setting
def test_the_whole_vocabulary_is_dense(loss: Loss, settings: dict[str, Any]) -> None:
    student, teacher = pair(loss)
    dense = values_and_gradient(loss, student, SoftTargets(teacher), **settings)
    for rest in rests(loss):
        sparse = values_and_gradient(
            loss, student, top_entries(teacher, CLASSES), rest=rest, **settings
        )
        torch.testing.assert_close(sparse, dense, rtol=1e-9, atol=1e-12)


@every_setting
def test_the_whole_vocabulary_is_dense_in_float32(loss: Loss, settings: dict[str, Any]) -> None:
    student, teacher = pair(loss, torch.float32)
    dense = values_and_gradient(loss, student, SoftTargets(teacher), **settings)
    for rest in rests(loss):
        sparse = values_and_gradient(
            loss, student, top_entries(teacher, CLASSES), rest=rest, **settings
        )
        torch.testing.assert_close(sparse, dense, rtol=1e-5, atol=1e-5)


@every_setting
def test_the_tail_is_one_more_class(loss: Loss, settings: dict[str, Any]) -> None:
    student, teacher = pair(loss)
    targets = top_entries(teacher, K)
    student.requires_grad_()

    def bucketed(logits: Tensor) -> Tensor:
        """Logits at which the softmax at this temperature is that of the buckets."""
        temperature = settings["temperature"]
        p = (logits / temperature).softmax(dim=-1)
        kept = p.gather(-1, targets.ids)
        others = p.scatter(-1, targets.ids, 0.0).sum(dim=-1, keepdim=True)
        return temperature * torch.cat([kept, others], dim=-1).log()

    dense = loss.function(bucketed(student), bucketed(teacher), **settings)
    if settings["reduction"] == "mean":
        dense = dense * (K + 1) / CLASSES
    expected = dense.detach(), torch.autograd.grad(dense.sum(), student)[0]
    sparse = values_and_gradient(loss, student, targets, rest="tail", **settings)
    torch.testing.assert_close(sparse, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "settings"),
    [c for c in CASES if c.values[0].agreement == "zero" and c.values[0].merges],
)
def test_the_tail_never_says_more_than_the_whole(loss: Loss, settings: dict[str, Any]) -> None:
    student, teacher = pair(loss)
    whole = loss.function(student, teacher, **settings)
    known = [
        values_and_gradient(loss, student, top_entries(teacher, k), **settings)[0]
        for k in range(CLASSES)
    ]
    for less, more in zip(known, [*known[1:], whole], strict=True):
        assert (less <= more * (1 + 1e-6) + 1e-12).all()  # 1 - sum p has few digits at k = 10


@finite
def test_renormalised_is_dense_with_the_others_ruled_out(
    loss: Loss, settings: dict[str, Any]
) -> None:
    student, teacher = pair(loss)
    targets = top_entries(teacher, K)
    only = torch.full_like(teacher, -torch.inf)
    only.scatter_(-1, targets.ids, teacher.gather(-1, targets.ids))
    sparse = values_and_gradient(loss, student, targets, rest="renormalise", **settings)
    dense = values_and_gradient(loss, student, SoftTargets(only), **settings)
    torch.testing.assert_close(sparse, dense, rtol=1e-9, atol=1e-12)


@every_setting
def test_ignored_leaves_a_sum_over_single_entries(loss: Loss, settings: dict[str, Any]) -> None:
    student, teacher = pair(loss)
    ids = top_entries(teacher, CLASSES).ids
    singles = [
        values_and_gradient(
            loss, student, entries_of(teacher, ids[:, i : i + 1]), rest="ignore", **settings
        )
        for i in range(CLASSES)
    ]
    for k in (K, CLASSES):
        sums = tuple(torch.stack(parts).sum(dim=0) for parts in zip(*singles[:k], strict=True))
        together = values_and_gradient(
            loss, student, entries_of(teacher, ids[:, :k]), rest="ignore", **settings
        )
        torch.testing.assert_close(together, sums, rtol=1e-9, atol=1e-12)


@every_setting
def test_unused_entries_contribute_nothing(loss: Loss, settings: dict[str, Any]) -> None:
    student, teacher = pair(loss)
    teacher[::2, 0] = 9.0  # id 0, which unused entries name, is sometimes kept and sometimes not
    targets = top_entries(teacher, K)
    for rest in rests(loss):
        plain, padded = (
            values_and_gradient(loss, student, t, rest=rest, **settings)
            for t in (targets, with_unused_entries(targets, 3))
        )
        torch.testing.assert_close(padded, plain, rtol=1e-12, atol=1e-15)


@every(where=divergence)
def test_a_position_without_entries_teaches_nothing(loss: Loss) -> None:
    student, teacher = pair(loss)
    nothing = with_unused_entries(
        entries_of(teacher, torch.zeros(POSITIONS, 0, dtype=torch.int64)), 2
    )
    for rest in rests(loss):
        _, gradient = values_and_gradient(loss, student, nothing, rest=rest)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@every_setting
def test_gradient_is_that_of_the_value(loss: Loss, settings: dict[str, Any]) -> None:
    student, teacher = (logits[:2] for logits in pair(loss))
    targets = top_entries(teacher, K)
    for rest in rests(loss):
        module = loss.module(rest=rest, **settings)
        assert torch.autograd.gradcheck(
            lambda logits, module=module: module(Outputs(logits), targets, no_labels(2)).values[
                "soft"
            ],
            student.requires_grad_(),
        )


@every_setting
@pytest.mark.parametrize("left", [1e-4, 1e-8, 1e-20])
def test_a_student_that_leaves_next_to_nothing_keeps_its_digits(
    loss: Loss, settings: dict[str, Any], left: float
) -> None:
    student, teacher = pair(loss, torch.float32)
    targets = top_entries(teacher, K)
    student.scatter_(-1, targets.ids, student.gather(-1, targets.ids) - torch.tensor(left).log())
    wide = SparseTargets(
        targets.ids,
        targets.log_probs.double(),
        {t: log_z.double() for t, log_z in targets.log_z.items()},
    )
    # of what the teacher leaves, 1 - sum p, float32 has too few digits where it is small
    kept = softened(wide, settings.get("temperature", 1.0)).exp().sum(dim=-1)
    known = kept < 1 - 1e-3
    assert known.sum() > len(known) / 2
    for rest in rests(loss):
        narrow = values_and_gradient(loss, student, targets, rest=rest, **settings)
        exact = values_and_gradient(loss, student.double(), wide, rest=rest, **settings)
        for is_, should_be in zip(narrow, exact, strict=True):
            torch.testing.assert_close(is_.double()[known], should_be[known], rtol=1e-4, atol=1e-5)


@every_setting
def test_extreme_logits_give_finite_values_and_gradients(
    loss: Loss, settings: dict[str, Any]
) -> None:
    student, teacher = pair(loss, torch.float32)
    for sharp_student, sharp_teacher in ((1e4, 1), (1, 1e4), (1e4, 1e4)):
        for rest, few in itertools.product(rests(loss), (1, K)):
            targets = top_entries(sharp_teacher * teacher, few)
            for part in values_and_gradient(
                loss, sharp_student * student, targets, rest=rest, **settings
            ):
                assert part.isfinite().all()


@every(where=divergence)
def test_classes_that_both_rule_out_are_as_if_they_were_not_there(loss: Loss) -> None:
    student, teacher = pair(loss)
    wide = [torch.nn.functional.pad(it, (0, 3), value=-torch.inf) for it in (student, teacher)]
    values, gradient = values_and_gradient(loss, student, SoftTargets(teacher))
    for rest in rests(loss):
        targets = top_entries(wide[1], CLASSES + 1)  # one entry is not used
        wider, grown = values_and_gradient(loss, wide[0], targets, rest=rest)
        torch.testing.assert_close(wider, values, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(grown[:, :CLASSES], gradient, rtol=1e-9, atol=1e-12)
        assert (grown[:, CLASSES:] == 0).all()


@every(where=divergence)
def test_bfloat16_logits_are_computed_in_float32(loss: Loss) -> None:
    student, teacher = pair(loss, torch.bfloat16)
    targets = top_entries(teacher.float(), K)
    values, gradient = values_and_gradient(loss, student, targets)
    assert values.dtype == torch.float32
    torch.testing.assert_close(
        values, values_and_gradient(loss, student.float(), targets)[0], rtol=0, atol=0
    )
    assert gradient.dtype == torch.bfloat16


@every(where=lambda loss: loss.is_divergence and not loss.rules_out)
def test_renormalising_what_a_loss_cannot_do_without_is_refused(loss: Loss) -> None:
    with pytest.raises(ConfigError, match=r"loss.rest = renormalise: .* set loss.rest=tail"):
        loss.module(rest="renormalise")


@pytest.mark.parametrize(
    ("module", "settings"),
    [(losses.JSD, {"beta": 1.0}), (losses.SkewReverseKL, {"skew": 0.0})],
    ids=["jsd", "skew_reverse_kl"],
)
def test_renormalising_is_refused_where_a_setting_makes_it_reverse_kl(
    module: Any, settings: dict[str, float]
) -> None:
    with pytest.raises(ConfigError, match=r"set loss.rest=tail"):
        module(rest="renormalise", **settings)


@every(where=divergence)
def test_a_temperature_that_was_not_captured_is_refused(loss: Loss) -> None:
    student, teacher = pair(loss)
    with pytest.raises(TargetsError) as refused:
        values_and_gradient(loss, student, top_entries(teacher, K), temperature=2.0)
    said = str(refused.value)
    assert said.startswith("loss.temperature = 2: the store was captured at 0.5, 1, 4;")
    assert "targets.codec.temperatures=[0.5, 1, 2, 4]" in said
    assert 2.0 not in TEMPERATURES


@every(where=divergence)
def test_a_temperature_that_changes_is_refused_and_a_constant_one_is_not(loss: Loss) -> None:
    student, teacher = pair(loss)
    targets = top_entries(teacher, K)
    with pytest.raises(TargetsError, match=r"loss\.temperature: goes through all from 1 to 4, .*"):
        values_and_gradient(loss, student, targets, temperature=Linear(4.0, 1.0))
    assert values_and_gradient(loss, student, SoftTargets(teacher), temperature=Linear(4.0, 1.0))
    torch.testing.assert_close(
        values_and_gradient(loss, student, targets, temperature=Linear(4.0, 4.0)),
        values_and_gradient(loss, student, targets, temperature=4.0),
        rtol=0,
        atol=0,
    )


@every(where=lambda loss: loss.from_entries)
@pytest.mark.parametrize("k", [1, K, CLASSES])
def test_what_looks_at_the_likeliest_alone_takes_them_as_it_takes_all(loss: Loss, k: int) -> None:
    student, teacher = pair(loss)
    targets = top_entries(teacher, k)
    expected = values_and_gradient(loss, student, SoftTargets(teacher), top=max(k, 2))
    if k == 1 and loss.name == "rank_net":  # there is no pair
        expected = torch.zeros(POSITIONS).double(), torch.zeros_like(student)
    elif k == 1:
        expected = values_and_gradient(loss, student, SoftTargets(teacher), top=1)
    for entries in (targets, with_unused_entries(targets, 3)):
        sparse = values_and_gradient(loss, student, entries, top=max(k, 2))
        torch.testing.assert_close(sparse, expected, rtol=1e-9, atol=1e-12)


@every(where=lambda loss: soft(loss) and not (loss.is_divergence or loss.from_entries))
def test_logits_cannot_be_compared_with_a_few_entries(loss: Loss) -> None:
    student, teacher = pair(loss)
    with pytest.raises(ConfigError, match="choose loss=forward_kl"):
        values_and_gradient(loss, student, top_entries(teacher, K))
