"""Masks: how many tokens and which, decided by the text, the seed and the pattern alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.data import Split
from distillkit.tasks import MaskedLM
from distillkit.tasks.tokenize.masked import masked
from distillkit.token_table import TokenTable
from tests import tiny_language

MASK = 4
VOCABULARY = np.arange(5, 1000)
IDS = np.arange(5000, 5400, dtype=np.int32)  # none of the vocabulary: a replaced one shows
SPECIAL = np.zeros(400, bool)
SPECIAL[[0, -1]] = True


def drawn(ids: np.ndarray = IDS, seed: int = 0, pattern: int = 0) -> tuple[np.ndarray, np.ndarray]:
    found = masked(
        ids, SPECIAL, probability=0.15, mask=MASK, vocabulary=VOCABULARY, seed=(seed, pattern)
    )
    assert found is not None
    return found


def test_so_many_tokens_are_to_be_guessed_and_none_of_them_is_special() -> None:
    row, counted = drawn()
    assert counted.sum() == round(0.15 * 398)
    assert not counted[SPECIAL].any()
    np.testing.assert_array_equal(row[~counted], IDS[~counted])


def test_of_those_80_percent_are_masked_10_replaced_and_10_left() -> None:
    rows = [drawn(pattern=p) for p in range(100)]
    chosen = np.concatenate([row[counted] for row, counted in rows])
    left = np.concatenate([row[counted] == IDS[counted] for row, counted in rows])
    assert np.mean(chosen == MASK) == pytest.approx(0.8, abs=0.02)
    assert np.mean(left) == pytest.approx(0.1, abs=0.015)
    assert np.mean(np.isin(chosen, VOCABULARY)) == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize(("seed", "pattern"), [(1, 0), (0, 1)])
def test_another_seed_or_pattern_masks_other_tokens(seed: int, pattern: int) -> None:
    assert (drawn()[1] != drawn(seed=seed, pattern=pattern)[1]).any()
    np.testing.assert_array_equal(drawn()[0], drawn()[0])


def test_one_token_at_least_is_masked_and_nothing_but_special_tokens_is_no_example() -> None:
    settings: Any = {"probability": 0.15, "mask": MASK, "vocabulary": VOCABULARY, "seed": (0, 0)}
    found = masked(IDS[:3], np.array([True, False, True]), **settings)
    assert found is not None and found[1].tolist() == [False, True, False]
    assert masked(IDS[:2], np.array([True, True]), **settings) is None


@pytest.fixture(scope="module")
def tokenizer(body: Path) -> Any:
    return MaskedLM().load_tokenizer(str(body), key="k")


def table_of(tokenizer: Any, texts: list[str], held_out: bool = False, **settings: Any) -> Any:
    split = Split(np.zeros(len(texts), "S16"), texts, None, None)
    task = MaskedLM(max_length=16, **settings)
    return task.tokenise(split, tokenizer, label="texts", held_out=held_out)


def originals(table: TokenTable) -> np.ndarray:
    assert table.loss_mask is not None
    ids = np.array(table.ids)
    ids[table.loss_mask] = table.labels
    return ids


def test_labels_are_the_tokens_that_stood_there_and_windows_cover_the_text(tokenizer: Any) -> None:
    texts = tiny_language.documents(20)
    table, several = table_of(tokenizer, texts)
    whole = np.concatenate(
        [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    )
    ids = originals(table)
    np.testing.assert_array_equal(
        ids[~np.isin(ids, [tokenizer.cls_token_id, tokenizer.sep_token_id])], whole
    )
    assert table.lengths.max() == 16
    assert several == sum(len(tokenizer(text)["input_ids"]) > 16 for text in texts)
    assert (table.positions >= 1).all()


def test_each_window_is_masked_in_so_many_ways_under_keys_of_their_own(tokenizer: Any) -> None:
    texts = tiny_language.documents(8)
    one, three = (table_of(tokenizer, texts, masks=n)[0] for n in (1, 3))
    assert len(three) == 3 * len(one)
    assert set(one.keys) < set(three.keys)
    assert len(set(three.keys)) > 2 * len(one)  # short windows may be masked twice alike
    np.testing.assert_array_equal(np.repeat(one.lengths, 3), three.lengths)


def test_held_out_text_has_one_fixed_pattern_whatever_the_settings(tokenizer: Any) -> None:
    texts = tiny_language.documents(8)
    first, other = (table_of(tokenizer, texts, held_out=True, masks=n, seed=n)[0] for n in (1, 5))
    np.testing.assert_array_equal(first.ids, other.ids)


def test_masks_do_not_depend_on_the_texts_around(tokenizer: Any) -> None:
    texts = tiny_language.documents(8)
    alone, among = table_of(tokenizer, texts[3:4])[0], table_of(tokenizer, texts)[0]
    assert set(alone.keys) < set(among.keys)
