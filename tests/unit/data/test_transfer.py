"""The transfer set: nested, without duplicates, without any labelled text."""

import math
import random
from typing import Any

import pytest

from distillkit.data.likeness import likeness
from distillkit.data.splits import normalise
from distillkit.data.transfer import TransferSet, choose, sentences, smallest, spans
from tests.tiny import labelled

TEXTS = [text for text, _ in labelled(300)]


def chosen(texts: list[str], **settings: Any) -> TransferSet:
    usual: dict[str, Any] = {
        "texts_there": set(),
        "size": None,
        "words": (1, 10**9),
        "by_sentence": False,
        "lowercase": False,
    }
    return choose(texts, **usual | settings)


# sentences


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("One.<br /><br />Two<br>three<BR/>four", ["One.", "Two", "three", "four"]),
        ("One\n\ntwo\nthree", ["One", "two", "three"]),
        ('He said "No." She left (at last.) End', ['He said "No."', "She left (at last.)", "End"]),
        ("It cost 3.5 million. e.g.this", ["It cost 3.5 million.", "e.g.this"]),
        ("Wait... what?!  Yes.", ["Wait...", "what?!", "Yes."]),
        ("  One.   ", ["One."]),
        ("<br />\n <br/>", []),
        ("", []),
    ],
)
def test_text_is_cut_at_breaks_and_after_marks(text: str, cut: list[str]) -> None:
    assert list(sentences(text)) == cut


def test_a_row_is_cut_only_where_asked() -> None:
    row = "One good film. Two bad films."
    assert chosen([row]).texts == [row]
    assert set(chosen([row], by_sentence=True).texts) == {"One good film.", "Two bad films."}


# which texts


def test_a_smaller_set_is_the_beginning_of_a_larger_one() -> None:
    every = chosen(TEXTS).texts
    assert sorted(every) == sorted(TEXTS)
    for size in (1, 10, 299, 300):
        assert chosen(TEXTS, size=size).texts == every[:size]


def test_what_is_left_out_for_size_is_counted() -> None:
    assert chosen(TEXTS, size=100).dropped == {"beyond transfer_size": 200}
    assert chosen(TEXTS, size=300).dropped == {}


def test_the_order_of_the_source_plays_no_part() -> None:
    spelt = [*TEXTS, *(text.upper() for text in TEXTS[:50])]
    shuffled = random.Random(1).sample(spelt, len(spelt))
    assert chosen(shuffled, size=200) == chosen(spelt, size=200)


def test_the_first_hundred_are_not_the_shortest_nor_the_first() -> None:
    picked = chosen(TEXTS, size=100).texts
    assert not set(picked) <= set(TEXTS[:200])
    assert not set(picked) <= set(sorted(TEXTS, key=len)[:200])


def test_a_text_said_before_is_dropped_whatever_its_case_and_spaces() -> None:
    found = chosen(["Good film", "good  film ", "GOOD FILM", "bad film"])
    assert sorted(normalise(text) for text in found.texts) == ["bad film", "good film"]
    assert found.dropped == {"duplicate": 2}


@pytest.mark.parametrize("by_sentence", [True, False])
def test_no_labelled_text_is_in_it(by_sentence: bool) -> None:
    known = {normalise(text) for text in TEXTS[:100]}
    spelt = [text.upper() + "  " for text in TEXTS]
    found = chosen(spelt, texts_there=known, by_sentence=by_sentence)
    assert known.isdisjoint(map(normalise, found.texts))
    assert len(found.texts) == 200
    assert found.dropped == {"labelled": 100}


def test_a_labelled_sentence_inside_a_row_is_dropped() -> None:
    found = chosen(["A good film. A bad film."], texts_there={"a bad film."}, by_sentence=True)
    assert found == TransferSet(["A good film."], {"labelled": 1})


@pytest.mark.parametrize(
    ("words", "kept"), [((2, 3), {"a b", "a b c"}), ((4, 4), {"a b c d"}), ((5, 9), set())]
)
def test_the_bounds_on_words_hold_at_both_ends(words: tuple[int, int], kept: set[str]) -> None:
    found = chosen(["a", "a b", "a b c", "a b c d"], words=words)
    assert set(found.texts) == kept
    assert found.dropped == {"length": 4 - len(kept)}


def test_empty_text_is_no_text() -> None:
    assert chosen(["", "  ", "\n"]).texts == []


def test_spaces_are_mended_and_case_is_kept_unless_asked() -> None:
    assert chosen([" A  Good\tfilm "]).texts == ["A Good film"]
    assert chosen([" A  Good\tfilm "], lowercase=True).texts == ["a good film"]


