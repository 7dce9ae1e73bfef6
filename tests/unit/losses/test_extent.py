"""How much of the teacher a loss looks at decides whether a store can keep it."""

import pytest

from distillkit.losses import (
    Contrast,
    ForwardKL,
    GramMSE,
    HiddenCosine,
    HiddenMSE,
    Loss,
    Mixture,
    Patience,
    Relations,
)
from distillkit.types import Dimensions, StoredLayers

LAST = [[-1, -1]]
BOTH = Dimensions("Both", layers=4, hidden=8, heads=2, queries=8, keys=8)


def mixture(*losses: Loss) -> Mixture:
    names = [f"term{number}" for number in range(len(losses))]
    return Mixture(dict(zip(names, losses, strict=True)), dict.fromkeys(names, 1.0))


@pytest.mark.parametrize(
    ("loss", "teacher_scope"),
    [
        (ForwardKL(), "logits"),
        (Patience(layers="skip"), "first"),
        (Patience(layers=LAST), "first"),
        (HiddenCosine(layers=LAST), "last"),
        (HiddenMSE(layers=LAST, embeddings=False), "last"),
        (HiddenMSE(layers=LAST, embeddings=True), "more"),
        (HiddenMSE(layers=[[1, 3]], embeddings=False), "more"),
        (GramMSE(layers="uniform"), "more"),
        (GramMSE(layers=LAST), "last"),
        (Contrast(layers=LAST), "last"),
        (Relations(layers=LAST), "more"),
        (mixture(ForwardKL(), Patience(layers="last")), "first"),
        (mixture(Patience(layers="last"), HiddenCosine(layers=LAST)), "last"),
        (mixture(HiddenCosine(layers=LAST), Relations(layers=LAST)), "more"),
    ],
    ids=str,
)
def test_it_is_told_before_there_is_a_model(loss: Loss, teacher_scope: str) -> None:
    assert loss.teacher_scope == teacher_scope


def test_the_states_are_those_of_all_terms() -> None:
    loss = mixture(ForwardKL(), Patience(layers=[[1, 1], [2, 4]]), HiddenCosine(layers=LAST))
    loss.bind(BOTH, BOTH)
    assert loss.states == StoredLayers(first=frozenset({1}), whole=frozenset({4}))
    alone = Patience(layers=[[1, 1], [2, 4]])
    alone.bind(BOTH, BOTH)
    assert alone.states == StoredLayers(first=frozenset({1, 4}))
    assert not ForwardKL().states
