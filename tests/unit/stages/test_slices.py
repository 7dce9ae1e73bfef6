"""Parts of the held-out text, and text that is changed, by hand."""

import math
import random

import numpy as np
import pytest
from scipy.special import expit

from distillkit.data.corpus import Split
from distillkit.evaluation.baseline import constant_logits, unigram
from distillkit.evaluation.perturbation import case, perturbed, typos
from distillkit.evaluation.slices import MOST, NOTHING, OTHERS, groups, quarters, sliced


def test_quarters_are_named_by_their_ends_and_equal_numbers_are_together() -> None:
    assert quarters([1, 2, 3, 4], "tokens") == ["1 tokens", "2 tokens", "3 tokens", "4 tokens"]
    found = quarters([1, 1, 1, 1, 1, 1, 9, 9])
    assert found == ["1"] * 6 + ["9"] * 2
    assert set(quarters(range(100))) == {"0 to 24", "25 to 49", "50 to 74", "75 to 99"}
    assert quarters([5.0]) == ["5"]


def test_words_are_parts_as_they_are_and_many_of_them_are_joined() -> None:
    assert groups(["b", "a", None, ""]) == ["b", "a", NOTHING, NOTHING]
    many = [f"w{i}" for i in range(30)] + ["w3"] * 5
    found = groups(many)
    assert len(set(found)) == MOST
    assert found[3] == "w3"
    assert OTHERS in found
    assert len(set(groups([str(i) for i in range(100)]))) == 4  # numbers: their quarters


def test_a_slice_has_the_scores_of_its_texts_and_the_paired_gain() -> None:
    right = {"student": np.array([1, 1, 0, 1]), "control": np.array([1, 0, 0, 0])}
    columns = {
        row: {"accuracy": lambda rows, hits=hits: float(hits[rows].mean())}
        for row, hits in right.items()
    }
    named = {"source": ["b", "a", "b", "a"]}
    first, second = sliced(columns, "accuracy", named, resamples=50, level=0.9)
    assert (first["slice"], first["value"], first["examples"]) == ("source", "a", 2)
    assert first["rows"] == {"student": 1.0, "control": 0.0}
    assert first["student_minus_control"] == {"difference": 1.0, "low": 1.0, "high": 1.0}
    assert second["rows"] == {"student": 0.5, "control": 0.5}
    assert second["student_minus_control"]["difference"] == 0.0


def test_parts_of_numbers_stand_in_their_order() -> None:
    columns = {"student": {"accuracy": lambda rows: 1.0}}
    named = {"length": ["11 to 20 tokens", "2 to 10 tokens"]}
    found = sliced(columns, "accuracy", named, resamples=5, level=0.9)
    assert [it["value"] for it in found] == ["2 to 10 tokens", "11 to 20 tokens"]


def split(texts: list[str]) -> Split:
    return Split(np.array([b"k"] * len(texts), "S16"), texts, None, np.zeros(len(texts), int))


def test_typos_change_some_words_and_no_first_letter() -> None:
    words = ["wonderful", "cinema", "because", "strange"] * 50
    changed = typos(" ".join(words), random.Random(0)).split(" ")
    assert len(changed) == len(words)
    wrong = [(a, b) for a, b in zip(words, changed, strict=True) if a != b]
    assert 20 <= len(wrong) <= 60  # a fifth of 200
    assert all(a[0] == b[0] and abs(len(a) - len(b)) <= 1 for a, b in wrong)
    assert typos("a bad one", random.Random(0)) == "a bad one"  # words of fewer than four letters


def test_a_text_is_changed_alike_wherever_it_stands() -> None:
    texts = ["a wonderful strange cinema experience " * 3, "nothing special happened anywhere"]
    one, two = perturbed(split(texts), "typos"), perturbed(split(texts[::-1]), "typos")
    assert one.texts == two.texts[::-1]
    assert one.texts[0] != texts[0]
    pairs = perturbed(Split(np.array([b"k"], "S16"), ["Abc"], ["Def"], np.zeros(1, int)), "case")
    assert (pairs.texts, pairs.pairs) == (["abc"], ["def"])


def test_rows_that_read_no_text_by_hand() -> None:
    row = unigram(np.array([3, 0, 1]), np.array([0, 2, 1]))["unigram"]
    nats = -(math.log(4 / 7) + math.log(2 / 7) + math.log(1 / 7)) / 3
    assert row == pytest.approx({"nll": nats, "perplexity": math.exp(nats), "positions": 3})
    several = constant_logits("bernoulli", np.array([[1, 0], [1, 0], [0, 0]]), 2)
    assert expit(several) == pytest.approx([2.5 / 4, 0.5 / 4])
    assert constant_logits("real", np.array([1.0, 4.0]), 0) == pytest.approx([2.5])
    assert np.exp(constant_logits("softmax", np.array([1, 1, 0]), 3)) == pytest.approx(
        [2 / 6, 3 / 6, 1 / 6]
    )


def test_passages_stay_and_words_stay_words() -> None:
    question = Split(
        np.array([b"k"], "S16"), ["Who Did It"], ["It was Ada"], None, answers=[[("Ada", 7)]]
    )
    changed = perturbed(question, "case")
    assert (changed.texts, changed.pairs) == (["who did it"], ["It was Ada"])
    sentences = [["Ada", "Lovelace", "wrote", "programs"] * 5, ["small"]]
    joined = [" ".join(words) for words in sentences]
    split = Split(np.zeros(2, "S16"), joined, None, np.zeros(21, int), words=sentences)
    lower = perturbed(split, "case")
    assert lower.words == [["ada", "lovelace", "wrote", "programs"] * 5, ["SMALL"]]
    typing = perturbed(split, "typos")
    assert typing.words and [len(words) for words in typing.words] == [20, 1]
    assert typing.words[0] != sentences[0]
    assert typing.texts == [" ".join(words) for words in typing.words]


@pytest.mark.parametrize(("text", "expected"), [("A Film", "a film"), ("film", "FILM"), ("1", "1")])
def test_other_case_is_another_one(text: str, expected: str) -> None:
    assert case(text, random.Random(0)) == expected
