"""Text becomes labelled splits: every row once, every label known, everything dropped counted."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit.data.corpus import LABELLED, Corpus
from distillkit.data.files import TextData, prepare_labelled, prepare_transfer
from distillkit.data.splits import example_key, normalise
from distillkit.errors import ConfigError, DataError
from distillkit.tasks import Classification, Regression
from tests.tiny import labelled, write_csv

ROWS = labelled(120)
Prepare = Callable[..., tuple[Corpus, dict[str, Any]]]
Prepared = tuple[Corpus, dict[str, Any]]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Prepare the labelled splits of these settings in a folder of their own."""

    def call(task: Any = Classification, **settings: Any) -> Prepared:
        usual = {"text": "text", "label": "label"}
        data = TextData(**usual | {k: as_spec(v) for k, v in settings.items()})
        out = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}"
        out.mkdir()
        facts = prepare_labelled(
            data,
            task.read_labels,
            distribution=task.distribution,
            cache=tmp_path / "cache",
            out=out,
        )
        return Corpus.open(out, None), facts

    return call


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """A csv of rows (text, label), or with other columns."""

    def write(
        rows: Sequence[Sequence[object]],
        columns: Sequence[str] = ("text", "label"),
        name: str = "train.csv",
    ) -> Path:
        return write_csv(tmp_path / name, columns, rows)

    return write


def as_spec(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def texts(corpus: Corpus, *names: str) -> list[str]:
    return [text for name in names or LABELLED for text in corpus.split(name).texts]


def told(corpus: Corpus) -> dict[str, str]:
    """Each text's label by name."""
    found: dict[str, str] = {}
    for name in LABELLED:
        split = corpus.split(name)
        assert split.labels is not None
        names = [corpus.labels.names[i] for i in split.labels]
        found |= dict(zip(split.texts, names, strict=True))
    return found


def test_a_smaller_choice_is_a_part_of_a_larger_one(prepare: Prepare, table: Any) -> None:
    source = table(ROWS)
    everything, _ = prepare(train=source)
    chosen = [prepare(train=source, train_size=n, held_out_size=4)[0] for n in (10, 20)]
    smaller, larger = (set(texts(corpus, "train")) for corpus in chosen)
    assert (len(smaller), len(larger)) == (10, 20)
    assert smaller < larger < set(texts(everything, "train"))
    for name in ("validation", "test"):
        assert len(texts(chosen[0], name)) == 4
        assert set(texts(chosen[0], name)) < set(texts(everything, name))


# any file


def as_json_lines(path: Path) -> None:
    path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in ROWS))


def as_parquet(path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in ROWS]
    pq.write_table(pa.Table.from_pylist(rows), path)


def as_tsv(path: Path) -> None:
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS))


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.jsonl", as_json_lines), ("a.parquet", as_parquet), ("a.tsv", as_tsv)],
)
def test_the_same_rows_give_the_same_corpus_from_any_file(
    prepare: Prepare,
    table: Callable[..., Path],
    tmp_path: Path,
    name: str,
    write: Callable[[Path], None],
) -> None:
    write(tmp_path / name)
    ours, facts = prepare(train=tmp_path / name)
    theirs, same = prepare(train=table(ROWS))
    assert facts == same == {"counts": facts["counts"], "dropped": {}}
    assert sum(facts["counts"].values()) == len(ROWS)
    for split in LABELLED:
        one, other = ours.split(split), theirs.split(split)
        assert (one.texts, one.pairs) == (other.texts, None)
        assert (one.keys == other.keys).all()
        assert (one.labels == other.labels).all()


def test_a_folder_gives_all_its_splits(prepare: Prepare, tmp_path: Path) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    parts = {"train": ROWS[:80], "validation": ROWS[80:100], "test": ROWS[100:]}
    for name, rows in parts.items():
        write_csv(folder / f"{name}.csv", ["text", "label"], rows)
    corpus, _ = prepare(train=folder, validation=folder, test=folder)
    for name, rows in parts.items():
        assert texts(corpus, name) == [text for text, _ in rows]


