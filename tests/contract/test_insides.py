"""What every loss on the inside of two models must do, by being listed."""

from dataclasses import replace

import torch
from torch import Tensor

from distillkit.losses.layered import LayeredLoss
from distillkit.types import Activations, HardLabels, Outputs, PairedActivations
from tests.contract.inside_listing import (
    LAYERS,
    InsideLoss,
    every_loss,
    every_loss_and_contrast,
    insides,
    random_texts,
)

LENGTHS = [5, 3, 7]
NAMES = ("hidden", "queries", "keys", "values")


def values(loss: LayeredLoss, batch: PairedActivations) -> Tensor:
    nothing = torch.zeros(len(batch.text_index))
    labels = HardLabels(nothing.long(), nothing.bool(), None)
    terms = loss(Outputs(nothing), None, labels, batch)
    (found,) = terms.values.values()
    return found


def map_activations(inside: Activations, change: object) -> Activations:
    assert callable(change)
    return replace(
        inside, **{n: {k: change(t) for k, t in getattr(inside, n).items()} for n in NAMES}
    )


@every_loss
def test_it_agrees_with_the_reference(loss: InsideLoss) -> None:
    built = loss.build()
    mine = random_texts(2, loss.width, LENGTHS, seed=1)
    theirs = random_texts(LAYERS, 8, LENGTHS, seed=2)
    expected = [loss.reference(s, t, built) for s, t in zip(mine, theirs, strict=True)]
    torch.testing.assert_close(
        values(built, insides(loss, LENGTHS)), torch.tensor(expected).double(), rtol=1e-6, atol=0
    )


@every_loss_and_contrast
def test_padding_changes_nothing(loss: InsideLoss) -> None:
    built = loss.build()
    short = values(built, insides(loss, LENGTHS))
    long = values(built, insides(loss, LENGTHS, tokens=11, padding=1e3))
    torch.testing.assert_close(long, short)


@every_loss
def test_a_text_does_not_depend_on_its_batch(loss: InsideLoss) -> None:
    built, batch = loss.build(), insides(loss, LENGTHS)
    alone = [
        values(
            built,
            PairedActivations(
                map_activations(batch.student, lambda t, i=i: t[i : i + 1]),
                map_activations(batch.teacher, lambda t, i=i: t[i : i + 1]),
                batch.mask[i : i + 1],
                torch.zeros(1).long(),
            ),
        )
        for i in range(len(LENGTHS))
    ]
    torch.testing.assert_close(torch.cat(alone), values(built, batch))


@every_loss_and_contrast
def test_every_position_has_the_value_of_its_text(loss: InsideLoss) -> None:
    built, batch = loss.build(), insides(loss, LENGTHS)
    owners = torch.tensor([0, 0, 2, 1, 2])
    torch.testing.assert_close(
        values(built, replace(batch, text_index=owners)), values(built, batch)[owners]
    )


@every_loss_and_contrast
def test_the_gradient_is_that_of_its_values(loss: InsideLoss) -> None:
    built, batch = loss.build(), insides(loss, [2, 3])
    looked_at = built.activation_specs[0]
    places = [(n, k) for n in NAMES for k in sorted(getattr(looked_at, n))]
    tensors = [getattr(batch.student, n)[k].requires_grad_() for n, k in places]

    def total(*_: Tensor) -> Tensor:
        return values(built, batch).sum()

    assert torch.autograd.gradcheck(total, (*tensors, *built.parameters()), atol=1e-6)


@every_loss_and_contrast
def test_narrow_numbers_are_compared_in_float32(loss: InsideLoss) -> None:
    built, batch = loss.build().float(), insides(loss, LENGTHS)
    narrow = replace(
        batch,
        student=map_activations(batch.student, lambda t: t.bfloat16()),
        teacher=map_activations(batch.teacher, lambda t: t.bfloat16()),
    )
    wide = replace(
        narrow,
        student=map_activations(narrow.student, lambda t: t.float()),
        teacher=map_activations(narrow.teacher, lambda t: t.float()),
    )
    with torch.autocast("cpu", torch.bfloat16):
        found = values(built, narrow)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, values(built, wide))


@every_loss
def test_it_is_zero_where_the_student_is_the_teacher(loss: InsideLoss) -> None:
    twin = replace(loss, width=8)
    built = twin.build()
    for projection in getattr(built, "projections", []):
        torch.nn.init.eye_(projection.weight)
        torch.nn.init.zeros_(projection.bias)
    batch = insides(twin, LENGTHS)
    pairs = dict(built.pairs)

    def teacher_layers(of: dict[int, Tensor]) -> dict[int, Tensor]:
        return {mine: of[theirs] for mine, theirs in pairs.items() if theirs in of}

    student = Activations(**{n: teacher_layers(getattr(batch.teacher, n)) for n in NAMES}, heads=4)
    found = values(built, replace(batch, student=student))
    torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-12, rtol=0)
