"""Labels of any file are text as written; what cannot be read is refused, what is odd is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit.data import Corpus, TextData, prepare_labelled
from distillkit.errors import ConfigError, DataError
from distillkit.tasks import Classification, MultiLabel, Regression
from tests.tiny import labelled, write_csv

SPLITS = ("train", "validation", "test")
Prepare = Callable[..., Corpus]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """The corpus of a file."""

    def call(path: Path, task: Any = Classification, **settings: Any) -> Corpus:
        out = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}"
        data = TextData(train=str(path), **({"text": "text", "label": "label"} | settings))
        prepare_labelled(
            data,
            task.read_labels,
            distribution=task.distribution,
            cache=tmp_path / "cache",
            out=out,
        )
        return Corpus.open(out, None)

    return call


def told(corpus: Corpus) -> dict[str, Any]:
    """Each text's label by name, or its labels."""
    found: dict[str, Any] = {}
    for name in SPLITS:
        split = corpus.split(name)
        assert split.labels is not None
        for text, label in zip(split.texts, split.labels, strict=True):
            if np.ndim(label):
                found[text] = {corpus.labels.names[i] for i in np.flatnonzero(label)}
            else:
                found[text] = corpus.labels.names[label]
    return found


def rows_of(labels: list[Any], each: int = 12) -> list[tuple[str, Any]]:
    return [(f"text {i}", labels[i % len(labels)]) for i in range(each * len(labels))]


ODD = {
    "zeros": (["01", "1", "2"], ("01", "1", "2")),
    "versions": (["1.10", "1.1", "1.9"], ("1.1", "1.10", "1.9")),
    "decimals": (["1.0", "0.0"], ("0.0", "1.0")),
    "truth": (["True", "False"], ("False", "True")),
    "yes": (["yes", "no"], ("no", "yes")),
    "words for nothing": (["nan", "None", "NA", "null"], ("NA", "None", "nan", "null")),
    "emoji": (["😀", "😡", "👍🏽"], ("👍🏽", "😀", "😡")),
    "scripts": (["é", "中文", "العربية"], ("é", "العربية", "中文")),
    "marks": (["a,b", 'say "x"', "[c]", "{d: 1}"], ("[c]", "a,b", 'say "x"', "{d: 1}")),
    "brackets": (["['a']", "[]"], ("['a']", "[]")),
    "unnamed": (["LABEL_3", "LABEL_0"], ("LABEL_0", "LABEL_3")),
    "unordered": (["10", "9", "-1"], ("-1", "9", "10")),
    "zip codes": (["00501", "10001"], ("00501", "10001")),
    "large": (["9007199254740993", "9007199254740992"], ("9007199254740992", "9007199254740993")),
    "exponents": (["1e3", "1000"], ("1000", "1e3")),
    "dates": (["2024-01-01", "2024-1-1"], ("2024-01-01", "2024-1-1")),
    "case": (["Pos", "pos", "POS"], ("POS", "Pos", "pos")),
    "lines": (["two\nlines", "one"], ("one", "two\nlines")),
    "long": (["x" * 5000, "y" * 5000], ("x" * 5000, "y" * 5000)),
    "code": (["C", "C++", "C#"], ("C", "C#", "C++")),
    "percent": (["50 %", "5 %"], ("5 %", "50 %")),
}


@pytest.mark.parametrize("write", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", ODD)
def test_labels_are_text_as_written(
    prepare: Prepare, tmp_path: Path, name: str, write: str
) -> None:
    labels, names = ODD[name]
    rows = rows_of(labels)
    path = tmp_path / f"odd.{write}"
    if write == "csv":
        write_csv(path, ("text", "label"), rows)
    elif write == "jsonl":
        path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))
    else:
        pq.write_table(pa.Table.from_pylist([{"text": t, "label": y} for t, y in rows]), path)
    corpus = prepare(path)
    assert corpus.labels.names == names
    assert told(corpus) == dict(rows)