def test_a_key_is_of_the_exact_text(prepare: Prepare, table: Callable[..., Path]) -> None:
    corpus, _ = prepare(train=table([(text.title(), label) for text, label in ROWS]))
    split = corpus.split("train")
    assert [bytes(key).ljust(16, b"\0") for key in split.keys] == [
        example_key(text) for text in split.texts
    ]


# who stands where


def test_the_order_of_the_rows_changes_no_split(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    ours, _ = prepare(train=table(ROWS))
    theirs, _ = prepare(train=table(ROWS[::-1], name="turned.csv"))
    for name in LABELLED:
        assert set(texts(ours, name)) == set(texts(theirs, name))


def test_a_duplicate_stands_once_and_is_counted(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    again = [(f" {text.upper()} ", label) for text, label in ROWS[:50]]
    corpus, facts = prepare(train=table([*ROWS, *again]))
    assert sorted(texts(corpus)) == sorted(text for text, _ in ROWS)
    assert facts["dropped"] == {"duplicate": 50}


def test_train_rows_of_the_test_file_are_dropped_and_counted(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    held = [(text.upper(), label) for text, label in ROWS[:30]]
    test = table(held, name="test.csv")
    corpus, facts = prepare(train=table(ROWS), test=test)
    assert texts(corpus, "test") == [text for text, _ in held]
    rest = {normalise(text) for text in texts(corpus, "train", "validation")}
    assert rest == {text for text, _ in ROWS[30:]}
    assert facts["dropped"] == {"train rows also held out": 30}


def test_test_comes_before_validation_before_train(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    corpus, facts = prepare(
        train=table(ROWS),
        validation=table(ROWS[:40], name="validation.csv"),
        test=table(ROWS[20:60] + ROWS[20:25], name="test.csv"),
    )
    assert texts(corpus, "test") == [text for text, _ in ROWS[20:60] + ROWS[20:25]]
    assert texts(corpus, "validation") == [text for text, _ in ROWS[:20]]
    assert texts(corpus, "train") == [text for text, _ in ROWS[60:]]
    assert facts["dropped"] == {
        "validation rows also in test": 20,
        "train rows also held out": 60,
    }


def test_where_cuts_train_alone(prepare: Prepare, table: Callable[..., Path]) -> None:
    columns = ("text", "label", "source")
    rows = [(text, label, "ab"[i % 3 == 0]) for i, (text, label) in enumerate(ROWS[:90])]
    test = table([(text, label, "c") for text, label in ROWS[90:]], columns, "test.csv")
    corpus, _ = prepare(train=table(rows, columns), test=test, where={"source": "a"})
    assert sorted(texts(corpus, "train", "validation")) == sorted(t for t, _, s in rows if s == "a")
    assert len(corpus.split("test")) == 30


@pytest.mark.parametrize("rows", [ROWS[:2], ROWS[:1] * 5 + ROWS[1:2]])
def test_an_empty_split_is_refused_with_the_way_out(
    prepare: Prepare, table: Callable[..., Path], rows: list[Any]
) -> None:
    with pytest.raises(DataError, match=r"split is empty .* give data\.\w+=FILE, or more rows$"):
        prepare(train=table(rows))


@pytest.mark.parametrize("count", [6, 8, 12])
@pytest.mark.parametrize("stratify", [True, False])
def test_fractions_that_are_advised_leave_no_split_empty(
    prepare: Prepare, table: Callable[..., Path], count: int, stratify: bool
) -> None:
    words: dict[str, Any] = {"train": table(ROWS[:count]), "stratify": stratify}
    usual = {"validation_fraction": 0.01, "test_fraction": 0.01}
    with pytest.raises(DataError, match="split is empty") as refused:
        prepare(**words, **usual)
    advised = dict(re.findall(r"data\.(\w+_fraction)=([\d.]+)", str(refused.value)))
    assert {*advised} == {*usual}
    corpus, _ = prepare(**words, **{name: float(it) for name, it in advised.items()})
    assert all(len(corpus.split(name)) for name in ("train", "validation", "test"))


def test_a_test_file_within_train_may_leave_nothing_to_train_on(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match="the train split is empty"):
        prepare(train=table(ROWS[:50]), test=table(ROWS, name="test.csv"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"validation_fraction": 0.5, "test_fraction": 0.5},
        {"transfer": "a.csv", "text_pair": "other"},
        {"transfer_words": [5]},
        {"transfer_words": [5, 10, 15]},
        {"transfer_span_words": [3, 2]},
    ],
)
def test_settings_that_cannot_be_are_refused_before_any_work(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^data\."):
        TextData(train="train.csv", text="text", label="label", **wrong)


# columns and values


def test_a_missing_column_names_those_that_there_are(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    train = table(ROWS, ("review", "label"))
    with pytest.raises(DataError) as caught:
        prepare(train=train)
    assert str(caught.value) == (
        f"data.text = text: no such column in {train}; its columns are review, label"
    )


def test_words_that_look_like_nothing_are_text(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    words = ["NA", "null", "None", "nan", "N/A"]
    corpus, facts = prepare(train=table([*ROWS, *((word, 1) for word in words)]))
    found = [text for text in texts(corpus) if text in words]
    assert sorted(found) == ["N/A", "NA", "None", "nan", "null"]
    assert facts["dropped"] == {}


NOTHING = {"text": ("", 1), "spaces": ("  ", 1), "label": ("a film without label", "")}


@pytest.mark.parametrize(("column", "row"), NOTHING.items())
def test_nothing_in_a_column_is_refused_with_count_and_first_row(
    prepare: Prepare, table: Callable[..., Path], column: str, row: tuple[str, object]
) -> None:
    train = table([*ROWS[:5], row, *ROWS[5:], row])
    name = "label" if column == "label" else "text"
    with pytest.raises(DataError) as caught:
        prepare(train=train)
    assert str(caught.value) == (
        f"data.{name} = {name}: 2 of the 122 rows of {train} have nothing in a column "
        "that is needed (the first is row 6); mend them, or set data.drop_empty=true"
    )


def test_the_row_without_text_is_counted_in_the_file_not_in_what_was_kept(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    rows = [*((*row, "b") for row in ROWS[:10]), ("", 1, "a"), *((*row, "a") for row in ROWS[10:])]
    train = table(rows, ("text", "label", "source"))
    with pytest.raises(DataError, match="the first is row 11"):
        prepare(train=train, where={"source": "a"})


@pytest.mark.parametrize(("column", "row"), NOTHING.items())
def test_drop_empty_leaves_such_rows_out_and_counts_them(
    prepare: Prepare, table: Callable[..., Path], column: str, row: tuple[str, object]
) -> None:
    corpus, facts = prepare(train=table([*ROWS[:5], row, *ROWS[5:], row]), drop_empty=True)
    assert facts["dropped"] == {"empty (train)": 2}
    assert told(corpus) == {text: str(label) for text, label in ROWS}


def test_numbers_in_a_text_column_are_text_as_written(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    numbers = [f"{i:03d}.50" for i in range(120)]
    corpus, _ = prepare(
        train=table([(n, label) for n, (_, label) in zip(numbers, ROWS, strict=True)])
    )
    assert sorted(texts(corpus)) == numbers


AS_WRITTEN = ["01", "1", "1.10", "00501", "True", "null", "NA", "1e3", "nan", "-0", "1_000"]


@pytest.mark.parametrize("name", ["train.csv", "train.tsv", "train.jsonl", "train.json"])
def test_labels_are_the_text_that_stands_in_the_file(
    prepare: Prepare, table: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    rows = [(text, AS_WRITTEN[i % len(AS_WRITTEN)]) for i, (text, _) in enumerate(labelled(440))]
    if name == "train.csv":
        table(rows)
    elif name == "train.tsv":
        lines = [f"{text}\t{label}\n" for text, label in rows]
        (tmp_path / name).write_text("".join(["text\tlabel\n", *lines]))
    else:
        found = [json.dumps({"text": text, "label": label}) for text, label in rows]
        body = f"[{','.join(found)}]" if name == "train.json" else "\n".join(found)
        (tmp_path / name).write_text(body)
    corpus, _ = prepare(train=tmp_path / name)
    assert corpus.labels.names == tuple(sorted(AS_WRITTEN))
    assert told(corpus) == dict(rows)


@pytest.mark.parametrize(
    ("written", "label"),
    [("1", "1"), ("1.10", "1.10"), ("1e3", "1e3"), ("true", "true"), ("-0", "0"), ("1E5", "1E5")],
)
def test_numbers_and_truth_values_of_json_are_labels_as_written(
    prepare: Prepare, tmp_path: Path, written: str, label: str
) -> None:
    lines = [
        f'{{"text": {json.dumps(text)}, "label": {written if y else json.dumps("other")}}}\n'
        for text, y in ROWS
    ]
    (tmp_path / "a.jsonl").write_text("".join(lines))
    corpus, _ = prepare(train=tmp_path / "a.jsonl")
    assert set(corpus.labels.names) == {label, "other"}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (pa.array([0, 1] * 60), ("0", "1")),
        (pa.array([0.1, 1.0] * 60, pa.float32()), ("0.1", "1")),
        (pa.array([0.0, 1.0] * 60), ("0", "1")),
        (pa.array([True, False] * 60), ("False", "True")),
        (pa.array(["b", "a"] * 60).dictionary_encode(), ("a", "b")),
    ],
)
def test_labels_of_parquet_are_the_text_of_their_values(
    prepare: Prepare, tmp_path: Path, values: pa.Array, names: tuple[str, ...]
) -> None:
    pq.write_table(
        pa.table({"text": [t for t, _ in ROWS], "label": values}), tmp_path / "a.parquet"
    )
    corpus, _ = prepare(train=tmp_path / "a.parquet")
    assert corpus.labels.names == names


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_column_that_nobody_asked_for_changes_its_type_and_nothing_breaks(
    prepare: Prepare, tmp_path: Path, name: str
) -> None:
    rows = [
        (text, label, i if i < 11_000 else "x") for i, (text, label) in enumerate(labelled(12_000))
    ]
    if name == "a.csv":
        write_csv(tmp_path / name, ["text", "label", "more"], rows)
    else:
        found = [json.dumps(dict(zip(("text", "label", "more"), row, strict=True))) for row in rows]
        (tmp_path / name).write_text("\n".join(found))
    corpus, _ = prepare(train=tmp_path / name)
    assert told(corpus) == {text: str(label) for text, label, _ in rows}


# labels


def test_string_labels_keep_their_names_in_alphabetical_order(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    names = [f"intent {i}" for i in range(77)]
    rows = [(f"{text} number {i}", names[i % 77]) for i, (text, _) in enumerate(labelled(1540))]
    corpus, _ = prepare(train=table(rows))
    assert corpus.labels.names == tuple(sorted(names))
    assert not corpus.labels.numeric
    assert told(corpus) == dict(rows)


def test_label_names_give_strings_their_order(prepare: Prepare, table: Callable[..., Path]) -> None:
    rows = [(text, ["bad", "good"][label]) for text, label in ROWS]
    corpus, _ = prepare(train=table(rows), label_names=["good", "bad"])
    assert corpus.labels.names == ("good", "bad")
    assert told(corpus) == dict(rows)


def test_whole_numbers_are_named_by_label_names(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    corpus, _ = prepare(train=table(ROWS), label_names=["bad", "good"])
    assert corpus.labels.names == ("bad", "good")
    assert corpus.labels.numeric
    assert told(corpus) == {text: ["bad", "good"][label] for text, label in ROWS}


def test_numbers_that_skip_are_put_in_numeric_order(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    rows = [(text, [-1, 10, 9][i % 3]) for i, (text, _) in enumerate(ROWS)]
    corpus, _ = prepare(train=table(rows))
    assert corpus.labels.names == ("-1", "9", "10")
    assert told(corpus) == {text: str(label) for text, label in rows}


def test_a_label_that_has_no_name_is_refused(prepare: Prepare, table: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"data\.label_names = \[bad\]: .* the data has 0 to 1"):
        prepare(train=table(ROWS), label_names=["bad"])


def test_one_class_is_refused(prepare: Prepare, table: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="every row has the label '1'; a classifier needs two"):
        prepare(train=table([(text, 1) for text, _ in ROWS]))


def test_a_class_that_only_the_test_file_has_is_refused_by_name(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    train = table([(text, ["bad", "good"][label]) for text, label in ROWS[:80]])
    test = table([(text, "strange") for text, _ in ROWS[80:]], name="test.csv")
    match = "strange stand in no training row, but in test; training has bad, good"
    with pytest.raises(DataError, match=match):
        prepare(train=train, test=test)


def test_a_class_that_the_test_file_lacks_is_said(
    prepare: Prepare, table: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    train = table([(text, "abc"[i % 3]) for i, (text, _) in enumerate(ROWS[:80])])
    test = table([(text, "a") for text, _ in ROWS[80:]], name="test.csv")
    prepare(train=train, test=test)
    said = "data.test: has nothing of 2 of the 3 classes, of which nothing is measured: b, c"
    assert said in " ".join(capsys.readouterr().err.split())
    prepare(train=train)
    assert "nothing is measured" not in capsys.readouterr().err


def class_labels(path: Path, rows: Sequence[tuple[str, int]], names: list[str]) -> Path:
    """Parquet as the hub has it: the labels are numbers, the file knows their names."""
    from datasets import ClassLabel, Dataset, Features, Value

    kinds = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    Dataset.from_dict(columns, features=kinds).to_parquet(str(path))
    return path


def test_a_file_that_knows_its_label_names_is_believed(prepare: Prepare, tmp_path: Path) -> None:
    train = class_labels(tmp_path / "a.parquet", ROWS, ["poor", "fine"])
    corpus, _ = prepare(train=train)
    assert told(corpus) == {text: ["poor", "fine"][label] for text, label in ROWS}


def test_the_label_minus_one_of_hidden_test_sets_is_no_class(
    prepare: Prepare, tmp_path: Path
) -> None:
    """As GLUE's test splits have it."""
    train = class_labels(tmp_path / "a.parquet", ROWS[:80], ["poor", "fine"])
    test = class_labels(tmp_path / "b.parquet", [(t, -1) for t, _ in ROWS[80:]], ["poor", "fine"])
    with pytest.raises(DataError, match=r"data\.label"):
        prepare(train=train, test=test)


# real values and pairs


def test_real_values_are_kept(prepare: Prepare, table: Callable[..., Path]) -> None:
    rows = [(text, i / 8) for i, (text, _) in enumerate(ROWS)]
    corpus, _ = prepare(Regression, train=table(rows))
    assert corpus.labels.names == ()
    found: dict[str, float] = {}
    for name in LABELLED:
        split = corpus.split(name)
        assert split.labels is not None
        assert split.labels.dtype == np.float64
        found |= dict(zip(split.texts, split.labels.tolist(), strict=True))
    assert found == dict(rows)


@pytest.mark.parametrize(
    ("task", "labels", "reason"),
    [
        (Regression, ["good", "bad"], "task=classification"),
        (Regression, [2.0, 2.0], "nothing can be learnt"),
    ],
)
def test_labels_of_another_task_are_refused_with_the_way_out(
    prepare: Prepare, table: Callable[..., Path], task: Any, labels: list[Any], reason: str
) -> None:
    with pytest.raises(DataError, match=rf"data\.label.*: .*{reason}"):
        prepare(task, train=table([(text, labels[i % 2]) for i, (text, _) in enumerate(ROWS)]))


def test_pairs_are_kept_together(prepare: Prepare, table: Callable[..., Path]) -> None:
    rows = [("the same question", text, label) for text, label in ROWS]
    train = table(rows, ("text", "answer", "label"))
    corpus, facts = prepare(train=train, text_pair="answer")
    assert facts["dropped"] == {}
    split = corpus.split("train")
    assert split.pairs is not None
    assert set(zip(split.texts, split.pairs, strict=True)) <= {(q, a) for q, a, _ in rows}
    assert len(set(split.keys.tolist())) == len(split)


def test_a_pair_without_its_second_text_is_refused(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    rows = [("a question", text, label) for text, label in ROWS] + [("a question", "", 1)]
    with pytest.raises(DataError, match=r"data\.text_pair = answer: 1 of the 121 rows"):
        prepare(train=table(rows, ("text", "answer", "label")), text_pair="answer")


# transfer


@pytest.fixture
def transfer(prepare: Prepare, table: Callable[..., Path], tmp_path: Path) -> Callable[..., Any]:
    """Prepare the transfer set of these texts beside the labelled rows."""

    def call(rows: Sequence[object], column: str = "text", **settings: Any) -> Prepared:
        train = table(ROWS)
        corpus, _ = prepare(train=train)
        source = table([[row] for row in rows], [column], "transfer.csv")
        usual = {"transfer": str(source), "transfer_unit": "row"}
        data = TextData(train=str(train), text="text", label="label", **usual | settings)
        out = tmp_path / "transfer"
        out.mkdir()
        facts = prepare_transfer(data, corpus, cache=tmp_path / "cache", out=out)
        return Corpus.open(corpus.path, out), facts

    return call


def test_the_transfer_set_holds_no_labelled_text_of_any_split(transfer: Callable[..., Any]) -> None:
    new = [f"{text} indeed" for text, _ in ROWS]
    corpus, facts = transfer([*(text.upper() for text, _ in ROWS), *new, *new[:7]])
    split = corpus.split("transfer")
    assert sorted(split.texts) == sorted(new)
    assert (split.labels, split.pairs) == (None, None)
    assert facts == {
        "counts": {"transfer": len(new)},
        "dropped": {"duplicate": 7, "labelled": len(ROWS)},
    }


def test_transfer_text_may_have_a_column_of_its_own(transfer: Callable[..., Any]) -> None:
    corpus, _ = transfer(["A new film. And more."], "body", transfer_text="body")
    assert corpus.split("transfer").texts == ["A new film. And more."]


def test_spans_of_the_training_texts_join_it_and_of_no_held_out_text(
    transfer: Callable[..., Any],
) -> None:
    corpus, facts = transfer(["a new film"], transfer_spans=3, transfer_span_words=[2, 3])
    first, *cut = corpus.split("transfer").texts
    assert first == "a new film"
    assert facts["counts"]["transfer"] == 1 + len(cut) > 100
    train = corpus.split("train").texts
    assert all(any(span in text for text in train) for span in cut)


def test_spans_need_no_other_transfer_text(transfer: Callable[..., Any]) -> None:
    corpus, _ = transfer([], transfer=None, transfer_spans=2)
    assert len(corpus.split("transfer")) > 100
    assert TextData(train="a.csv", text="text", label="label", transfer_spans=1).has_transfer


def test_so_many_spans_at_most_and_the_other_texts_stay(transfer: Callable[..., Any]) -> None:
    corpus, _ = transfer(["a new film"], transfer_spans=3, transfer_spans_size=20)
    first, *cut = corpus.split("transfer").texts
    assert (first, len(cut)) == ("a new film", 20)


def test_a_missing_transfer_column_is_named(transfer: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"data\.transfer_text = text: no such column"):
        transfer(["A new film."], "body")


@pytest.mark.parametrize("rows", [[ROWS[0][0]], [ROWS[0][0].upper(), ROWS[1][0]]])
def test_a_transfer_set_without_text_is_refused(
    transfer: Callable[..., Any], rows: list[object]
) -> None:
    with pytest.raises(DataError, match=r"data\.transfer = .*: no text in it was left to use"):
        transfer(rows)


def test_without_transfer_set_its_split_is_empty(
    prepare: Prepare, table: Callable[..., Path]
) -> None:
    corpus, _ = prepare(train=table(ROWS))
    assert len(corpus.split("transfer")) == 0
    assert not TextData(train="a.csv", text="text", label="label").has_transfer
    none = TextData(train="a.csv", text="text", label="label", transfer="b.csv", transfer_size=0)
    assert not none.has_transfer


@pytest.mark.parametrize("twice", [{"text_pair": "text"}, {"label": "text"}])
def test_a_column_is_named_once(twice: dict[str, str]) -> None:
    (key,) = twice
    with pytest.raises(ConfigError, match=rf"^data\.{key} = text: is data\.text, too"):
        TextData(**{"train": "a.csv", "text": "text", "label": "label"} | twice)
