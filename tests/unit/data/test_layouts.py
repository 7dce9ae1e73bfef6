"""What people have: a folder a class, values in mappings, an object of columns, a zip, prose."""

import datetime
import gzip
import json
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit.data import Corpus, Documents, TaggedText, TextData, prepare_labelled
from distillkit.data.documents import prepare_documents
from distillkit.data.filters import keep_rows
from distillkit.data.tables import Table, read_table
from distillkit.errors import DataError
from distillkit.tasks import Classification, TokenClassification

Read = Callable[..., Table]
COLUMNS = {"data.text": "text", "data.label": "label"}
ROWS = [("good film", "pos"), ("bad film", "neg"), ("fine", "pos")]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read a source in the folder of the test, by its text and label."""
    monkeypatch.chdir(tmp_path)

    def call(spec: Any, split: str = "train", **settings: Any) -> Table:
        usual = {"columns": COLUMNS, "texts": COLUMNS, "key": f"data.{split}"}
        return read_table(spec, split=split, cache=tmp_path / "cache", **usual | settings)

    return call


def rows_of(table: Table) -> list[tuple[Any, ...]]:
    return list(zip(table["text"], table["label"], strict=True))


# a folder a class


def write_classes(folder: Path, *places: str, count: int = 3) -> None:
    for place in places:
        for number in range(count):
            path = folder / place / f"{number}_of_a test.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{place} {number}\nits second line\n")


def test_a_folder_s_name_is_the_class_of_the_texts_in_it(
    tmp_path: Path, read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    write_classes(tmp_path / "my", "neg", "pos")
    table = read("my")
    assert rows_of(table) == [
        (f"{name} {number}\nits second line", name)
        for name in ("neg", "pos")
        for number in range(3)
    ]
    assert table.place(4) == "row 1 of pos/1_of_a test.txt"
    assert "data.train = my: a text a file, its folder's name is the class (neg 3, pos 3)" in (
        capsys.readouterr().err
    )
    assert rows_of(read("my", where={"label": "pos"})) == rows_of(table)  # a filter comes later


@pytest.mark.parametrize("places", ["{split}/{name}", "{name}/{split}", "aclImdb/{split}/{name}"])
def test_splits_are_folders_above_or_below_the_classes(
    tmp_path: Path, read: Read, places: str
) -> None:
    for split in ("train", "test"):
        for name in ("neg", "pos", *(("unsup",) if split == "train" else ())):
            write_classes(tmp_path / "my", places.format(split=split, name=name))
    (tmp_path / "my" / "README").write_text("about it")
    (tmp_path / "my" / "urls.txt").write_text("http://a")
    assert {label for _, label in rows_of(read("my"))} == {"neg", "pos", "unsup"}
    found = read("my", split="test")
    assert [label for _, label in rows_of(found)] == ["neg"] * 3 + ["pos"] * 3
    data = TextData(train=str(tmp_path / "my"), text="text", label="label")
    assert (data.validation, data.test) == (None, str(tmp_path / "my"))


def test_a_split_s_own_folder_may_be_given(tmp_path: Path, read: Read) -> None:
    write_classes(tmp_path / "my" / "test", "neg", "pos")
    assert len(read("my/test", split="test")) == 6
    (tmp_path / "other" / "eval").mkdir(parents=True)
    (tmp_path / "other" / "eval" / "a.jsonl").write_text('{"text": "a", "label": "b"}\n')
    assert rows_of(read("other/eval", split="test")) == [("a", "b")]
    write_classes(tmp_path / "rest", "neg", "pos")
    with pytest.raises(DataError, match="its folders of classes have none of the split test"):
        read("rest", split="test")


def test_classes_go_the_whole_way_to_a_label_space(tmp_path: Path) -> None:
    write_classes(tmp_path / "my", "sad", "glad", "mad", count=12)
    data = TextData(train=str(tmp_path / "my"), text="text", label="label")
    task = Classification()
    prepare_labelled(
        data, task.read_labels, distribution="softmax", cache=tmp_path / "c", out=tmp_path / "out"
    )
    corpus = Corpus.open(tmp_path / "out", None)
    split = corpus.split("train")
    assert corpus.labels.names == ("glad", "mad", "sad") and split.labels is not None
    for text, label in zip(split.texts, split.labels, strict=True):
        assert text.split()[0] == corpus.labels.names[label]


def test_a_folder_of_tables_is_none_of_classes(tmp_path: Path, read: Read) -> None:
    write_classes(tmp_path / "my", "neg", "pos")
    (tmp_path / "my" / "train.jsonl").write_text('{"text": "a", "label": "b"}\n')
    assert rows_of(read("my")) == [("a", "b")]


def test_files_without_an_ending_are_texts_and_odd_folders_are_classes(
    tmp_path: Path, read: Read
) -> None:
    names = ["_other", "sci.space", "talk.politics.misc"]
    for name in names:
        for number in ("59848", "59849"):
            path = tmp_path / "news" / name / number
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} {number}\n")
        (tmp_path / "news" / name / "README").write_text("about it")
    expected = [(f"{name} {number}", name) for name in names for number in ("59848", "59849")]
    assert rows_of(read("news")) == expected


def test_a_pair_has_no_folder(tmp_path: Path, read: Read) -> None:
    write_classes(tmp_path / "my", "neg", "pos")
    with pytest.raises(DataError, match=r"data\.text_pair = b: no such column in my; its columns"):
        read("my", columns={**COLUMNS, "data.text_pair": "b"})


# JSON


def test_values_in_mappings_have_dotted_names(tmp_path: Path, read: Read) -> None:
    rows = [{"review": {"body": {"text": t}}, "meta": {"label": y}, "id": 1} for t, y in ROWS]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    names = {"data.text": "review.body.text", "data.label": "meta.label"}
    for name in ("a.jsonl", "a.parquet"):
        table = read(name, columns=names)
        assert list(zip(table["review.body.text"], table["meta.label"], strict=True)) == ROWS
    with pytest.raises(DataError, match=r"its columns are .*review\.body\.text.*meta\.label"):
        read("a.jsonl")


def test_a_name_with_a_dot_is_that_column_first(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.json").write_text('[{"a.text": "whole", "a": {"text": "part"}, "label": "x"}]')
    table = read("a.json", columns={"data.text": "a.text", "data.label": "label"})
    assert table["a.text"] == ["whole"]


def test_an_object_of_columns_is_a_table(tmp_path: Path, read: Read) -> None:
    texts, labels = map(list, zip(*ROWS, strict=True))
    (tmp_path / "a.json").write_text(json.dumps({"text": texts, "label": labels, "n": 3}, indent=1))
    assert rows_of(read("a.json")) == ROWS
    (tmp_path / "a.json").write_text(json.dumps({"text": ["one row"], "label": ["a", "b"]}))
    table = read("a.json", texts=["data.label"])
    assert (len(table), table["label"]) == (1, [["a", "b"]])  # of other lengths: one odd row


def test_an_object_of_rows_by_name_is_a_table(tmp_path: Path, read: Read) -> None:
    rows = {str(i): {"text": t, "label": y} for i, (t, y) in enumerate(ROWS)}
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert rows_of(read("a.json")) == ROWS


def test_an_object_of_lists_is_one_row_where_a_row_is_lists(tmp_path: Path, read: Read) -> None:
    columns = {"data.tokens": "tokens", "data.tags": "tags"}
    row = {"tokens": ["a", "b"], "tags": ["O", "B-X"]}
    (tmp_path / "a.json").write_text(json.dumps(row))
    assert read("a.json", columns=columns, texts=columns)["tokens"] == [["a", "b"]]
    two = {"tokens": [["a"], ["b", "c"]], "tags": [["O"], ["O", "O"]]}
    (tmp_path / "a.json").write_text(json.dumps(two))
    assert read("a.json", columns=columns, texts=columns)["tags"] == [["O"], ["O", "O"]]


# filters


@pytest.mark.parametrize(
    ("column", "value", "rows"),
    [
        (pa.array([True, False, None]), True, [0]),
        (pa.array(["TRUE", "False", "true"]), True, [0, 2]),
        (pa.array(["yes", "FALSE", "1"]), False, [1]),
        (pa.array([Decimal("0.10"), Decimal("0.20"), None]), 0.1, [0]),
        (pa.array([Decimal("1.50"), Decimal("2.00"), Decimal("2")]), 2, [1, 2]),
        (pa.array(["1.50", "01", "1"]), 1.5, [0]),
        (pa.array(["1.50", "01", "1"]), 1, [2]),
        (pa.array(["1.50", "01", "1"]), "01", [1]),
        (pa.array([0.1, 0.2, None], pa.float32()), 0.1, [0]),
        (pa.array([datetime.date(2024, 1, 2), None, datetime.date(2024, 3, 4)]), "2024-01-02", [0]),
        (pa.array([datetime.datetime(2024, 1, 2), None, None]), "2024-01-02", [0]),
        (pa.array(["a", None, "b"]), None, [1]),
        (pa.array([[1], [2], [1]]), [[1], "x"], [0, 2]),
        (pa.array([1999, 2000, 2001]), ["1999", 2001], [0, 2]),
    ],
)
def test_rows_are_chosen_by_what_their_values_are(
    tmp_path: Path, read: Read, column: pa.Array, value: Any, rows: list[int]
) -> None:
    texts = ["0", "1", "2"]
    pq.write_table(pa.table({"text": texts, "flag": column}), tmp_path / "a.parquet")
    where = {"flag": value}
    table = read("a.parquet", columns={"data.text": "text"}, texts=["data.text"], where=where)
    kept = keep_rows(table, where, key="data.where", spec="a.parquet")
    assert [int(text) for text in kept["text"]] == rows


# zips and prose


def zipped(path: Path, **files: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)


def test_a_zip_of_one_file_is_that_file(tmp_path: Path, read: Read) -> None:
    csv = "text;label\n" + "".join(f"{t};{y}\n" for t, y in ROWS)
    zipped(tmp_path / "a.zip", data__my_csv=csv)
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("__MACOSX/data/._my.csv", "\0\5")
    assert rows_of(read("a.zip")) == ROWS
    zipped(
        tmp_path / "b.zip", b_jsonl="".join(f'{{"text":"{t}","label":"{y}"}}\n' for t, y in ROWS)
    )
    assert rows_of(read(["a.zip", "b.zip"])) == ROWS * 2


def test_packed_parquet_is_unpacked(tmp_path: Path, read: Read) -> None:
    pq.write_table(pa.table({"text": [t for t, _ in ROWS], "label": [y for _, y in ROWS]}), "a")
    whole = Path("a").read_bytes()
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("data/a.parquet", whole)
    Path("b.parquet.gz").write_bytes(gzip.compress(whole))
    assert rows_of(read(["a.zip", "b.parquet.gz"])) == ROWS * 2


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a_csv": "text\n", "b_csv": "text\n"}, r"is a zip of 2 files \(a\.csv, b\.csv\); unpack"),
        ({}, "is no zip; unpack it"),
        ({"a_bin": "x"}, r"not one of \.csv"),
    ],
)
def test_another_zip_is_refused(
    tmp_path: Path, read: Read, files: dict[str, str], said: str
) -> None:
    zipped(tmp_path / "a.zip", **files)
    with pytest.raises(DataError, match=said):
        read("a.zip")


def test_a_damaged_zip_is_refused(tmp_path: Path, read: Read) -> None:
    zipped(tmp_path / "a.zip", a_csv="text,label\n" + "a,b\n" * 99)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[60] ^= 255
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip: cannot be unpacked"):
        read("a.zip")


def test_a_zip_that_unpacks_to_more_than_may_be_is_refused(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipped(tmp_path / "a.zip", a_csv="text,label\n" + "a,b\n" * 9999)
    monkeypatch.setenv("DISTILLKIT_MAX_UNPACKED", "10K")
    with pytest.raises(DataError, match=r"a\.zip: unpacks to more than 10\.0 kB.* set DISTILLKIT_"):
        read("a.zip")


def documents(folder: Path, train: Any, **settings: Any) -> list[str]:
    data = Documents(train=train, validation_fraction=0.2, test_fraction=0.2, **settings)
    prepare_documents(data, cache=folder / "cache", out=folder / "out")
    corpus = Corpus.open(folder / "out", None)
    return sorted(t for name in ("train", "validation", "test") for t in corpus.split(name).texts)


def test_markdown_is_running_text(tmp_path: Path) -> None:
    texts = [f"# Title {n}\nand, of {n}, a line" for n in range(30)]
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "docs" / "a.md").write_text("\n\n".join(texts[:15]))
    (tmp_path / "docs" / "deep" / "b.md").write_text("\n\n".join(texts[15:]))
    (tmp_path / "docs" / "README.md").write_text("about the folder")
    assert documents(tmp_path, str(tmp_path / "docs")) == sorted(texts)
    assert documents(tmp_path, str(tmp_path / "docs" / "a.md")) == sorted(texts[:15])
    (tmp_path / "docs" / "c.jsonl").write_text(
        "".join(json.dumps({"text": f"row {n}"}) + "\n" for n in range(30))
    )
    assert (
        documents(tmp_path, str(tmp_path / "docs"))[0] == "row 0"
    )  # and the notes beside are none


# tagged words

TAGS = ["O", "B-PER", "I-PER", "B-LOC"]


def prepared(folder: Path, train: Path) -> Corpus:
    data = TaggedText(train=str(train), validation_fraction=0.2, test_fraction=0.2)
    data.prepare(TokenClassification(), cache=folder / "cache", out=folder / "out")
    return Corpus.open(folder / "out", None)


def sentences(count: int = 30) -> tuple[list[list[str]], list[list[str]]]:
    words = [[f"Ann{n}", "Lee", "saw", "Rome"] for n in range(count)]
    return words, [["B-PER", "I-PER", "O", "B-LOC"]] * count


@pytest.mark.parametrize("written", [str, json.dumps])
def test_lists_in_strings_are_words_and_tags(tmp_path: Path, written: Callable[..., str]) -> None:
    words, tags = sentences()
    lines = ["\t".join((written(w), written(t))) for w, t in zip(words, tags, strict=True)]
    (tmp_path / "a.csv").write_text("tokens\ttags\n" + "\n".join(lines) + "\n")
    split = prepared(tmp_path, tmp_path / "a.csv").split("train")
    assert split.words and all(w[1:] == ["Lee", "saw", "Rome"] for w in split.words)


def test_what_numpy_prints_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("tokens\ttags\n" + "['a' 'b']\t['O' 'O']\n" * 9)
    with pytest.raises(DataError, match="which is no list; each row needs a list of words"):
        prepared(tmp_path, tmp_path / "a.csv")


@pytest.mark.parametrize("names", [TAGS, TAGS[::-1]])
def test_tags_of_a_data_set_are_in_its_order(tmp_path: Path, names: list[str]) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value

    words, tags = sentences()
    kinds = Features(tokens=List(Value("string")), tags=List(ClassLabel(names=names)))
    ids = [[names.index(tag) for tag in row] for row in tags]
    Dataset.from_dict({"tokens": words, "tags": ids}, features=kinds).save_to_disk(
        str(tmp_path / "saved")
    )
    corpus = prepared(tmp_path, tmp_path / "saved")
    assert corpus.labels.names == tuple(names)
    labels = corpus.split("train").labels
    assert labels is not None
    assert [names[i] for i in labels[:4]] == tags[0]


def test_of_the_data_set_s_tags_those_that_stand_in_it_are_taken(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value

    names = ["B-ORG", *TAGS[::-1]]
    words, tags = sentences()
    kinds = Features(tokens=List(Value("string")), tags=List(ClassLabel(names=names)))
    ids = [[names.index(tag) for tag in row] for row in tags]
    Dataset.from_dict({"tokens": words, "tags": ids}, features=kinds).save_to_disk(
        str(tmp_path / "saved")
    )
    assert prepared(tmp_path, tmp_path / "saved").labels.names == tuple(TAGS[::-1])