def test_numbers_of_a_json_file_are_labels_as_written(prepare: Prepare, tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    lines = [
        f'{{"text": "text {i}", "label": {["1.10", "1.1", "true"][i % 3]}}}' for i in range(30)
    ]
    path.write_text("\n".join(lines))
    assert prepare(path).labels.names == ("1.1", "1.10", "true")


def test_blanks_around_labels_are_cut_off_and_counted(
    prepare: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of([" pos", "pos ", "neg", "pos", "\u00a0neg"])
    corpus = prepare(write_csv(tmp_path / "a.csv", ("text", "label"), rows))
    assert corpus.labels.names == ("neg", "pos")
    assert told(corpus) == {text: label.strip() for text, label in rows}
    assert "data.label = label: 36 labels have blanks around them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_names": ["a", "a"]}, r"data\.label_names = \[a\]: has 'a' twice"),
        ({"label_names": ["a", " "]}, r"data\.label_names = \[a, .*\]: a name is empty"),
        ({"label": ["a", "b", "a"]}, r"data\.label = \[a, b\]: has 'a' twice"),
        ({"label": ["a"], "label_separator": ","}, r"data\.label_separator = ','"),
        ({"label": []}, r"data\.label = \[\]: names no column"),
        ({"label_separator": ""}, r"data\.label_separator = '': is empty"),
    ],
)
def test_names_of_labels_are_checked_before_any_work(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        TextData(**({"train": "a.csv", "text": "text", "label": "label"} | settings))


def test_class_ids_keep_their_order_and_match_unnamed_outputs(
    prepare: Prepare, tmp_path: Path
) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    names = ["positive", "negative", "middling"]
    kinds = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    columns = {"text": [f"text {i}" for i in range(60)], "label": [i % 3 for i in range(60)]}
    Dataset.from_dict(columns, features=kinds).to_parquet(str(tmp_path / "a.parquet"))
    corpus = prepare(tmp_path / "a.parquet")
    assert (corpus.labels.names, corpus.labels.numeric) == (tuple(names), True)
    # a class that no row has leaves the ids with a gap: then a number means nothing
    some = prepare(tmp_path / "a.parquet", where={"label": ["positive", "middling"]})
    assert (some.labels.names, some.labels.numeric) == (("positive", "middling"), False)


def test_labels_of_bytes_are_refused(prepare: Prepare, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {
        "text": [f"text {i}" for i in range(60)],
        "label": [(b"x", b"y")[i % 2] for i in range(60)],
    }
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"data\.label: holds b'x', which is bytes and no text"):
        prepare(tmp_path / "a.parquet")


# held-out files and rows


def test_a_test_file_is_scored_whole_and_each_row_has_its_number(
    prepare: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, extra = labelled(120), labelled(20, seed=5)
    again = [extra[0], (extra[0][0], 1 - extra[0][1]), extra[0], train[7]]
    test = write_csv(tmp_path / "test.csv", ("text", "label"), [*extra, *again])
    path = write_csv(tmp_path / "train.csv", ("text", "label"), train)
    with pytest.raises(DataError, match=r"each of its rows stands in data\.test"):
        prepare(path, test=str(test), validation=str(test))
    corpus = prepare(path, test=str(test))
    split = corpus.split("test")
    assert split.texts == [text for text, _ in [*extra, *again]]
    assert split.numbers is not None and split.numbers.tolist() == list(range(1, 25))
    training = corpus.split("train")
    assert training.numbers is not None
    assert corpus.split("validation").numbers is not None
    others = {*training.numbers.tolist(), *corpus.split("validation").numbers.tolist()}
    assert others == set(range(1, 121)) - {8}
    assert "1 train rows also held out" in capsys.readouterr().err


def test_row_numbers_are_those_of_the_file_whatever_was_left_out(
    prepare: Prepare, tmp_path: Path
) -> None:
    rows = [(text, label, "ab"[i % 3 > 0]) for i, (text, label) in enumerate(labelled(120))]
    rows[4] = ("", 1, "b")
    path = write_csv(tmp_path / "train.csv", ("text", "label", "source"), [*rows, rows[5]])
    corpus = prepare(path, where={"source": "b"}, drop_empty=True)
    for name in SPLITS:
        split = corpus.split(name)
        assert split.numbers is not None
        assert [rows[i - 1][0] for i in split.numbers] == split.texts


def test_a_class_of_one_row_stays_in_training(
    prepare: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [*labelled(200), *((f"one of a kind {i}", f"rare {i}") for i in range(9))]
    corpus = prepare(write_csv(tmp_path / "a.csv", ("text", "label"), rows))
    assert {text for text, label in rows if str(label).startswith("rare")} <= set(
        corpus.split("train").texts
    )
    said = capsys.readouterr().err
    assert "9 of 11 classes have too few rows for the test split" in said
    assert "9 of 11 classes have too few rows for the validation split" in said


def test_a_small_choice_holds_each_class_and_is_a_part_of_a_larger_one(
    prepare: Prepare, tmp_path: Path
) -> None:
    rows = [(f"text {i}", f"class {0 if i % 20 else i // 20}") for i in range(400)]
    path = write_csv(tmp_path / "a.csv", ("text", "label"), rows)
    chosen = [prepare(path, train_size=n).split("train") for n in (20, 60, 200)]
    assert [len(split) for split in chosen] == [20, 60, 200]
    assert set(chosen[0].texts) < set(chosen[1].texts) < set(chosen[2].texts)
    for split in chosen:
        assert split.labels is not None and len(set(split.labels.tolist())) == 20
    with pytest.raises(
        DataError, match=r"data\.train_size = 19: for each of the 20 classes .* give 20 or"
    ):
        prepare(path, train_size=19)


# several labels a text


def test_an_empty_cell_is_no_label(prepare: Prepare, tmp_path: Path) -> None:
    rows = rows_of(["a", "", "a;b", " ", "b ; a"])
    path = write_csv(tmp_path / "a.csv", ("text", "label"), rows)
    corpus = prepare(path, MultiLabel(), label_separator=";")
    expected = {t: {p.strip() for p in y.split(";")} - {""} for t, y in rows}
    assert told(corpus) == expected


def test_columns_of_zeros_and_ones_are_labels(prepare: Prepare, tmp_path: Path) -> None:
    signs = [("1", "0"), ("true", "False"), ("Yes", "no"), ("1.0", "0.0"), (" T ", "")]
    columns = ("text", "toxic", "obscene", "threat")
    rows = []
    for i in range(90):
        yes, no = signs[i % len(signs)]
        rows.append((f"text {i}", yes if i % 2 else no, yes if i % 3 else no, no))
    path = write_csv(tmp_path / "a.csv", columns, rows)
    corpus = prepare(path, MultiLabel(), label=["toxic", "obscene", "threat"])
    assert corpus.labels.names == ("toxic", "obscene", "threat")
    assert told(corpus) == {
        f"text {i}": {n for n, holds in (("toxic", i % 2), ("obscene", i % 3)) if holds}
        for i in range(90)
    }


@pytest.mark.parametrize("value", ["2", "0.83", "-1", "maybe"])
def test_a_column_that_is_neither_zero_nor_one_is_refused(
    prepare: Prepare, tmp_path: Path, value: str
) -> None:
    rows = [(f"text {i}", i % 2, value if i == 30 else 0) for i in range(60)]
    path = write_csv(tmp_path / "a.csv", ("text", "a", "b"), rows)
    with pytest.raises(DataError, match=rf"b is '{value}' in row 31 of .* holds 0 or 1"):
        prepare(path, MultiLabel(), label=["a", "b"])


def test_several_columns_are_for_several_labels(prepare: Prepare, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ("text", "a", "b"), [(f"x {i}", 0, 1) for i in range(40)])
    with pytest.raises(DataError, match=r"data\.label = \[a, b\].*task=multi_label"):
        prepare(path, label=["a", "b"])
    with pytest.raises(DataError, match=r"a is the only label; .* task=classification"):
        prepare(path, MultiLabel(), label=["a"])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([["a", "b"], [], None, ["b", " a "]], [{"a", "b"}, set(), set(), {"a", "b"}]),
        ([[1, 2], [2], [], [10]], [{"1", "2"}, {"2"}, set(), {"10"}]),
        # as transformers takes them: 0 or 1 for each label
        (
            [[1, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 1]],
            [{"0", "2"}, set(), {"1", "2"}, {"0", "1", "2"}],
        ),
        ([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]], [{"0"}, set(), {"0", "1"}]),
        ([[True, False], [False, False], [True, True]], [{"0"}, set(), {"0", "1"}]),
        (["['a', 'b']", "[]", '["b"]', ""], [{"a", "b"}, set(), {"b"}, set()]),
        ([["a", "a", "", None], ["b"], [], []], [{"a"}, {"b"}, set(), set()]),
    ],
)
def test_lists_of_labels_are_read(
    prepare: Prepare, tmp_path: Path, values: list[Any], expected: list[set[str]]
) -> None:
    rows = rows_of(values)
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))
    corpus = prepare(path, MultiLabel())
    assert told(corpus) == {t: expected[i % len(values)] for i, (t, _) in enumerate(rows)}


