"""Documents that are streamed: the splits of those that are read whole, row for row."""

import bz2
import gzip
import json
import lzma
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit.data import Corpus, Documents, prepare_documents, row_batches
from distillkit.data.streamed import Digests
from distillkit.errors import ConfigError, DataError


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Texts with duplicates (also of another case), empty rows, and a column beside."""
    rng = random.Random(seed)
    texts = [f"Text {rng.randrange(count // 2)} é" for _ in range(count)]
    for place in rng.sample(range(count), count // 10):
        texts[place] = rng.choice(["", "  ", texts[place].upper()])
    return [
        {"text": text, "n": i % 3, "meta": {"source": "abc"[i % 3]}} for i, text in enumerate(texts)
    ]


def write_lines(path: Path, content: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content))
    return str(path)


def write_parquet(path: Path, content: list[dict[str, Any]]) -> str:
    pq.write_table(pa.Table.from_pylist(content), path, row_group_size=50)
    return str(path)


def splits(folder: Path, streaming: bool, **settings: Any) -> tuple[Any, Any]:
    out = folder / str(streaming)
    data = Documents(streaming=streaming, **settings)
    facts = prepare_documents(data, cache=folder / "cache", out=out)
    corpus = Corpus.open(out, None)
    found = {}
    for name in ("train", "validation", "test"):
        split = corpus.split(name)
        assert split.numbers is not None
        found[name] = ([*split.texts], split.keys.tolist(), split.numbers.tolist())
    assert sorted(path.name for path in out.iterdir()) == sorted([*found, "labels.json"])
    return found, facts


CHOICES: dict[str, dict[str, Any]] = {
    "shares": {},
    "sizes": {"train_size": 40, "held_out_size": 9},
    "where": {"where": {"n": [0, 2]}},
    "nested": {"where": {"meta.source": "b"}},
    "other fractions": {"validation_fraction": 0.4, "test_fraction": 0.05},
}


@pytest.mark.parametrize("write", [write_lines, write_parquet])
@pytest.mark.parametrize("choice", CHOICES)
def test_the_splits_are_those_of_data_read_whole(
    tmp_path: Path, write: Any, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_batches, "ROWS", 16)
    settings = {"validation_fraction": 0.1, "test_fraction": 0.2} | CHOICES[choice]
    ending = "jsonl" if write is write_lines else "parquet"
    content = rows(600)
    files = [write(tmp_path / f"{n}.{ending}", content[n::2]) for n in range(2)]
    whole, streamed = (splits(tmp_path, is_on, train=files, **settings) for is_on in (False, True))
    assert streamed == whole
    assert len(streamed[0]["train"][0]) >= 20


def test_sources_of_their_own_are_held_out(tmp_path: Path) -> None:
    settings = {
        name: write_lines(tmp_path / f"{name}.jsonl", rows(count, seed))
        for seed, (name, count) in enumerate((("train", 300), ("validation", 60), ("test", 60)))
    }
    whole, streamed = (splits(tmp_path, is_on, **settings) for is_on in (False, True))
    assert streamed == whole
    assert streamed[1]["dropped"]["train rows also held out"] > 0


@pytest.mark.parametrize("opens", [gzip.open, bz2.open, lzma.open])
def test_packed_lines_are_read_as_they_are_unpacked(tmp_path: Path, opens: Any) -> None:
    plain = write_lines(tmp_path / "a.jsonl", rows(200))
    with opens(tmp_path / "b.jsonl.gz", "wb") as file:
        file.write(b"\xef\xbb\xbf" + Path(plain).read_bytes())
    expected, _ = splits(tmp_path / "x", False, train=plain)
    found, _ = splits(tmp_path / "y", True, train=str(tmp_path / "b.jsonl.gz"))
    assert found == expected


def test_folders_are_read_as_they_are_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `datasets` has saved, and a folder with a split in each of its files."""
    from datasets import Dataset

    monkeypatch.setattr(row_batches, "ROWS", 16)
    Dataset.from_list(rows(300)).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "files").mkdir()
    for seed, name in enumerate(("train", "validation", "test")):
        write_parquet(tmp_path / "files" / f"{name}.parquet", rows(200, seed))
    for folder in ("saved", "files"):
        source = str(tmp_path / folder)
        whole, streamed = (
            splits(tmp_path / "out" / folder, is_on, train=source) for is_on in (False, True)
        )
        assert streamed == whole


