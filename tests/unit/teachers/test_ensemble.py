"""An ensemble's members and weights, and what is no ensemble."""

from typing import Any

import pytest

from distillkit.errors import ConfigError
from distillkit.teachers import EnsembleTeacher


def test_each_ready_teacher_is_a_member_with_its_own_labels() -> None:
    labels = [["a", "b"], None]
    ensemble = EnsembleTeacher(teachers=["./one", "./two"], labels=labels, dtype="bfloat16")
    assert [(it.path, it.labels) for it in ensemble.members] == [
        ("./one", ["a", "b"]),
        ("./two", None),
    ]
    assert {it.key for it in ensemble.members} == {"teacher.teachers"}
    assert {it.dtype for it in ensemble.members} == {"bfloat16"}
    assert ensemble.source_name == "one + two"
    assert ensemble.is_ready


def test_a_body_is_fitted_once_from_each_seed() -> None:
    ensemble = EnsembleTeacher(body="./body", seeds=[3, 5], lr=0.1)
    assert [(it.body, it.seed, it.lr) for it in ensemble.members] == [
        ("./body", 3, 0.1),
        ("./body", 5, 0.1),
    ]
    assert not ensemble.is_ready
    assert ensemble.source_name == "2 x body"


@pytest.mark.parametrize(
    ("weights", "shares"),
    [(None, (0.5, 0.5)), ([1.0, 3.0], (0.25, 0.75)), ([2.0, 2.0], (0.5, 0.5))],
)
def test_weights_are_divided_by_their_sum(weights: Any, shares: tuple[float, ...]) -> None:
    assert EnsembleTeacher(teachers=["a", "b"], weights=weights).shares == shares


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "teacher: neither of teacher.teachers"),
        ({"teachers": ["a", "b"], "body": "c"}, "teacher: both of teacher.teachers"),
        ({"teachers": ["a"]}, r"teacher\.teachers = \['a'\]: an ensemble takes two or more"),
        ({"body": "a", "seeds": [1]}, r"teacher\.seeds = \[1\]: an ensemble takes two or more"),
        ({"body": "a"}, r"teacher\.seeds = \[\]"),
        ({"body": "a", "seeds": [1, 2, 1]}, r"teacher\.seeds: 1 stands there twice"),
        ({"teachers": ["a", "b"], "weights": [1.0]}, r"weights = \[1\.0\]: 1 for 2 teachers"),
        ({"teachers": ["a", "b"], "weights": [1.0, 0.0]}, "must be positive"),
        ({"teachers": ["a", "b"], "weights": [1.0, float("nan")]}, "must be positive"),
        ({"teachers": ["a", "b"], "labels": [["x"]]}, r"teacher\.labels = .*an entry for each"),
        ({"body": "a", "seeds": [1, 2], "labels": [["x"], ["y"]]}, r"teacher\.labels"),
    ],
)
def test_what_is_no_ensemble_is_refused_in_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        EnsembleTeacher(**settings)
    assert len(caught.value.problems) == 1
