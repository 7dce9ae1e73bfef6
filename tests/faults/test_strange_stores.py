"""Target stores that a stranger made: nothing outside is read or written, nothing wrong is used."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distillkit.artifacts.digests import file_sha256, sealed
from distillkit.targets import Dense, LastHidden, Sampled, SampledLogits, TopK, TopP
from distillkit.types import Outputs
from tests.cli.runs import assert_refused
from tests.conftest import Distillkit
from tests.unit.targets.answers import keys, random_hidden, random_logits
from tests.unit.targets.test_store import write_said

POSITIONS = np.array([3, 1, 4, 1, 5])
SHARDS = [np.array([4, 0]), np.array([2, 1, 3])]
OUTPUTS = 40


def written(folder: Path, codec: Any) -> Path:
    count = int(POSITIONS.sum())
    said = (
        random_hidden(count, OUTPUTS)
        if codec.shared_files
        else Outputs(random_logits(count, OUTPUTS))
    )
    store = write_said(folder, codec, said, keys(5), POSITIONS, SHARDS)
    change(store, labels=[])
    return store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return written(tmp_path / "store", TopK(k=5))


def change(store: Path, **fields: Any) -> None:
    """Write other fields into the manifest; a function changes what is there."""
    path = store / "targets.json"
    record = json.loads(path.read_text())
    for name, value in fields.items():
        record[name] = value(record[name]) if callable(value) else value
    record.pop("digest", None)
    path.write_text(json.dumps(sealed(record)))


def resealed(store: Path) -> None:
    """Have the manifest hold size and sha256 of the shards as they are."""

    def now(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            part
            | {
                "bytes": (store / part["file"]).stat().st_size,
                "sha256": file_sha256(store / part["file"]),
            }
            for part in parts
        ]

    change(store, shards=now, files=now)


CODECS = [
    Dense(),
    Dense("bfloat16"),
    LastHidden(),
    LastHidden("int8"),
    Sampled(draws=12),
    Sampled(draws=12, exponent=0.5),
    SampledLogits(k=9),
    TopK(k=5),
    TopP(p=0.8, k=9),
]


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_a_store_of_every_codec_is_whole(
    distillkit: Distillkit, tmp_path: Path, codec: Any
) -> None:
    store = written(tmp_path / "store", codec)
    done = distillkit("targets", "verify", store)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{store}: all 2 shards are whole\n"


def first(**fields: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Change the first of a list of records."""
    return lambda parts: [parts[0] | fields, *parts[1:]]


