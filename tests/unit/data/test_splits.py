"""Who stands in which split: decided by the text, so that no duplicate crosses a border."""

import random
from collections.abc import Callable

import numpy as np
import pytest

from distillkit.data.splits import assign, example_key, normalise, unit_hash
from distillkit.types import KEY_BYTES
from tests.tiny import labelled

TEXTS = [text for text, _ in labelled(3000)]


def places(texts: list[str], validation: float = 0.1, test: float = 0.2) -> dict[str, str]:
    """Each text's split."""
    folded = [normalise(text) for text in texts]
    splits = assign(folded, validation_fraction=validation, test_fraction=test)
    return {texts[i]: name for name, rows in splits.items() for i in rows}


@pytest.mark.parametrize("other", ["GOOD Film", " good  film ", "good\tfilm\n", "gOOd\u00a0film"])
def test_case_and_spaces_make_no_difference(other: str) -> None:
    assert normalise(other) == normalise("good film")


@pytest.mark.parametrize("other", ["good films", "goodfilm", "film good", "good film."])
def test_words_and_marks_do(other: str) -> None:
    assert normalise(other) != normalise("good film")


def test_a_duplicate_never_stands_on_both_sides() -> None:
    spelt = [(t.upper(), f"  {t.replace(' ', '   ')}\n", t) for t in TEXTS[:500]]
    splits = places([text for three in spelt for text in three])
    assert all(len({splits[text] for text in three}) == 1 for three in spelt)
    assert set(splits.values()) == {"train", "validation", "test"}


def test_the_order_of_the_rows_plays_no_part() -> None:
    shuffled = random.Random(1).sample(TEXTS, len(TEXTS))
    assert places(shuffled) == places(TEXTS)


def test_more_rows_move_no_row() -> None:
    assert places(TEXTS[:100]).items() <= places(TEXTS).items()


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.15), (0.3, 0.3), (0.0, 0.1), (0.1, 0.0)])
def test_every_row_stands_in_one_split_of_about_its_share(validation: float, test: float) -> None:
    splits = assign(TEXTS, validation_fraction=validation, test_fraction=test)
    every = np.concatenate(list(splits.values()))
    assert sorted(every) == list(range(len(TEXTS)))
    assert all((np.diff(rows) > 0).all() for rows in splits.values())  # in their own order
    # 0.03 is more than three standard deviations of a share of 3,000 rows
    assert len(splits["validation"]) / len(TEXTS) == pytest.approx(validation, abs=0.03)
    assert len(splits["test"]) / len(TEXTS) == pytest.approx(test, abs=0.03)


def test_the_test_split_stays_when_the_validation_share_changes() -> None:
    small, large = places(TEXTS, validation=0.05), places(TEXTS, validation=0.3)
    held = {t for t in TEXTS if small[t] == "test"}
    assert held == {t for t in TEXTS if large[t] == "test"}


def test_no_rows_are_no_rows() -> None:
    splits = assign([], validation_fraction=0.1, test_fraction=0.1)
    assert [len(rows) for rows in splits.values()] == [0, 0, 0]


def test_the_hash_of_a_text_never_changes() -> None:
    """Or every split of every user would move."""
    assert unit_hash("good film") == 0.32275636045747275
    assert example_key("good film").hex() == "b030d78cf2b61d3d9412ecab446f5978"


def test_a_key_is_of_the_exact_text() -> None:
    texts = ["good film", "Good film", "good  film", "good film "]
    assert len({example_key(text) for text in texts}) == len(texts)
    assert len(example_key("good film")) == KEY_BYTES


@pytest.mark.parametrize("of", [normalise, example_key])
def test_a_pair_is_kept_apart(of: Callable[..., object]) -> None:
    pairs = [("a b", None), ("a", "b"), ("b", "a"), ("a b", ""), ("", "a b")]
    assert len({of(*pair) for pair in pairs}) == len(pairs)


def test_a_pair_is_folded_on_both_sides() -> None:
    assert normalise("A  b", "C\td") == normalise("a b", "c d")


def test_an_accent_is_the_same_however_it_is_written() -> None:
    composed, apart = "Caf\u00e9 \u1eaf", "Cafe\u0301 a\u0306\u0301"
    assert composed != apart
    assert normalise(composed) == normalise(apart) == "caf\u00e9 \u1eaf"
    assert normalise("a", composed) == normalise("a", apart)
    assert normalise("cafe") != normalise(composed)
