"""Copies of the training texts: seeded by text, free of what is known, rewritten as asked."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.data import NoAugmentation, RuleBased, Split, WordDropout
from distillkit.data.augmentation import augmented
from distillkit.data.splits import normalise
from distillkit.errors import ConfigError
from tests.tiny import labelled

TEXTS = [text for text, _ in labelled(60)]
HERE = Path()


def split(texts: list[str], pairs: list[str] | None = None) -> Split:
    return Split(np.zeros(0, "S16"), texts, pairs, None)


def copies(how: Any, texts: list[str] = TEXTS, known: set[str] | None = None) -> list[str]:
    return augmented(split(texts), how, texts_there=known or set(), cache=HERE)[0]


@pytest.mark.parametrize("how", [RuleBased(copies=3), WordDropout(copies=3)], ids=repr)
def test_a_text_and_a_seed_decide_its_copies(how: Any) -> None:
    every = copies(how)
    assert copies(how) == every
    shuffled = TEXTS[:]
    random.Random(1).shuffle(shuffled)
    assert set(copies(how, shuffled)) == set(every)
    assert set(copies(type(how)(copies=3, seed=1))) != set(every)
    assert set(copies(type(how)(copies=2))) < set(every)


def test_a_text_keeps_its_copies_when_others_come_or_go() -> None:
    how = WordDropout(copies=4)
    assert set(copies(how, TEXTS[:20])) < set(copies(how))


@pytest.mark.parametrize("how", [RuleBased(copies=30), WordDropout(copies=30)], ids=repr)
def test_nothing_stands_there_twice_nor_is_known(how: Any) -> None:
    texts = ["a good film", "a bad film"]
    first = copies(how, texts)
    folded = [normalise(text) for text in first]
    assert len(set(folded)) == len(folded) > 2
    known = set(folded[::2])
    rest = {normalise(text) for text in copies(how, texts, known)}
    assert rest == set(folded) - known


def test_what_was_left_out_is_counted() -> None:
    made, _, dropped = augmented(
        split(["a b"]), WordDropout(copies=50), texts_there={"a b"}, cache=HERE
    )
    assert set(made) <= {"a", "b"}
    assert dropped == {"duplicate": 50 - len(made)}


def test_words_are_left_out_as_often_as_asked_but_never_all() -> None:
    texts = [" ".join(f"w{i}x{j}" for j in range(20)) for i in range(200)]
    kept = sum(len(text.split()) for text in copies(WordDropout(copies=1, p=0.3), texts))
    assert kept / (200 * 20) == pytest.approx(0.7, abs=0.03)
    assert all(copies(WordDropout(copies=3, p=1.0)))


def test_words_are_masked_and_replaced_as_often_as_asked() -> None:
    texts = [" ".join(f"w{i}x{j}" for j in range(20)) for i in range(200)]
    made = copies(RuleBased(copies=1, p_mask=0.1, p_replace=0.2, p_ng=0.0), texts)
    pairs = [
        (a, b)
        for x, y in zip(texts, made, strict=True)
        for a, b in zip(x.split(), y.split(), strict=True)
    ]
    masked = sum(b == "[MASK]" for _, b in pairs)
    replaced = sum(b not in ("[MASK]", a) for a, b in pairs)
    assert masked / len(pairs) == pytest.approx(0.1, abs=0.02)
    assert replaced / len(pairs) == pytest.approx(0.2, abs=0.03)


def test_a_word_is_replaced_by_the_frequency_of_words() -> None:
    texts = [f"{'often ' * 9}{'seldom ' * 3}{i}x {i}y {i}z" for i in range(100)]
    made = copies(RuleBased(copies=1, p_mask=0.0, p_replace=1.0, p_ng=0.0), texts)
    counts = Counter(word for text in made for word in text.split())
    assert counts["often"] / counts.total() == pytest.approx(3 / 5, abs=0.05)
    assert counts["seldom"] / counts.total() == pytest.approx(1 / 5, abs=0.04)


def test_n_grams_are_stretches_of_the_text_of_the_sizes_asked_for() -> None:
    how = RuleBased(copies=5, p_mask=0.0, p_replace=0.0, p_ng=1.0, ngram=[2, 3])
    made = copies(how)
    assert {len(text.split()) for text in made} == {2, 3}
    assert all(any(text in whole for whole in TEXTS) for text in made)


def test_of_a_pair_one_text_stays_or_both_change() -> None:
    firsts = [f"a{i} b{i} c{i} d{i} e{i}" for i in range(20)]
    seconds = [text.upper() for text in firsts]
    how = WordDropout(copies=3, p=0.4)
    made, pairs, _ = augmented(split(firsts, seconds), how, texts_there=set(), cache=HERE)
    assert pairs is not None
    kinds = Counter((a in firsts, b in seconds) for a, b in zip(made, pairs, strict=True))
    assert kinds[False, True] > 10 and kinds[True, False] > 10 and kinds[False, False] > 5


def test_without_augmentation_nothing_is_made() -> None:
    assert copies(NoAugmentation()) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"p_mask": 0.6, "p_replace": 0.5}, r"p_replace = 1\.1: a word is masked or replaced"),
        ({"ngram": [3, 2]}, r"augmentation\.ngram = \[3, 2\]: must be the fewest"),
        ({"ngram": [0, 2]}, r"augmentation\.ngram"),
        ({"mask": " "}, r"augmentation\.mask: is empty"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RuleBased(**settings)