RECORDS: dict[str, tuple[dict[str, Any], str]] = {
    "above": ({"shards": first(file="../outside.arrow")}, "no plain name"),
    "absolute": ({"shards": first(file="/etc/passwd")}, "no plain name"),
    "below": ({"shards": first(file="a/b.arrow")}, "no plain name"),
    "hidden": ({"shards": first(file=".bashrc")}, "no plain name"),
    "no name": ({"shards": first(file=None)}, "no plain name"),
    "escape": ({"shards": first(file="\x1b[1m")}, "no plain name"),
    "shared": ({"files": [{"file": "..", "bytes": 1, "sha256": 64 * "0"}]}, "no plain name"),
    "twice": ({"shards": lambda s: [s[0], s[0]], "examples": 4}, "named twice"),
    "bytes": ({"shards": first(bytes=-1)}, "are no counts"),
    "sha256": ({"shards": first(sha256="x")}, "sha256 is none"),
    "shard": ({"shards": [3]}, "damaged"),
    "shards": ({"shards": 3}, "damaged"),
    "fewer": ({"examples": 4}, "examples = 4, and its shards have 5"),
    "negative": ({"positions": -1}, "which is no count"),
    "huge": ({"outputs": 10**30}, "which is no count"),
    "float": ({"tokens": 1.5}, "which is no count"),
    "bool": ({"outputs": True}, "which is no count"),
    "codec": ({"codec": []}, "codec is no record"),
    "codec name": ({"codec": {"name": "pickle"}}, "not known to this distillkit"),
    "codec list": ({"codec": {"name": ["top_k"]}}, "not known to this distillkit"),
    "codec field": ({"codec": {"name": "top_k", "exec": 1}}, "does not know it"),
    "codec k": ({"codec": lambda c: c | {"k": "many"}}, "codec.k = many"),
    "codec bits": ({"codec": lambda c: c | {"bits": 7}}, "codec.bits = 7"),
    "codec at": ({"codec": lambda c: c | {"temperatures": [0]}}, "codec.temperatures = [0]"),
    "codec -k": ({"codec": lambda c: c | {"k": -3}}, "codec.k = -3"),
    "labels": ({"labels": [1, {}]}, "labels are not all text"),
    "meaning": ({"distribution": "[/]"}, "distribution"),
    "quality": ({"quality": {"positions": "x"}}, "quality is not all numbers"),
    "nan": ({"quality": {"positions": 3, "kl": float("nan")}}, "quality is not all numbers"),
    "origin": ({"origin": 3}, "origin is no record"),
    "no teacher": ({"origin": {}}, "origin.teacher has no fingerprint"),
    "data": ({"origin": lambda o: o | {"data": []}}, "origin.data has no fingerprint"),
    "members": (
        {"origin": lambda o: o | {"data": o["data"] | {"members": [1]}}},
        "origin.data.members have no fingerprints",
    ),
    "converted": ({"origin": lambda o: o | {"converted": 1}}, "origin.converted names no codec"),
    "unknown": ({"more": 1}, "damaged"),
}
ACTIONS = (
    ["inspect", "{}"],
    ["verify", "{}"],
    ["merge", "out", "{}", "{}"],
    ["convert", "out", "{}", "targets=sampled"],
    ["export", "{}", "out"],
)


@pytest.mark.parametrize("case", RECORDS)
def test_a_record_that_cannot_be_is_refused_by_all(
    distillkit: Distillkit, store: Path, tmp_path: Path, case: str
) -> None:
    fields, said = RECORDS[case]
    change(store, **fields)
    before = sorted(tmp_path.rglob("*"))
    for words in ACTIONS:
        line = assert_refused(
            distillkit("targets", *(word.format(store) for word in words)),
            str(store) if case[:5] != "codec" else "",
            said,
        )
        assert "\x1b" not in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("what", ["shard-00000.arrow", "targets.json"])
def test_a_link_out_of_the_store_is_not_followed(
    distillkit: Distillkit, store: Path, tmp_path: Path, what: str
) -> None:
    (store / what).rename(tmp_path / "outside")
    (store / what).symlink_to(tmp_path / "outside")
    for words in ACTIONS:
        done = distillkit("targets", *(word.format(store) for word in words))
        assert_refused(done, f"{what} is a link out of the store's folder")
    assert not (tmp_path / "out").exists()


