"""Layer maps: the published ones, and what is refused."""

from typing import Any

import pytest

from distillkit.errors import ConfigError
from distillkit.losses.layer_maps import drawing, layer_pairs
from distillkit.types import Dimensions


def model(layers: int) -> Dimensions:
    return Dimensions("Tiny", layers, 8)


def pairs(chosen: Any, student: int = 4, teacher: int = 12, lowest: int = 1) -> Any:
    return layer_pairs(chosen, model(student), model(teacher), key="loss.layers", lowest=lowest)


@pytest.mark.parametrize(
    ("chosen", "student", "expected"),
    [
        ("uniform", 4, [(1, 3), (2, 6), (3, 9), (4, 12)]),  # TinyBERT-4
        ("skip", 6, [(1, 2), (2, 4), (3, 6), (4, 8), (5, 10)]),  # PKD-Skip
        ("last", 6, [(1, 7), (2, 8), (3, 9), (4, 10), (5, 11)]),  # PKD-Last
        ("first", 3, [(1, 1), (2, 2), (3, 3)]),
        ("uniform", 5, [(1, 2), (2, 4), (3, 7), (4, 9), (5, 12)]),
        ([[-1, -1], [1, -12]], 4, [(4, 12), (1, 1)]),
    ],
)
def test_a_map_gives_the_published_pairs(chosen: Any, student: int, expected: Any) -> None:
    assert pairs(chosen, student) == expected


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (
            [[5, 3]],
            r"\[5, 3\]: the student has layers 1 to 4, or -1 for the last; it has no 5",
        ),
        ([[1, 13]], "the teacher has layers 1 to 12"),
        ([[1, -13]], "it has no -13"),
        ([[0, 0]], "it has no 0"),
        ([[1, 2, 3]], "a pair is a layer of the student and one of the teacher"),
    ],
)
def test_a_layer_that_is_not_there_is_named(chosen: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pairs(chosen)


def test_embeddings_are_a_layer_where_they_may_be() -> None:
    assert pairs([[0, 0]], lowest=0) == [(0, 0)]


@pytest.mark.parametrize(
    ("chosen", "student", "said"),
    [
        ("uniform", 13, "the student has 13 layers and the teacher 12"),
        ("skip", 1, "leaves the last layer out"),
        ("uniform", 0, "the student, a Tiny, has no layers to compare"),
    ],
)
def test_a_map_that_leads_nowhere_is_refused(chosen: str, student: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pairs(chosen, student)


def test_a_drawing_has_the_student_under_the_teacher() -> None:
    drawn = drawing([(0, 0), (1, 3), (2, 3)], model(4))
    assert drawn.splitlines() == [
        "  teacher    0    1    2    3    4",
        "             │              │",
        "  student    0            1,2",
    ]
