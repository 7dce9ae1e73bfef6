"""Rows out of any file or folder, and one line for what cannot be read."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit.data.filters import keep_rows
from distillkit.data.tables import Table, check_columns, read_table
from distillkit.errors import DataError
from tests.tiny import write_csv

ROWS: list[dict[str, Any]] = [
    {"text": "a good film", "label": 1},
    {"text": 'a "bad", dull film', "label": 0},
    {"text": '"two lines é', "label": 1},
]
TEXTS = {"data.text": "text", "data.label": "label"}


def write_tsv(path: Path) -> None:
    lines = ["text\tlabel", *(f"{row['text']}\t{row['label']}" for row in ROWS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


WRITERS: dict[str, Callable[[Path], object]] = {
    "rows.csv": lambda path: write_csv(path, list(ROWS[0]), [list(r.values()) for r in ROWS]),
    "rows.tsv": write_tsv,
    "rows.jsonl": lambda path: path.write_text("".join(json.dumps(r) + "\n" for r in ROWS)),
    "rows.json": lambda path: path.write_text(json.dumps(ROWS)),
    "rows.parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
    "ROWS.CSV": lambda path: write_csv(path, list(ROWS[0]), [list(r.values()) for r in ROWS]),
}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Any]:
    """Read a source as `data.train`."""

    def call(spec: object, split: str = "train", *names: str) -> Any:
        columns = {f"data.{name}": name for name in names or ("text", "label")}
        return read_table(
            str(spec),
            key="data.train",
            split=split,
            cache=tmp_path / "cache",
            columns=columns,
            texts=columns,
        )

    return call


# what can be read


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_file_of_any_kind_gives_its_rows(
    tmp_path: Path, read: Callable[..., Any], name: str
) -> None:
    WRITERS[name](tmp_path / name)
    expected = [row | {"label": str(row["label"])} for row in ROWS]
    assert list(read(tmp_path / name).records(["text", "label"])) == expected


def test_words_that_look_like_nothing_are_words(tmp_path: Path, read: Callable[..., Any]) -> None:
    words = ["NA", "null", "None", "nan", "N/A", "#N/A", "NULL", "-nan"]
    path = write_csv(tmp_path / "a.csv", ["text", "label"], [[w, 1] for w in [*words, ""]])
    assert read(path)["text"] == [*words, None]


def test_a_folder_gives_the_split_that_is_asked_for(
    tmp_path: Path, read: Callable[..., Any]
) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    splits = ("train", "validation", "test")
    for split in splits:
        write_csv(folder / f"{split}.csv", ["text", "label"], [[f"of {split}", 1]])
    assert [read(folder, s)["text"] for s in splits] == [[f"of {s}"] for s in splits]


def test_a_folder_of_parquet_shards_is_one_table(tmp_path: Path, read: Callable[..., Any]) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    for shard in range(2):
        table = pa.table({"text": [f"shard {shard}"], "label": [shard]})
        pq.write_table(table, folder / f"train-{shard:05d}-of-00002.parquet")
    assert read(folder)["text"] == ["shard 0", "shard 1"]


@pytest.mark.parametrize("keeps_its_date", [False, True])
def test_a_file_that_was_changed_is_read_anew(
    tmp_path: Path, read: Callable[..., Any], keeps_its_date: bool
) -> None:
    """Its content names the artifact, so its content must be what is read."""
    path = write_csv(tmp_path / "a.csv", ["text", "label"], [["good", 1]])
    date = path.stat().st_mtime_ns
    assert read(path)["text"] == ["good"]
    write_csv(path, ["text", "label"], [["poor", 0]])
    if keeps_its_date:
        os.utime(path, ns=(date, date))
    else:
        os.utime(path, ns=(date + 1_000_000, date + 1_000_000))
    assert read(path)["text"] == ["poor"]


# what cannot


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.parquet", b"", "the file is empty"),
        ("a.csv", b"text,label\n", "no rows"),
        ("a.jsonl", b"\n", ": "),
        ("a.csv", b"text,label\n\xff\xfe\xe9,1\n", "set data.encoding"),
        ("a.csv", b"text,label\na,1\nb,1,2,3\n", "cannot be read"),
        ("a.parquet", b"PAR1 but not really", "cannot be read"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": \n', "cannot be read"),
        ("a.json", b"<html>not found</html>", "cannot be read"),
        ("a.doc", b"text", "not one of .csv, .tsv, .txt, .jsonl, .ndjson, .json, .parquet, .xlsx"),
        ("a.csv.gz", b"\x1f\x8btext", "damaged gzip data"),
        ("a.xlsx", b"text", "cannot be read as a workbook"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, read: Callable[..., Any], name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(f"data.train = {tmp_path / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("files", [[], ["notes.xyz"], ["test.csv"]])
def test_a_folder_without_the_split_is_one_line(
    tmp_path: Path, read: Callable[..., Any], files: list[str]
) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    for name in files:
        write_csv(folder / name, ["text"], [["a"]])
    with pytest.raises(DataError) as caught:
        read(folder, "validation")
    assert str(caught.value).startswith(f"data.train = {folder}: ")
    assert "\n" not in str(caught.value)


def test_a_hub_id_out_of_reach_is_one_line(read: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="neither here nor in the cache") as caught:
        read("nobody/nothing")
    assert str(caught.value).startswith("data.train = nobody/nothing: ")
    assert "\n" not in str(caught.value)


# columns and rows


@pytest.fixture
def table() -> Table:
    values: dict[str, list[Any]] = {
        "text": ["a", "b", "c", "d"],
        "source": ["x", "y", "x", "z"],
        "year": [1999, 2000, 2001, None],
        "seen": [True, False, True, None],
        "stars": [1.0, 2.5, 3.0, None],
        "parts": [[1], [1, 2], [3], {"n": 1}],
    }
    return Table(tuple(values), values, 4)


def test_a_missing_column_names_those_that_there_are() -> None:
    wanted = {"data.text": "review", "data.text_pair": None, "data.label": "score"}
    with pytest.raises(DataError) as caught:
        check_columns(["text", "source"], wanted, spec="a.csv")
    assert str(caught.value) == (
        "data.text = review, data.label = score: no such column in a.csv; "
        "its columns are text, source"
    )


def test_columns_that_are_there_pass(table: Any) -> None:
    check_columns(table.columns, {"data.text": "text", "data.text_pair": None}, spec="a.csv")


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        (None, "abcd"),
        ({}, "abcd"),
        ({"source": "x"}, "ac"),
        ({"source": ["z", "y"]}, "bd"),
        ({"source": "x", "text": ["c", "d"]}, "c"),
        ({"year": 1999}, "a"),
        ({"year": [2000, 2001]}, "bc"),
        ({"seen": True}, "ac"),
        ({"stars": 2.5}, "b"),
        ({"stars": 3}, "c"),
        ({"parts": [[1, 2]]}, "b"),
        ({"parts": [[1, 2], [3]]}, "bc"),
        ({"parts": [{"n": 1}]}, "d"),
    ],
)
def test_where_keeps_the_rows_that_have_the_values(table: Any, where: Any, kept: str) -> None:
    found = keep_rows(table, where, key="data.where", spec="a.csv")
    assert "".join(found["text"]) == kept


def test_where_without_a_match_names_what_is_there(table: Any) -> None:
    with pytest.raises(DataError) as caught:
        keep_rows(table, {"source": "q"}, key="data.where", spec="a.csv")
    expected = "data.where.source = q: no row of a.csv has it; it holds x, y, z"
    assert str(caught.value) == expected


@pytest.mark.parametrize("value", [2, [1, 2]])
def test_where_compares_lists_whole(table: Any, value: Any) -> None:
    with pytest.raises(DataError, match=r"data\.where\.parts = .*: no row of a\.csv has it"):
        keep_rows(table, {"parts": value}, key="data.where", spec="a.csv")


def test_where_over_a_missing_column_is_refused(table: Any) -> None:
    with pytest.raises(DataError, match=r"data\.where\.origin = origin: no such column"):
        keep_rows(table, {"origin": "x"}, key="data.where", spec="a.csv")


def test_two_columns_of_a_name_are_refused_where_it_is_wanted(
    tmp_path: Path, read: Callable[..., Any]
) -> None:
    columns = [pa.array(["a"]), pa.array(["b"]), pa.array(["c"])]
    pq.write_table(pa.table(columns, names=["text", "text", "label"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="2 of its columns are named text; rename them"):
        read(tmp_path / "a.parquet")


def test_whole_numbers_with_gaps_are_whole(tmp_path: Path, read: Callable[..., Any]) -> None:
    table = pa.table({"text": ["a", "b", "c"], "label": [1.0, None, float("nan")]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")["label"] == ["1", None, None]


def test_times_are_the_same_text_in_parquet_and_in_a_workbook(tmp_path: Path) -> None:
    import pandas as pd

    times = [pd.Timestamp(2024, 1, 2), pd.Timestamp(2024, 1, 2, 10, 30), None]
    frame = pd.DataFrame({"text": times})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.assign(other="x").to_excel(tmp_path / "a.xlsx", index=False)
    for name in ("a.parquet", "a.xlsx"):
        found = read_table(
            str(tmp_path / name),
            key="data.train",
            split="train",
            cache=tmp_path,
            columns={"data.text": "text"},
            texts=["data.text"],
        )
        assert found["text"] == ["2024-01-02", "2024-01-02 10:30:00", None]


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        (json.dumps({"info": {"features": {"text": {"_type": "Evil"}}}}), "Feature type 'Evil'"),
        (100_000 * "[", "maximum recursion depth exceeded"),
        ("{", "Expecting property name"),
        ("[1]", "metadata cannot be read"),
    ],
)
def test_metadata_of_a_parquet_file_that_cannot_be_read_is_one_line(
    metadata: str, told: str, tmp_path: Path
) -> None:
    """Class names could be in it: it is not passed over. What the line says mends the file."""
    import pandas

    path = tmp_path / "rows.parquet"
    table = pa.table({"text": [row["text"] for row in ROWS], "label": ["a", "b", "a"]})
    pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), path)
    how: dict[str, Any] = {"key": "data.train", "split": "train", "cache": tmp_path}
    with pytest.raises(DataError, match="write it anew, as pandas") as refused:
        read_table(str(path), columns=TEXTS, **how)
    assert told in str(refused.value)
    pandas.read_parquet(path).to_parquet(path)
    assert read_table(str(path), columns=TEXTS, **how)["label"] == ["a", "b", "a"]