def test_a_store_may_itself_be_linked_to(
    distillkit: Distillkit, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(store)
    assert distillkit("targets", "verify", tmp_path / "link").code == 0


CONTENT: dict[str, tuple[dict[str, Any], str]] = {
    "vocabulary": ({"outputs": 20}, "ids outside of the 20 outputs"),
    "k": ({"outputs": 4}, "codec.k = 5"),
    "positions": ({"positions": 15}, "14 positions, not 15"),
    "labels": ({"labels": ["a"]}, "1 labels of 40 outputs"),
    "labels twice": ({"labels": 40 * ["a"]}, "a label stands twice"),
    "teacher": (
        {"origin": lambda o: o | {"teacher": o["teacher"] | {"lr": 1}}},
        "origin.teacher: its fields do not give its fingerprint",
    ),
    "fingerprint": (
        {"origin": lambda o: o | {"tokenizer": {"fingerprint": "x"}}},
        "origin.tokenizer: its fields do not give its fingerprint",
    ),
}


@pytest.mark.parametrize("case", CONTENT)
def test_what_the_shards_do_not_bear_out_is_found(
    distillkit: Distillkit, store: Path, case: str
) -> None:
    fields, said = CONTENT[case]
    change(store, **fields)
    assert_refused(distillkit("targets", "verify", store), "no store that can be used", said)


def rewritten(path: Path, **columns: Any) -> None:
    """Write a shard again with other columns; a function changes what is there."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        batch, metadata = reader.get_batch(0), reader.schema.metadata
    arrays = {name: batch.column(name) for name in batch.schema.names}
    for name, value in columns.items():
        arrays[name] = value(arrays[name])
    new = pa.RecordBatch.from_arrays([*arrays.values()], names=[*arrays])
    new = new.replace_schema_metadata(metadata)
    with (
        pa.OSFile(str(path.with_suffix(".new")), "wb") as sink,
        pa.ipc.new_file(sink, new.schema) as out,
    ):
        out.write_batch(new)
    path.with_suffix(".new").replace(path)


def noise(column: pa.Array) -> pa.Array:
    draw = np.random.default_rng(0)
    sizes = [len(value.as_py()) for value in column]
    return pa.array([draw.bytes(size) for size in sizes], pa.large_binary())


SHARD: dict[str, tuple[dict[str, Any], str]] = {
    "noise": ({"payload": noise}, ""),
    "empty": ({"payload": lambda c: pa.array([b"" for _ in c], pa.large_binary())}, ""),
    "short": ({"payload": lambda c: pa.array([v.as_py()[:-1] for v in c], pa.large_binary())}, ""),
    "text": ({"payload": lambda c: pa.array(["x" for _ in c])}, "is no shard"),
    "null": ({"payload": lambda c: pa.array([None for _ in c], pa.large_binary())}, "no shard"),
    "keys": ({"key": lambda c: pa.array([b"x" for _ in c])}, "is no shard"),
    "many": ({"positions": lambda c: pa.array([2**32 - 1 for _ in c], pa.uint32())}, "is no shard"),
    "signed": ({"positions": lambda c: pa.array([-1 for _ in c], pa.int32())}, "is no shard"),
    "more": ({"positions": lambda c: pa.array([v.as_py() + 1 for v in c], pa.uint32())}, ""),
    "columns": ({"more": lambda c: c}, "is no shard"),
}


@pytest.mark.parametrize("codec", CODECS, ids=repr)
@pytest.mark.parametrize("case", SHARD)
def test_a_shard_of_something_else_is_found(
    distillkit: Distillkit, tmp_path: Path, case: str, codec: Any
) -> None:
    store = written(tmp_path / "store", codec)
    columns, said = SHARD[case]
    if case == "columns":
        columns = {"more": lambda _: pa.array(range(2))}
        path = store / "shard-00000.arrow"
        with pa.memory_map(str(path)) as source:
            batch = pa.ipc.open_file(source).get_batch(0)
        new = batch.append_column("more", pa.array(range(len(batch))))
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, new.schema) as out:
            out.write_batch(new)
    else:
        rewritten(store / "shard-00000.arrow", **columns)
    resealed(store)
    done = distillkit("targets", "verify", store)
    if not said and done.code == 0:
        return  # bits that are within all bounds are targets, whosever they are
    assert_refused(done, str(store), said)


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0", b"ARROW1\0\0" + 500 * b"\xff" + b"ARROW1"])
def test_a_shard_that_is_no_arrow_file_is_found(
    distillkit: Distillkit, store: Path, content: bytes
) -> None:
    (store / "shard-00000.arrow").write_bytes(content)
    resealed(store)
    for words in ACTIONS:
        done = distillkit("targets", *(word.format(store) for word in words))
        assert_refused(done, "shard-00000.arrow is no shard")


def test_parts_that_are_links_are_not_followed(
    distillkit: Distillkit, store: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(store, tmp_path / "other")
    (store / "first").symlink_to(other)
    assert_refused(
        distillkit("targets", "inspect", store), "first is a link out of the store's folder"
    )