@pytest.mark.parametrize("value", ["['a' 'b']", "[a, b]", "['a'", "a,b"])
def test_text_that_is_no_list_is_refused(prepare: Prepare, tmp_path: Path, value: str) -> None:
    path = write_csv(tmp_path / "a.csv", ("text", "label"), rows_of([value, "['b']", "[]"]))
    with pytest.raises(DataError, match="which is no list of labels"):
        prepare(path, MultiLabel())


def test_a_vector_takes_its_names_from_the_config(prepare: Prepare, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = rows_of([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))
    corpus = prepare(path, MultiLabel(), label_names=["x", "y", "z"])
    assert told(corpus)["text 0"] == {"x", "z"}
    with pytest.raises(DataError, match=r"lists have 3 numbers of 0 and 1.*\[x, y\] has 2 names"):
        prepare(path, MultiLabel(), label_names=["x", "y"])


def test_rows_of_several_labels_may_be_fewer_than_the_labels(
    prepare: Prepare, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "a.csv", ("text", "label"), rows_of(["a;b;c;d", "", "a;b"], 20))
    corpus = prepare(path, MultiLabel(), label_separator=";", train_size=2)
    labels = corpus.split("train").labels
    assert labels is not None and labels.shape == (2, 4) and labels.any(axis=0).all()


def test_one_label_a_text_is_no_list(prepare: Prepare, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ("text", "label"), rows_of(["a,b", "", "c"]))
    with pytest.raises(DataError, match=r"'a,b', which is no list.*data\.label_separator"):
        prepare(path, MultiLabel())
    with pytest.raises(DataError, match=r"data\.label_separator = ',': .* task=multi_label"):
        prepare(path, drop_empty=True, label_separator=",")


def test_a_class_that_the_config_names_may_lack_training_rows(
    prepare: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write_csv(tmp_path / "a.csv", ("text", "label"), rows_of(["a", "b"], 20))
    test = write_csv(tmp_path / "t.csv", ("text", "label"), [("new", "c"), ("newer", "a")])
    with pytest.raises(DataError, match=r"c stand in no training row.*data\.label_names"):
        prepare(train, test=str(test))
    corpus = prepare(train, test=str(test), label_names=["a", "b", "c"])
    assert told(corpus)["new"] == "c"
    assert "c stand in no training row and are not learnt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([f"a label {i}" for i in range(60)], "nearly each row has one of its own; is this"),
        ([f"{i / 7:.4f}" for i in range(60)], "of its own; a real value takes task=regression"),
    ],
)
def test_a_column_of_labels_of_their_own_is_named_though_nothing_can_be_held_out(
    prepare: Prepare, tmp_path: Path, labels: list[str], message: str
) -> None:
    path = write_csv(tmp_path / "a.csv", ("text", "label"), rows_of(labels, 1))
    with pytest.raises(DataError, match=message):
        prepare(path)


