"""Tagged words from column files and tables, or refused in one line with the way out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.data import Corpus, TaggedText
from distillkit.errors import DataError
from distillkit.tasks import TokenClassification

SENTENCES = [
    (["He", f"met{i}", "Ann", "Lee"], ["O", "O", "B-PER", "I-PER"] if i % 2 else ["O"] * 4)
    for i in range(20)
]
SHARES: dict[str, Any] = {"validation_fraction": 0.3, "test_fraction": 0.3}


def prepared(folder: Path, data: TaggedText) -> Corpus:
    data.prepare(TokenClassification().read_labels, cache=folder / "cache", out=folder / "out")
    return Corpus.open(folder / "out", None)


def every(corpus: Corpus) -> dict[str, list[str]]:
    """sentence -> its tags, over all splits."""
    found = {}
    for name in ("train", "validation", "test"):
        split = corpus.split(name)
        assert split.words is not None and split.labels is not None
        begins = np.cumsum([0, *map(len, split.words)])
        assert begins[-1] == len(split.labels)
        for words, begin in zip(split.words, begins, strict=False):
            ids = split.labels[begin : begin + len(words)]
            found[" ".join(words)] = [corpus.labels.names[i] for i in ids]
    return found


def column_file(folder: Path, *, order: tuple[int, ...] = (0, 2, 1)) -> Path:
    path = folder / "words.conll"
    rows = [
        "\n".join(" ".join((w, t, "x")[i] for i in order) for w, t in zip(*sentence, strict=True))
        for sentence in SENTENCES
    ]
    path.write_text("-DOCSTART- x O\n\n" + "\n\n".join(rows) + "\n")
    return path


def jsonl(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "words.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


EXPECTED = {" ".join(words): tags for words, tags in SENTENCES}


def test_a_column_file_has_its_words_first_and_its_tags_last(tmp_path: Path) -> None:
    data = TaggedText(train=str(column_file(tmp_path)), **SHARES)
    assert every(prepared(tmp_path, data)) == EXPECTED


def test_the_columns_of_a_column_file_can_be_named(tmp_path: Path) -> None:
    path = column_file(tmp_path, order=(2, 1, 0))
    data = TaggedText(train=str(path), columns=["x", "tags", "tokens"], **SHARES)
    assert every(prepared(tmp_path, data)) == EXPECTED


def test_a_table_has_lists_of_words_and_of_tags(tmp_path: Path) -> None:
    rows = [{"w": words, "t": tags} for words, tags in SENTENCES]
    data = TaggedText(train=jsonl(tmp_path, rows), tokens="w", tags="t", **SHARES)
    assert every(prepared(tmp_path, data)) == EXPECTED


def test_class_labels_of_a_parquet_file_have_their_names(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value

    names = ["O", "B-PER", "I-PER"]
    kinds = Features(tokens=List(Value("string")), tags=List(ClassLabel(names=names)))
    rows = {"tokens": [w for w, _ in SENTENCES], "tags": [t for _, t in SENTENCES]}
    Dataset.from_dict(rows, features=kinds).to_parquet(str(tmp_path / "words.parquet"))
    data = TaggedText(train=str(tmp_path / "words.parquet"), **SHARES)
    assert every(prepared(tmp_path, data)) == EXPECTED


def test_a_smaller_training_set_leaves_the_held_out_sentences_as_they_are(tmp_path: Path) -> None:
    whole, small = (
        prepared(
            tmp_path / str(size), TaggedText(train=str(column_file(tmp_path)), train_size=size)
        )
        for size in (None, 3)
    )
    assert len(small.split("train")) == 3
    assert small.split("test").texts == whole.split("test").texts


@pytest.mark.parametrize(
    ("row", "settings", "said"),
    [
        ({"tokens": "a text", "tags": "O"}, {}, "data.tokens = tokens: holds 'a text'.*no list"),
        ({"tokens": ["a", "b"], "tags": ["O"]}, {}, "row 1 .* has 2 words and 1 tags"),
        ({"words": ["a"], "tags": ["O"]}, {}, "data.tokens = tokens: no such column .* are words,"),
        ({"tokens": [], "tags": []}, {}, "no sentence in it"),
    ],
)
def test_what_are_no_tagged_words_is_refused(
    row: dict[str, Any], settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, TaggedText(train=jsonl(tmp_path, [row]), **settings))


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("one two\nalone\n", {}, r"line 2 has 1 columns, and 2 are needed; data.columns"),
        ("a O\n", {"columns": ["tokens", "pos"]}, r"data.columns = \[tokens, pos\] has no tags"),
    ],
)
def test_a_column_file_that_is_none_is_refused(
    text: str, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text(text)
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, TaggedText(train=str(tmp_path / "words.txt"), **settings))


def test_rows_of_a_column_file_cannot_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.where: .* is a column file, of which all is read"):
        prepared(tmp_path, TaggedText(train=str(column_file(tmp_path)), where={"x": 1}, **SHARES))
