"""Token tables: flat arrays that say where each example begins, saved and opened as they were."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.data.corpus import Split
from distillkit.data.splits import example_key
from distillkit.tasks.tokenize import texts as sequence_tokens
from distillkit.tasks.tokenize.texts import tokenise
from distillkit.token_table import TokenTable
from tests import tiny

TEXTS = ["good film", "a very dull story", "warm", "the plot is great and the camera is great"]
PAIRS = ["bad", "the actor", "a good plot", "music"]
LABELS = np.array([1, 0, 1, 1])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.write_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def split(
    texts: Sequence[str], pairs: Sequence[str] | None = None, labels: np.ndarray | None = LABELS
) -> Split:
    paired = pairs or [None] * len(texts)
    keys = [example_key(text, pair) for text, pair in zip(texts, paired, strict=True)]
    rows = None if labels is None else labels[: len(texts)]
    return Split(np.array(keys, "S16"), list(texts), list(pairs) if pairs else None, rows)


def tokenised(tokenizer: Any, *parts: Any, max_length: int = 32, **more: Any) -> TokenTable:
    return tokenise(split(*parts, **more), tokenizer, max_length=max_length, label="texts")[0]


def same(one: TokenTable, other: TokenTable) -> None:
    for name in TokenTable.__slots__:
        ours, theirs = getattr(one, name), getattr(other, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
            assert ours.dtype == theirs.dtype, name


def example(table: TokenTable, i: int) -> list[int]:
    return table.ids[table.offsets[i] : table.offsets[i + 1]].tolist()


# tokenise


def test_each_example_is_what_the_tokenizer_says_of_it(tokenizer: Any) -> None:
    table = tokenised(tokenizer, TEXTS)
    assert [example(table, i) for i in range(4)] == [tokenizer(t)["input_ids"] for t in TEXTS]
    assert table.lengths.tolist() == [len(tokenizer(text)["input_ids"]) for text in TEXTS]
    assert table.offsets[0] == 0
    assert table.offsets[-1] == len(table.ids)
    assert len(table) == 4
    assert table.segments is None


def test_keys_and_labels_stay_beside_their_text(tokenizer: Any) -> None:
    table = tokenised(tokenizer, TEXTS)
    assert table.keys.tolist() == split(TEXTS).keys.tolist()
    assert table.labels.tolist() == LABELS.tolist()
    assert table.label_mask.all()


def test_text_without_labels_says_so(tokenizer: Any) -> None:
    table = tokenised(tokenizer, TEXTS, labels=None)
    assert not table.label_mask.any()
    assert len(table.labels) == 4


def test_the_chunks_of_the_tokenizer_leave_no_trace(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tokenised(tokenizer, TEXTS, PAIRS)
    monkeypatch.setattr(sequence_tokens, "CHUNK", 3)
    same(tokenised(tokenizer, TEXTS, PAIRS), whole)


def test_long_text_is_cut_and_counted(tokenizer: Any) -> None:
    table, cut = tokenise(split(TEXTS), tokenizer, max_length=6, label="texts")
    assert table.lengths.tolist() == [4, 6, 3, 6]
    assert cut == 2
    assert example(table, 3)[-1] == tokenizer.sep_token_id


def test_a_pair_has_two_segments(tokenizer: Any) -> None:
    table = tokenised(tokenizer, TEXTS, PAIRS)
    assert table.segments is not None
    for i, (text, pair) in enumerate(zip(TEXTS, PAIRS, strict=True)):
        said = tokenizer(text, pair)
        assert example(table, i) == said["input_ids"]
        here = table.segments[table.offsets[i] : table.offsets[i + 1]]
        assert here.tolist() == said["token_type_ids"]
        assert set(here.tolist()) == {0, 1}


def test_a_tokenizer_without_segments_gives_none(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "model_input_names", ["input_ids", "attention_mask"])
    assert tokenised(tokenizer, TEXTS, PAIRS).segments is None


@pytest.mark.parametrize("pairs", [None, []])
def test_an_empty_split_is_an_empty_table(tokenizer: Any, pairs: list[str] | None) -> None:
    empty = Split(np.zeros(0, "S16"), [], pairs, None)
    table, cut = tokenise(empty, tokenizer, max_length=8, label="texts")
    assert (len(table), len(table.ids), cut) == (0, 0, 0)
    assert table.offsets.tolist() == [0]
    assert table.lengths.tolist() == []


# save and open


@pytest.mark.parametrize("times", [1, 500])  # small arrays are read, large ones mapped
@pytest.mark.parametrize("pairs", [None, PAIRS])
def test_a_table_is_opened_as_it_was_saved(
    tokenizer: Any, tmp_path: Path, times: int, pairs: list[str] | None
) -> None:
    table = tokenised(
        tokenizer, TEXTS * times, pairs and pairs * times, labels=np.tile(LABELS, times)
    )
    table.save(tmp_path / "train")
    same(TokenTable.open(tmp_path / "train"), table)


def test_a_large_table_is_mapped_and_cannot_be_altered(tokenizer: Any, tmp_path: Path) -> None:
    tokenised(tokenizer, TEXTS * 500, labels=None).save(tmp_path / "train")
    opened = TokenTable.open(tmp_path / "train")
    assert isinstance(opened.ids, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        opened.ids[0] = 1


@pytest.mark.parametrize("labels", [LABELS, LABELS / 3, None])
def test_an_empty_or_unlabelled_or_real_valued_table_is_opened_too(
    tokenizer: Any, tmp_path: Path, labels: np.ndarray | None
) -> None:
    for name, texts in (("some", TEXTS), ("none", [])):
        table = tokenised(tokenizer, texts, labels=labels)
        table.save(tmp_path / name)
        same(TokenTable.open(tmp_path / name), table)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("offsets", lambda values: np.where(np.arange(len(values)) == 1, 2**58, values)),
        ("offsets", lambda values: values[::-1]),
        ("offsets", lambda values: values + 1),
        ("offsets", lambda values: values[:-1]),
        ("ids", lambda values: values[:-1]),
        ("keys", lambda values: values[:-1]),
        ("segments", lambda values: np.append(values, values[:1])),
        ("labelled", lambda values: values[:-1]),
    ],
)
def test_arrays_that_do_not_fit_together_are_not_opened(
    tokenizer: Any, tmp_path: Path, name: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    tokenised(tokenizer, TEXTS, PAIRS, labels=LABELS).save(tmp_path)
    file = tmp_path / f"{name}.npy"
    np.save(file, change(np.load(file)))
    with pytest.raises(ValueError, match=r"that do not fit together|other places than those of"):
        TokenTable.open(tmp_path)


def test_a_key_that_ends_in_zeros_is_kept_whole(tokenizer: Any, tmp_path: Path) -> None:
    keys = np.array([b"\1" + b"\0" * 15, b"\0" * 16, b"\0" * 15 + b"\1", b"a" * 16], "S16")
    table = tokenise(Split(keys, TEXTS, None, None), tokenizer, max_length=8, label="texts")[0]
    table.save(tmp_path)
    assert TokenTable.open(tmp_path).keys.tobytes() == keys.tobytes()


# joined


@pytest.mark.parametrize("pairs", [None, PAIRS])
def test_joined_holds_the_examples_of_both_in_order(
    tokenizer: Any, pairs: list[str] | None
) -> None:
    whole = tokenised(tokenizer, TEXTS, pairs)
    first = tokenised(tokenizer, TEXTS[:1], pairs and pairs[:1])
    rest = tokenised(tokenizer, TEXTS[1:], pairs and pairs[1:], labels=LABELS[1:])
    same(first.joined(rest), whole)


def test_joined_keeps_who_has_a_label(tokenizer: Any) -> None:
    table = tokenised(tokenizer, TEXTS, labels=LABELS / 2)
    joined = table.joined(tokenised(tokenizer, PAIRS, labels=None))
    assert joined.label_mask.tolist() == [True] * 4 + [False] * 4
    assert joined.labels[:4].tolist() == (LABELS / 2).tolist()
    assert joined.labels.dtype == np.float64
    assert joined.lengths.tolist() == [*table.lengths, *tokenised(tokenizer, PAIRS).lengths]


def test_an_empty_table_adds_nothing(tokenizer: Any) -> None:
    table, empty = tokenised(tokenizer, TEXTS), tokenised(tokenizer, [], labels=None)
    same(table.joined(empty), table)
    same(empty.joined(table), tokenised(tokenizer, TEXTS, labels=LABELS))
