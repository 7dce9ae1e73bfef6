"""What a file shows of its form holds for all: the training rows decide, others are held to it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit.data import Corpus, TaggedText, TextData, prepare_labelled
from distillkit.errors import DataError
from distillkit.tasks import Classification, MultiLabel, Regression, TokenClassification

Rows = Sequence[tuple[str, Any]]
Read = Callable[..., dict[str, list[Any]]]
VECTORS = [[1, 0], [0, 1], [1, 1], [0, 0]]
IDS = [[1], [0], [0, 1]]


def lines(path: Path, labels: list[Any], count: int = 24) -> Path:
    rows = [{"text": f"{path.stem} {i}", "label": labels[i % len(labels)]} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """split -> what the labels of its rows are, in the order of the file."""

    def call(task: Any = MultiLabel, **settings: Any) -> dict[str, list[Any]]:
        usual = {"text": "text", "label": "label", "validation_fraction": 0.2}
        data = TextData(**usual | settings)
        prepare_labelled(
            data,
            task.read_labels if task is not MultiLabel else MultiLabel().read_labels,
            distribution=task.distribution,
            cache=tmp_path / "cache",
            out=tmp_path / "out",
        )
        corpus = Corpus.open(tmp_path / "out", None)
        found = {}
        for name in ("train", "test"):
            labels = corpus.split(name).labels
            assert labels is not None
            names = corpus.labels.names
            found[name] = [
                [names[i] for i in np.flatnonzero(v)] if np.ndim(v) else names[v] if names else v
                for v in labels
            ]
        return found

    return call


# several labels as 0 and 1


def test_a_test_file_of_one_vector_alone_is_read_as_the_training_rows_are(
    tmp_path: Path, read: Read
) -> None:
    train, test = lines(tmp_path / "a.jsonl", VECTORS), lines(tmp_path / "b.jsonl", [[1, 0]], 5)
    assert read(train=str(train), test=str(test))["test"] == [["0"]] * 5
    train = lines(tmp_path / "a.jsonl", IDS)
    assert read(train=str(train), test=str(test))["test"] == [["0", "1"]] * 5


def test_names_go_by_place_in_each_split(tmp_path: Path, read: Read) -> None:
    train, test = lines(tmp_path / "a.jsonl", VECTORS), lines(tmp_path / "b.jsonl", [[0, 1]], 5)
    found = read(train=str(train), test=str(test), label_names=["toxic", "rude"])
    assert found["test"] == [["rude"]] * 5


@pytest.mark.parametrize("written", [str, lambda v: ";".join(map(str, v))])
def test_so_it_is_of_vectors_in_strings(
    tmp_path: Path, read: Read, written: Callable[[Any], str]
) -> None:
    train = lines(tmp_path / "a.jsonl", [written(v) for v in VECTORS])
    test = lines(tmp_path / "b.jsonl", [written([1, 0])], 5)
    separator = None if written is str else ";"
    found = read(train=str(train), test=str(test), label_separator=separator)
    assert found["test"] == [["0"]] * 5


def test_a_label_that_is_not_given_is_none_of_a_vector_s(tmp_path: Path, read: Read) -> None:
    train = lines(tmp_path / "a.jsonl", [*VECTORS, None])
    test = lines(tmp_path / "b.jsonl", [None, [1, 0]], 4)
    assert read(train=str(train), test=str(test))["test"] == [[], ["0"]] * 2


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (VECTORS, IDS, r"b\.jsonl: the lists of data\.label are the labels that hold, and in .*"),
        (IDS, VECTORS, r"b\.jsonl: the lists of data\.label are 0 or 1 for each of 2 labels, and"),
        (VECTORS, [[1, 0, 1], [0, 1, 0]], r"are 0 or 1 for each of 3 labels, and in .* of 2"),
        (
            VECTORS,
            [["0"], ["1"]],
            r"are the labels that hold, and in data\.train = .*a\.jsonl 0 or",
        ),
    ],
)
def test_another_form_in_another_split_is_refused(
    tmp_path: Path, read: Read, train: Any, test: Any, said: str
) -> None:
    first, second = lines(tmp_path / "a.jsonl", train), lines(tmp_path / "b.jsonl", test)
    with pytest.raises(DataError, match=said):
        read(train=str(first), test=str(second))


def test_and_in_another_file_of_one_list(tmp_path: Path, read: Read) -> None:
    first, second = lines(tmp_path / "a.jsonl", VECTORS), lines(tmp_path / "b.jsonl", IDS)
    with pytest.raises(DataError, match=r"b\.jsonl: .* are the labels that hold, and in a\.jsonl"):
        read(train=[str(first), str(second)])


def test_what_one_file_alone_does_not_show_both_do(tmp_path: Path, read: Read) -> None:
    first, second = lines(tmp_path / "a.jsonl", [[1, 0]]), lines(tmp_path / "b.jsonl", [[0, 1]])
    test = lines(tmp_path / "c.jsonl", [[0, 1]], 5)
    found = read(train=[str(first), str(second)], test=str(test))
    assert found["test"] == [["1"]] * 5
    assert {*map(tuple, found["train"])} == {("0",), ("1",)}


@pytest.mark.parametrize("odd", [[0.1, 0.9, 0.1], [2, 0, 0]])
def test_numbers_that_are_neither_ids_nor_0_and_1_are_refused(
    tmp_path: Path, read: Read, odd: list[float]
) -> None:
    path = lines(tmp_path / "a.jsonl", [odd, [1, 0, 0]])
    with pytest.raises(DataError, match=r"so they are no class ids; one a label must be 0 or 1"):
        read(train=str(path))


# class labels stored as real numbers


def test_whole_numbers_are_the_same_whatever_stands_beside_them(tmp_path: Path, read: Read) -> None:
    parts = {"a": [1.0, 2.0], "b": [1.5, 2.0], "c": [1, 2]}
    for name, values in parts.items():
        texts = [f"{name} {i}" for i in range(24)]
        table = pa.table({"text": texts, "label": pa.array(values * 12)})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    train = [str(tmp_path / f"{name}.parquet") for name in ("a", "b")]
    found = read(Classification, train=train, test=str(tmp_path / "c.parquet"))
    assert {*found["train"]} == {"1", "1.5", "2"}
    assert found["test"] == ["1", "2"] * 12


# real values


def table(path: Path, values: list[str]) -> str:
    rows = [f'{path.stem} {i}\t"{values[i % len(values)]}"\n' for i in range(24)]
    path.write_text("text\tlabel\n" + "".join(rows))
    return str(path)


@pytest.mark.parametrize(
    ("train", "test", "values"),
    [
        (["3,5", "4"], ["1,25", "2"], [1.25, 2]),
        (["3,5", "4"], ["1,000", "2,250"], [1, 2.25]),  # what alone could be thousands
        (["3.5", "4"], ["1.000", "2"], [1, 2]),
        (["3", "4"], ["1,5", "2"], [1.5, 2]),  # to train on, whole numbers alone
        (["1.000,5", "2.000"], ["3.000,25", "7"], [3000.25, 7]),
        (["1,000.5", "2,000"], ["3,000.25", "7"], [3000.25, 7]),
    ],
)
def test_a_decimal_sign_of_the_training_rows_is_that_of_the_others(
    tmp_path: Path, read: Read, train: list[str], test: list[str], values: list[float]
) -> None:
    first, second = table(tmp_path / "a.csv", train), table(tmp_path / "b.csv", test)
    assert read(Regression, train=first, test=second)["test"] == values * 12


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (["3,5", "4"], ["3.5", "4"], "the real values are written with a decimal point, and in"),
        (["3.5", "4"], ["3,5", "4"], "the real values are written with a decimal comma, and in"),
        (["3,5", "4"], ["1.000", "2.000"], "beside it are decimal commas; .* data.decimal=','"),
        (["3.5", "4"], ["1,000", "2,000"], "beside it are decimal points; .* data.decimal='.'"),
        (["3,5", "1.000"], ["3,5"], "holds 1.000 in .*a.csv; beside it are decimal commas"),
        (["3", "1,000"], ["3,5"], "if that is a decimal comma set data.decimal=',', if it is th"),
        (["3,5", "3.5"], ["3"], "'3,5' in row 1 of .* has another decimal sign than the rest"),
    ],
)
def test_another_decimal_sign_is_refused(
    tmp_path: Path, read: Read, train: list[str], test: list[str], said: str
) -> None:
    first, second = table(tmp_path / "a.csv", train), table(tmp_path / "b.csv", test)
    with pytest.raises(DataError, match=said):
        read(Regression, train=first, test=second)


@pytest.mark.parametrize(("sign", "value"), [(",", 1000.0), (".", 1.0)])
def test_what_such_a_refusal_advises_decides(
    tmp_path: Path, read: Read, sign: Any, value: float
) -> None:
    first = table(tmp_path / "a.csv", ["1.000", "2"])
    second = table(tmp_path / "b.csv", ["1.000"])
    found = read(Regression, train=first, test=second, decimal=sign)
    assert found["test"] == [value] * 24


# quotation marks between tabs


def test_marks_that_are_letters_in_one_file_are_not_taken_off_in_another(
    tmp_path: Path, read: Read
) -> None:
    first = table(tmp_path / "a.csv", ["good", "bad"])
    second = tmp_path / "b.csv"
    second.write_text("text\tlabel\n" + '"so so" it is\tgood\n' * 9 + '"nice"\tbad\n' * 9)
    with pytest.raises(DataError, match=r"b\.csv: quotation marks .* set data\.quoting to double"):
        read(Classification, train=first, test=str(second))


# tags


def tagged(path: Path, tags: Sequence[str]) -> str:
    words = ["Anna", "Bell", "sees", "Rome", "today"]
    sentences = [
        "".join(f"{path.stem}{n}{w} {t}\n" for w, t in zip(words, tags, strict=True))
        for n in range(24)
    ]
    path.write_text("\n".join(sentences))
    return str(path)


IOB1, IOB2 = ["I-A", "I-A", "O", "I-B", "O"], ["B-A", "I-A", "O", "B-B", "O"]
IOBES = ["B-A", "E-A", "O", "S-B", "O"]


def prepare_tagged(folder: Path, train: Any, test: str, **settings: Any) -> Corpus:
    data = TaggedText(train=train, test=test, validation_fraction=0.2, **settings)
    task = TokenClassification()
    data.prepare(task, cache=folder / "cache", out=folder / "out")
    return Corpus.open(folder / "out", None)


@pytest.mark.parametrize("scheme", [IOB1, IOB2, IOBES])
def test_tags_of_one_scheme_are_read(tmp_path: Path, scheme: list[str]) -> None:
    train, test = tagged(tmp_path / "a.txt", scheme), tagged(tmp_path / "b.txt", scheme)
    corpus = prepare_tagged(tmp_path, train, test)
    labels = corpus.split("test").labels
    assert labels is not None
    assert [corpus.labels.names[i] for i in labels[:5]] == scheme


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (IOB2, IOB1, "are I-X where an entity begins (IOB1), and in"),
        (IOB1, IOB2, "are B-X where an entity begins (IOB2), and in"),
        (IOB2, IOBES, "are E-X and S-X where an entity ends (IOBES), and in"),
        (IOBES, IOB2, "are B-X where an entity begins (IOB2), and in"),
    ],
)
def test_tags_of_another_scheme_are_refused(
    tmp_path: Path, train: list[str], test: list[str], said: str
) -> None:
    first, second = tagged(tmp_path / "a.txt", train), tagged(tmp_path / "b.txt", test)
    with pytest.raises(DataError) as caught:
        prepare_tagged(tmp_path, first, second)
    assert f"b.txt: the tags {said}" in str(caught.value)
    with pytest.raises(DataError, match=r"b\.txt: the tags are"):
        prepare_tagged(tmp_path, [first, second], first)


def test_a_test_file_without_entities_has_no_scheme(tmp_path: Path) -> None:
    first, second = tagged(tmp_path / "a.txt", IOB1), tagged(tmp_path / "b.txt", ["O"] * 5)
    assert len(prepare_tagged(tmp_path, first, second).split("test")) == 24