@pytest.mark.parametrize("end", ["\r\n", "\n\n"])
def test_other_ends_of_lines_and_values_that_are_no_text(tmp_path: Path, end: str) -> None:
    lines = [json.dumps({"text": [i, None][i % 5 == 0], "x": "\u2028"}) for i in range(90)]
    lines += [json.dumps({"body": 1}), json.dumps({"text": "a\u2028b \ud800"})]
    (tmp_path / "a.jsonl").write_text(end.join(lines), newline="")
    settings = {"validation_fraction": 0.3, "test_fraction": 0.3}
    source = str(tmp_path / "a.jsonl")
    whole, streamed = (splits(tmp_path, on, train=source, **settings) for on in (False, True))
    assert streamed == whole


def test_the_name_of_the_artifact_is_the_same(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", rows(20))
    fields = [Documents(train=file, streaming=on).labelled_fields() for on in (False, True)]
    assert fields[0] == fields[1]


# what cannot be


def refused(folder: Path, name: str, content: bytes, **settings: Any) -> str:
    (folder / name).write_bytes(content)
    with pytest.raises((ConfigError, DataError)) as caught:
        splits(folder, True, train=str(folder / name), **settings)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.json", "a.parquet.gz", "a.xlsx"])
def test_a_file_that_is_read_whole_is_refused(tmp_path: Path, name: str) -> None:
    told = refused(tmp_path, name, b'{"text": "a"}\n')
    assert told.startswith(f"data.train = {tmp_path / name}: data.streaming reads .jsonl and .parq")
    assert told.endswith("write it as one of these, or set data.streaming=false")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"document": "line"}, "data.document = line: is of csv and txt"),
        ({"separator": ";"}, "data.separator = ;: is of csv and txt"),
        ({"encoding": "utf-16"}, "data.encoding = utf-16: its lines do not end in one byte"),
        ({"text": "body"}, "data.text = body: no such column in"),
        ({"where": {"text": "b"}}, "data.where = {'text': 'b'}: no row of"),
    ],
)
def test_settings_that_cannot_be_streamed(tmp_path: Path, settings: Any, told: str) -> None:
    assert told in refused(tmp_path, "a.jsonl", b'{"text": "a"}\n{"text": "c"}\n', **settings)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"text": "a"}\n{"text": "b\n', "cannot be read (line 2, column"),
        (b'{"text": "a"}\n[1]\n', "cannot be read (line 2 is no object of named values)"),
        (b'{"text": "a"}\n{"text": "\xe9"}\n', "line 2 is not utf-8; set data.encoding, as cp1252"),
        (b'{"text": ""}\n{"text": " "}\n', "every row is empty"),
        (b"\n\n", "the file has no rows"),
        (b"", "the file is empty"),
        (b'{"text": "a"}\n{"text": "A"}\n', "split is empty (1 rows of"),
    ],
)
def test_lines_that_cannot_be_read(tmp_path: Path, content: bytes, told: str) -> None:
    assert told in refused(tmp_path, "a.jsonl", content)


def test_a_packed_file_is_given_up_where_it_is_larger_than_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILLKIT_MAX_UNPACKED", "10K")
    line = b'{"text": "' + b"a" * 20_000 + b'"}\n'
    assert "unpacks to more than 10.0 kB" in refused(tmp_path, "a.jsonl.gz", gzip.compress(line))


def test_digests_are_found_again_in_any_order() -> None:
    rng = np.random.default_rng(0)
    every = rng.integers(0, 256, (5000, 16), dtype=np.uint8).view("S16")[:, 0]
    digests = Digests()
    for begin in range(0, 4000, 77):
        digests.add(every[begin : min(begin + 77, 4000)])
    assert len(digests) == 4000
    assert len(digests._runs) <= 8
    np.testing.assert_array_equal(digests.holds(every), np.arange(5000) < 4000)