def test_lower_case_does_not_change_which_texts_are_chosen() -> None:
    spelt = [text.title() for text in TEXTS]
    lower = chosen(spelt, size=50, lowercase=True).texts
    assert lower == [text.lower() for text in chosen(spelt, size=50).texts]


# spans


def cut(texts: list[str], **settings: Any) -> list[str]:
    usual: dict[str, Any] = {"spans_of_text": 5, "words": (2, 4), "texts_there": set()}
    return [span for (span,) in spans([(text,) for text in texts], **usual | settings)]


def test_a_span_is_a_stretch_of_its_text_and_never_the_whole() -> None:
    for text in TEXTS:
        found = cut([text], words=(1, 100))
        assert found
        for span in found:
            assert f" {span} " in f" {' '.join(text.split())} "
            assert len(span.split()) < len(text.split())


def test_a_span_has_the_words_asked_for() -> None:
    assert {len(span.split()) for span in cut(TEXTS, words=(2, 4))} == {2, 3, 4}


def test_a_text_too_short_for_a_span_gives_none() -> None:
    assert cut(["two words", "", "one"]) == []
    assert cut(["just three words"], words=(3, 9)) == []


def test_no_span_comes_twice_nor_one_that_is_known() -> None:
    every = cut([*TEXTS, *TEXTS], spans_of_text=20)
    assert len({normalise(span) for span in every}) == len(every)
    known = {normalise(span) for span in every[::2]}
    assert not known & {normalise(span) for span in cut(TEXTS, spans_of_text=20, texts_there=known)}


def test_a_text_alone_decides_its_spans() -> None:
    alone = [set(cut([text], words=(3, 3))) for text in TEXTS[:20]]
    assert set().union(*alone) == set(cut(TEXTS[:20][::-1], words=(3, 3)))


def test_of_a_pair_the_first_text_is_cut_then_the_second_then_both() -> None:
    pair = ("one two three four five", "six seven eight nine ten")
    found = spans([pair], spans_of_text=6, words=(2, 3), texts_there=set())
    assert [(a == pair[0], b == pair[1]) for a, b in found] == [
        (False, True),
        (True, False),
        (False, False),
    ] * 2
    assert all(a in pair[0] and b in pair[1] for a, b in found)
    assert (
        spans([pair], spans_of_text=6, words=(2, 3), texts_there={normalise(*found[0])})
        == found[1:]
    )
    assert found[:3] == spans([pair], spans_of_text=3, words=(2, 3), texts_there=set())  # nested


def test_a_text_of_a_pair_too_short_to_be_cut_stays() -> None:
    pair = ("who?", "one two three four five")
    found = spans([pair], spans_of_text=9, words=(2, 3), texts_there=set())
    assert found and {first for first, _ in found} == {"who?"}
    assert all(second in pair[1] and second != pair[1] for _, second in found)
    assert spans([("who?", "me")], spans_of_text=9, words=(2, 3), texts_there=set()) == []


def test_of_many_texts_a_smaller_choice_is_a_part_of_a_larger_one_in_their_order() -> None:
    texts = [(text,) for text, _ in labelled(40)]
    few, more = smallest(texts, 10), smallest(texts, 25)
    assert (len(few), len(more)) == (10, 25)
    assert set(few) < set(more)
    assert more == [text for text in texts if text in set(more)]
    assert set(smallest(texts[::-1], 10)) == set(few)
    assert smallest(texts, None) == smallest(texts, 40) == smallest(texts, 99) == texts


# those most like the training texts


def test_likeness_by_hand() -> None:
    texts = ["good film", "good plot"]  # "good" in two of them, the others in one
    pool = ["good film", "bad film", "good good day"]
    # 4 words of texts, 6 of the pool, each once a text; good: log((2 + 1) / (2 + 1)) + log(6 / 4)
    weight = math.log(6 / 4)
    expected = [(weight - 1) / 2, -1.0, (2 * weight - 1) / 3]
    assert likeness(texts, pool) == pytest.approx(expected)


def test_texts_like_the_training_texts_come_first_and_a_smaller_set_begins_a_larger() -> None:
    like = [f"a fine film of {word}" for word in ("love", "war", "love and war")]
    pool = [*TEXTS[:50], "a fine film", "film of love", "the committee adjourned at noon"]
    every = chosen(pool, size=52, like=like).texts
    assert set(every[:2]) == {"a fine film", "film of love"}
    assert "the committee adjourned at noon" not in every[:3]
    shuffled = pool[:]
    random.Random(1).shuffle(shuffled)
    for size in (1, 2, 20, 51):
        assert chosen(shuffled, size=size, like=like).texts == every[:size]


def test_where_all_are_taken_likeness_changes_nothing() -> None:
    assert chosen(TEXTS, size=300, like=["a film"]).texts == chosen(TEXTS).texts
