"""Answers are compared as SQuAD's own script compares them."""

import pytest

from distillkit.metrics.answers import answer_scores, normalise_answer


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Beatles!", "beatles"),
        ("a cat, an owl and the theory", "cat owl and theory"),
        ("U.S.", "us"),
        ("the", ""),
    ],
)
def test_case_punctuation_articles_and_blanks_do_not_count(text: str, normal: str) -> None:
    assert normalise_answer(text) == normal


@pytest.mark.parametrize(
    ("answer", "references", "exact", "f1"),
    [
        ("the Eiffel Tower", ["Eiffel Tower", "tower"], 1.0, 1.0),
        ("big Eiffel Tower", ["Eiffel Tower"], 0.0, 0.8),  # 2 of 3 and 2 of 2
        ("Tower", ["Eiffel Tower", "a tower in Paris"], 0.0, 2 / 3),  # the best reference
        ("one one", ["one two"], 0.0, 0.5),  # a word counts as often as it stands there
        ("", [], 1.0, 1.0),
        ("Tower", [], 0.0, 0.0),
        ("", ["Tower"], 0.0, 0.0),
    ],
)
def test_scores_by_hand(answer: str, references: list[str], exact: float, f1: float) -> None:
    assert answer_scores(answer, references) == (exact, pytest.approx(f1))
