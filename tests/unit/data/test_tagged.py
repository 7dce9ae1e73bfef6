"""Tagged words from column files and tables, or refused in one line with the way out."""

import json
import re
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
    data.prepare(TokenClassification(), cache=folder / "cache", out=folder / "out")
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
        (
            "one two\nalone\n",
            {},
            r"line 2 has 1 columns, and 2 are needed; mend or take out line 2",
        ),
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


def words_of(tmp_path: Path, content: str | bytes, **settings: Any) -> dict[str, list[str]]:
    """The sentences of a column file, each with its tags; 20 more are added for the splits."""
    more = "".join(f"w{i} O\nAnn B-PER\n\n" for i in range(20))
    if b"\t" in (content if isinstance(content, bytes) else content.encode()):
        more = more.replace(" ", "\t")
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "a.conll").write_bytes(data.rstrip(b"\n") + b"\n\n" + more.encode())
    found = every(prepared(tmp_path, TaggedText(train=str(tmp_path / "a.conll"), **SHARES)))
    return {text: tags for text, tags in found.items() if not re.fullmatch(r"w\d+ Ann", text)}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("\ufeffHe O\nAnn B-PER\n", {"He Ann": ["O", "B-PER"]}),
        ("He O\n\n\ufeffShe O\n", {"He": ["O"], "She": ["O"]}),
        ("He O\r\nAnn B-PER\r\n\r\nShe O\r\n", {"He Ann": ["O", "B-PER"], "She": ["O"]}),
        ("New\xa0York B-PER\n", {"New\xa0York": ["B-PER"]}),
        ("a\x85b O\nc\u2028d O\n", {"a\x85b c\u2028d": ["O", "O"]}),
        ("New York\tB-PER\nis\tO\n", {"New York is": ["B-PER", "O"]}),
        ("# sent_id = 1\nHe O\n", {"He": ["O"]}),
        ("# newdoc\nHe O\n", {"He": ["O"]}),
        ("# O\n#tag B-PER\n", {"# #tag": ["O", "B-PER"]}),
        ("# text = He\tis\nHe\tO\n", {"He": ["O"]}),
        ("-DOCSTART- O\nHe O\n-DOCSTART- O\nShe O\n", {"He": ["O"], "She": ["O"]}),
        ("-DOCSTART- -X- O\n\nHe\tO\n\n-DOCSTART-\nShe\tO\n", {"He": ["O"], "She": ["O"]}),
        ("He O\n \t\nShe O\n", {"He": ["O"], "She": ["O"]}),
        ("He  \t O \nAnn   B-PER\n", {"He Ann": ["O", "B-PER"]}),
    ],
)
def test_column_files_are_split_at_tabs_or_blanks_and_lines_alone(
    tmp_path: Path, content: str, expected: dict[str, list[str]]
) -> None:
    assert words_of(tmp_path, content) == expected


def test_comment_lines_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words_of(tmp_path, "# one\n# two\nHe O\n")
    assert "a.conll: 2 comment lines left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("He O\nNew York B-PER\n", "line 2 has 3 columns, and 2 are needed"),
        ("He\tO\n\tO\n", "line 2 has no word or no tag"),
        (b"caf\xe9 O\n" + "Привет O\n".encode("cp1251"), "set data.encoding"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, content: str | bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        words_of(tmp_path, content)


@pytest.mark.parametrize("content", ["\n\n", "# one\n# two\n"])
def test_a_file_without_a_word_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.conll").write_text(content)
    with pytest.raises(DataError, match="no sentence in it"):
        prepared(tmp_path, TaggedText(train=str(tmp_path / "a.conll"), **SHARES))


def test_a_null_among_the_words_is_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"tokens": ["a", None], "tags": ["O", "O"]}])
    with pytest.raises(DataError, match=r"row 1 of .* holds a null"):
        prepared(tmp_path, TaggedText(train=path, **SHARES))


@pytest.mark.parametrize(("choice", "tag"), [("first", "O"), ("majority", "B-PER"), ("drop", None)])
def test_sentences_that_contradict_each_other_are_chosen_from(
    tmp_path: Path, choice: Any, tag: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = ["O", "B-PER", "B-PER"]
    rows = [{"tokens": words, "tags": t} for words, t in SENTENCES]
    rows += [{"tokens": ["ANN", "ran"], "tags": [t, "O"]} for t in tags]
    data = TaggedText(train=jsonl(tmp_path, rows), duplicates=choice, **SHARES)
    found = every(prepared(tmp_path, data))
    assert found.get("ANN ran") == (None if tag is None else [tag, "O"])
    said = capsys.readouterr().err
    assert "1 text stands in 3 training rows with different tags" in said
    assert "'ANN ran' is O O (row 21) and B-PER O (row 22)" in said


def test_tags_with_blanks_are_the_tags_without(tmp_path: Path) -> None:
    rows = [{"tokens": words, "tags": [f" {t} " for t in tags]} for words, tags in SENTENCES]
    data = TaggedText(train=jsonl(tmp_path, rows), **SHARES)
    assert every(prepared(tmp_path, data)) == EXPECTED
    rows[3]["tags"] = ["O", "O", " ", "O"]
    with pytest.raises(DataError, match="a word has an empty tag"):
        prepared(tmp_path, TaggedText(train=jsonl(tmp_path, rows), **SHARES))


def test_a_rare_tag_has_a_sentence_to_train_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"tokens": ["w", f"x{i}"], "tags": ["O", "B-A"]} for i in range(200)]
    rare = [{"tokens": ["w", f"y{i}"], "tags": ["O", f"B-R{i}"]} for i in range(30)]
    corpus = prepared(tmp_path, TaggedText(train=jsonl(tmp_path, rows + rare), **SHARES))
    training = corpus.split("train")
    assert {f"w y{i}" for i in range(30)} <= set(training.texts)
    assert "30 of 32 classes have too few rows for the test split" in capsys.readouterr().err
    loose = TaggedText(train=jsonl(tmp_path, rows + rare), stratify=False, **SHARES)
    assert {f"w y{i}" for i in range(30)} - set(prepared(tmp_path, loose).split("train").texts)
    assert "stand in no training row and are not learnt" in capsys.readouterr().err


def test_lines_of_another_width_are_counted_and_named(tmp_path: Path) -> None:
    """Taking out what the line names lets the file be read."""
    lines = [line for i in range(20) for line in ("the DT O", f"w{i} NN B-A", "")]
    lines[10:10] = ["wide NN X O"]
    lines[31:31] = ["narrow O"]
    path = tmp_path / "words.conll"
    path.write_text("\n".join(lines) + "\n")
    said = r"line 11 has 4 columns, and 3 are needed; .* the 2 lines .*\(11, 32; 40 have 3\)"
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, TaggedText(train=str(path), **SHARES))
    path.write_text("\n".join(lines[:10] + lines[11:31] + lines[32:]) + "\n")
    corpus = prepared(tmp_path, TaggedText(train=str(path), **SHARES))
    assert sum(len(corpus.split(name)) for name in ("train", "validation", "test")) == 20


def test_tags_that_the_test_file_lacks_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"tokens": ["w", f"x{i}"], "tags": ["O", f"B-{'AB'[i % 2]}"]} for i in range(60)]
    train = jsonl(tmp_path, rows)
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps({"tokens": ["new", "one"], "tags": ["O", "B-A"]}) + "\n")
    prepared(tmp_path, TaggedText(train=train, test=str(test), **SHARES))
    assert "data.test: has nothing of 1 of the 3 tags" in capsys.readouterr().err