@pytest.mark.parametrize("task", [Classification, MultiLabel()])
@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}]])
def test_a_mapping_is_no_label(prepare: Prepare, tmp_path: Path, task: Any, value: object) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"t {i}", "label": value}) + "\n" for i in range(60))
    )
    with pytest.raises(DataError, match=r"no (single label|list of labels)|is no label"):
        prepare(path, task)


def test_real_values_are_compared_as_numbers(
    prepare: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(f"text {i % 60}", f"{i % 60}" + (".0" if i > 59 else "")) for i in range(120)]
    prepare(write_csv(tmp_path / "a.csv", ("text", "label"), rows), Regression)
    assert "different labels" not in capsys.readouterr().err
    rows[70] = (rows[70][0], "3.5")
    prepare(write_csv(tmp_path / "b.csv", ("text", "label"), rows), Regression)
    assert "'text 10' is 10.0 (row 11) and 3.5 (row 71)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        ({"duplicates": "drop"}, True),
        ({"stratify": False}, True),
        ({"label": "other"}, True),
        ({"label_names": ["x", "y"]}, True),
        ({"transfer_spans": 3}, False),
    ],
)
def test_a_setting_that_decides_the_splits_changes_their_name(
    tmp_path: Path, change: dict[str, Any], matters: bool
) -> None:
    path = str(write_csv(tmp_path / "a.csv", ("text", "label"), [("a", "b")]))
    usual = {"train": path, "text": "text", "label": "label"}
    decided, changed = (TextData(**(usual | c)).labelled_fields() for c in ({}, change))
    assert (decided != changed) == matters


def test_rows_that_all_contradict_each_other_leave_nothing_and_it_is_said(
    prepare: Prepare, tmp_path: Path
) -> None:
    rows = [(f"text {i % 30}", "ab"[(i + i // 30) % 2]) for i in range(60)]
    path = write_csv(tmp_path / "a.csv", ("text", "label"), rows)
    with pytest.raises(
        DataError, match=r"train split is empty .*dropped: 60 with different labels"
    ):
        prepare(path, duplicates="drop")
    assert len(told(prepare(path, duplicates="majority"))) == 30


def test_no_row_is_lost_beside_a_validation_file(prepare: Prepare, tmp_path: Path) -> None:
    rows = [(f"text {i}", f"class {i % 40}") for i in range(100)]
    held = write_csv(tmp_path / "v.csv", ("text", "label"), [("new", "class 1")])
    path = write_csv(tmp_path / "a.csv", ("text", "label"), rows)
    corpus = prepare(path, validation=str(held))
    assert {*corpus.split("train").texts, *corpus.split("test").texts} == {t for t, _ in rows}
