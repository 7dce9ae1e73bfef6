"""Classes and examples of an evaluation, by hand; how long an artifact was made."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.artifacts.timing import stopwatch
from distillkit.artifacts.workspace import Workspace
from distillkit.data.corpus import Split
from distillkit.evaluation.classes import by_class
from distillkit.evaluation.disagreements import MOST, disagreements, of_texts
from distillkit.tasks import (
    Classification,
    HeldOut,
    MultiLabel,
    QuestionAnswering,
    TokenClassification,
)
from distillkit.token_table import TokenTable
from distillkit.types import LabelSpace


def held_out(labels: Any, names: tuple[str, ...], texts: list[str] | None = None) -> HeldOut:
    count = len(labels)
    keys = np.array([b"%d" % i for i in range(count)], "S16")
    rows = [np.array([1, 2])] * count
    table = TokenTable.of_rows(rows, keys, [np.zeros(1, np.int64)] * count)
    table = replace(table, labels=np.asarray(labels))
    split = Split(keys, texts or ["x"] * count, None, None)
    return HeldOut(table, LabelSpace(names), split)


def test_classes_by_hand() -> None:
    logits = np.array([[2.0, 0, 0], [0, 2, 0], [0, 2, 0], [0, 0, 2]])
    it = held_out([0, 0, 1, 1], ("a", "b", "c"))
    found = by_class({"student": logits}, Classification(), {"student": it})
    assert found["support"] == [2, 2, 0]
    scores = found["rows"]["student"]
    assert scores["precision"] == [1.0, 0.5, 0.0]
    assert scores["recall"] == [0.5, 0.5, 0.0]
    assert scores["f1"] == pytest.approx([2 / 3, 0.5, 0.0], abs=1e-6)
    assert scores["confusion"] == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_of_many_classes_the_worst_are_shown() -> None:
    names = tuple(f"n{i}" for i in range(30))
    labels = np.arange(30).repeat(2)
    logits = np.eye(30)[labels]
    logits[::2][7] = logits[::2][9] = np.eye(30)[0]  # an example of 7 and one of 9 are wrong
    it = held_out(labels, names)
    found = by_class({"student": logits}, Classification(), {"student": it})
    assert found["classes"] == 30
    assert found["names"][:3] == ["n0", "n7", "n9"] or set(found["names"][:3]) == {"n0", "n7", "n9"}
    assert len(found["names"]) == 20
    assert "confusion" not in found["rows"]["student"]


def test_labels_that_may_all_hold_have_scores_and_no_confusion() -> None:
    logits = np.array([[1.0, -1.0], [1.0, 1.0]])
    it = held_out([[1, 0], [0, 1]], ("a", "b"))
    found = by_class({"student": logits}, MultiLabel(), {"student": it})
    assert found["rows"]["student"]["f1"] == pytest.approx([2 / 3, 1.0], abs=1e-6)
    assert "confusion" not in found["rows"]["student"]


def test_the_most_different_example_comes_first() -> None:
    teacher = np.array([[3.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    student = np.array([[3.0, 0.0], [0.0, 3.0], [0.0, 1.0]])
    it = held_out([0, 0, 1], ("bad", "good"), ["same", "other", "surer"])
    every = {"teacher": it, "student": it}
    found = disagreements({"teacher": teacher, "student": student}, Classification(), every)
    assert [line["text"] for line in found] == ["other", "surer"]  # and none of no difference
    assert (found[0]["label"], found[0]["teacher"], found[0]["student"]) == ("bad", "bad", "good")
    assert found[0]["teacher_confidence"] == pytest.approx(0.9526, abs=1e-4)
    p = 1 / (1 + np.exp(-3))
    assert found[0]["distance"] == pytest.approx(3 * p - 3 * (1 - p), abs=1e-4)
    assert found[0]["row"] == 2


def test_there_are_at_most_twenty_and_long_texts_are_cut() -> None:
    count = MOST + 5
    logits = np.stack([np.arange(count) / 9 + 1, np.zeros(count)], axis=1)
    it = held_out([0] * count, ("a", "b"), ["word " * 5000] * count)
    both = {"teacher": logits, "student": -logits}
    found = disagreements(both, Classification(), {"teacher": it, "student": it})
    assert len(found) == MOST
    assert all(len(line["text"]) <= 410 for line in found)


def test_of_tagged_words_those_are_shown_that_are_tagged_otherwise() -> None:
    keys = np.zeros(3, "S16")
    rows = [np.array([1, 5, 6, 2]), np.array([1, 7, 2]), np.array([1, 8, 9, 2])]
    masks = [np.array([False, *([True] * (len(row) - 2)), False]) for row in rows]
    labels = [np.array([0, 1]), np.array([1]), np.array([0, 0])]
    places = [np.array([0, 2]), np.array([0]), np.array([0, 1])]
    table = TokenTable.of_rows(rows, keys, labels, loss_mask=masks, word_index=places)
    words = [["an", "\u200b", "Ada"], ["Bo"], ["no", "one"]]
    texts = [" ".join(row) for row in words]
    split = Split(keys, texts, None, None, words=words, numbers=np.array([4, 5, 9]))
    it = HeldOut(table, LabelSpace(("O", "PER")), split)
    teacher = np.array([[3.0, 0], [0, 3], [0, 3], [3, 0], [3, 0]])
    student = np.array([[3.0, 0], [3, 0], [0, 1], [3, 0], [3, 0]])
    both = {"teacher": teacher, "student": student}
    task = TokenClassification(entities=False)
    found = disagreements(both, task, {"teacher": it, "student": it})
    assert [(line["row"], line["label"], line["teacher"], line["student"]) for line in found] == [
        (4, "Ada/PER", "Ada/PER", "Ada/O"),
        (5, "Bo/PER", "Bo/PER", "Bo/PER"),  # surer, not other
    ]
    p = 1 / (1 + np.exp(-3))
    assert found[0]["distance"] == pytest.approx((6 * p - 3) / 2, abs=1e-4)  # of two words


def test_of_questions_the_answers_are_shown_and_their_windows_are_one() -> None:
    keys = np.zeros(3, "S16")
    passage = "a b c"
    spans = [np.array([[0, 0], [0, 0], [0, 1], [2, 3], [4, 5]], np.int32)] * 3
    allowed = [np.array([True, False, True, True, True])] * 3
    rows = [np.array([1, 5, 6, 7, 8])] * 3
    labels = [np.array([2, 2]), np.array([0, 0]), np.array([3, 3])]
    table = TokenTable.of_rows(
        rows, keys, labels, answer_mask=allowed, char_spans=spans, text_index=np.array([0, 0, 1])
    )
    answers = [[("a", 0), ("a", 0)], [("b", 2)]]
    split = Split(keys[:2], ["first?", "second?"], [passage] * 2, None, answers=answers)
    it = HeldOut(table, LabelSpace(("start", "end")), split)

    def says(*tokens: int) -> np.ndarray:
        logits = np.full((6, 5), 0.0)
        logits[:, 1] = -np.inf
        for window, token in enumerate(tokens):
            logits[2 * window : 2 * window + 2, token] = 4.0
        return logits

    both = {"teacher": says(2, 0, 3), "student": says(2, 0, 4)}
    (line,) = disagreements(both, QuestionAnswering(), {"teacher": it, "student": it})
    assert (line["row"], line["text"], line["pair"]) == (2, "second?", passage)
    assert (line["label"], line["teacher"], line["student"]) == ("b", "b", "c")
    both["student"] = says(4, 4, 3)
    (line,) = disagreements(both, QuestionAnswering(), {"teacher": it, "student": it})
    assert (line["row"], line["label"], line["teacher"], line["student"]) == (1, "a", "a", "c")
    p = np.exp(4) / (np.exp(4) + 3)
    assert line["distance"] == pytest.approx(4 * (p - (1 - p) / 3), abs=1e-4)


def test_texts_of_language_models_by_nats_a_token() -> None:
    split = Split(np.array([b"a", b"b"], "S16"), ["first", "second"], None, None)
    nats = {"teacher": np.array([1.0, 1.0, 2.0]), "student": np.array([1.5, 1.5, 5.0])}
    found = of_texts(nats, np.array([0, 0, 1]), split)
    assert [(it["text"], it["distance"], it["tokens"]) for it in found] == [
        ("second", 3.0, 1),
        ("first", 0.5, 2),
    ]


def test_the_time_of_an_artifact_is_without_those_made_for_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    def inner(_: Path) -> dict[str, Any]:
        time.sleep(0.3)
        return {}

    def outer(_: Path) -> dict[str, Any]:
        workspace.obtain("inner", {"a": 1}, inner)
        time.sleep(0.05)
        return {}

    made = workspace.obtain("outer", {"b": 1}, outer).manifest()["seconds"]
    assert 0.05 <= made < 0.3
    assert workspace.find("inner", {"a": 1}).manifest()["seconds"] >= 0.3  # type: ignore[union-attr]
    with stopwatch() as seconds:
        assert seconds() < 0.05
