"""The target store: written shard by shard, read by key in any order, refused when damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.data.splits import example_key
from distillkit.errors import TargetsError
from distillkit.targets import Dense, TargetStore, TargetWriter
from distillkit.targets.manifest import FILE
from tests.unit.targets.test_manifest import ORIGIN

KEYS = np.array([example_key(f"text {i}") for i in range(10)], "S16")
LOGITS = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
SHARDS = [np.array([7, 2, 9, 0]), np.array([1]), np.array([8, 6, 5, 3, 4])]
DTYPES: list[Any] = ["float32", "float16"]


def write(
    folder: Path,
    *,
    dtype: Any = "float32",
    keys: np.ndarray = KEYS,
    logits: np.ndarray = LOGITS,
    shards: list[np.ndarray] = SHARDS,
) -> Path:
    folder.mkdir(exist_ok=True)
    writer = TargetWriter(folder, Dense(dtype), logits.shape[1])
    for number, rows in enumerate(shards):
        writer.write(number, keys[rows], logits[rows])
    counts = [len(rows) for rows in shards]
    writer.finish(counts, tokens=100, labels=["a", "b", "c"], origin=ORIGIN)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "store")


def read(store: TargetStore, keys: np.ndarray) -> np.ndarray:
    return store.logits(store.rows(keys)).numpy()


# there and back


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_example_comes_back_by_its_key(tmp_path: Path, dtype: Any) -> None:
    store = TargetStore.open(write(tmp_path / "store", dtype=dtype), expected=ORIGIN)
    back = read(store, KEYS)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, LOGITS.astype(dtype).astype(np.float32))


@pytest.mark.parametrize("order", [[3], [9, 0, 5], [4, 4, 4, 2], list(range(9, -1, -1)), []])
def test_examples_are_read_in_any_order_and_number(folder: Path, order: list[int]) -> None:
    np.testing.assert_array_equal(read(TargetStore.open(folder), KEYS[order]), LOGITS[order])


def test_the_cut_into_shards_leaves_no_trace(folder: Path, tmp_path: Path) -> None:
    one = TargetStore.open(write(tmp_path / "one", shards=[np.arange(10)]))
    np.testing.assert_array_equal(read(one, KEYS), read(TargetStore.open(folder), KEYS))


def test_one_output_is_a_column(tmp_path: Path) -> None:
    store = TargetStore.open(write(tmp_path / "store", logits=LOGITS[:, :1]))
    np.testing.assert_array_equal(read(store, KEYS), LOGITS[:, :1])


def test_keys_that_end_in_zeros_are_told_apart(tmp_path: Path) -> None:
    keys = np.array([b"\0" * 16, b"\1" + b"\0" * 15, b"\0\1" + b"\0" * 14], "S16")
    shards = [np.array([2, 0]), np.array([1])]
    store = TargetStore.open(write(tmp_path / "store", keys=keys, logits=LOGITS[:3], shards=shards))
    np.testing.assert_array_equal(read(store, keys), LOGITS[:3])


def test_the_same_example_twice_says_the_same(tmp_path: Path) -> None:
    keys = np.concatenate([KEYS[:5], KEYS[:5]])
    logits = np.concatenate([LOGITS[:5], LOGITS[:5]])
    store = TargetStore.open(write(tmp_path / "store", keys=keys, logits=logits))
    np.testing.assert_array_equal(read(store, KEYS[:5]), LOGITS[:5])


def test_a_manifest_counts_what_is_there(folder: Path) -> None:
    manifest = TargetStore.open(folder).manifest
    assert (manifest.examples, manifest.tokens, manifest.outputs) == (10, 100, 3)
    assert [shard.examples for shard in manifest.shards] == [4, 1, 5]
    assert manifest.codec == {"name": "dense", "dtype": "float32"}
    assert manifest.labels == ["a", "b", "c"]


def test_float16_takes_half_the_room(tmp_path: Path) -> None:
    logits = np.zeros((1000, 64), np.float32)
    keys = np.zeros(1000, "S16")
    sizes = []
    for dtype in DTYPES:
        store = write(
            tmp_path / dtype, dtype=dtype, keys=keys, logits=logits, shards=[np.arange(1000)]
        )
        sizes.append(TargetStore.open(store).manifest.shards[0].bytes)
    assert sizes[0] - sizes[1] == 1000 * 64 * 2


# what is not there


@pytest.mark.parametrize("known", [[], [1, 2]])
def test_examples_that_were_never_asked_about_are_counted(folder: Path, known: list[int]) -> None:
    unknown = np.array([example_key(f"other {i}") for i in range(3)], "S16")
    keys = np.concatenate([KEYS[known], unknown])
    told = f"{folder}: has no soft targets for 3 of the {len(keys)} examples"
    with pytest.raises(TargetsError, match=told):
        TargetStore.open(folder).rows(keys)


def test_an_empty_store_is_told_as_such(tmp_path: Path) -> None:
    store = TargetStore.open(write(tmp_path / "store", shards=[]))
    with pytest.raises(TargetsError, match="the store is empty"):
        store.rows(KEYS)


# damage


def test_a_truncated_shard_is_found_on_open(folder: Path) -> None:
    shard = folder / TargetWriter.name(1)
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(TargetsError, match=rf"{folder}: shard-00001\.arrow: [\d,]+ bytes, not"):
        TargetStore.open(folder)


@pytest.mark.parametrize("place", [8, 0.3, 0.5, 0.9, -1])
def test_one_altered_byte_is_found_on_open(folder: Path, place: float) -> None:
    shard = folder / TargetWriter.name(2)
    content = bytearray(shard.read_bytes())
    content[int(place * len(content)) if 0 < place < 1 else int(place)] ^= 1
    shard.write_bytes(content)
    with pytest.raises(TargetsError, match=r"shard-00002\.arrow: altered .*; remove the folder"):
        TargetStore.open(folder)


def test_the_first_damaged_shard_is_named_and_the_others_counted(folder: Path) -> None:
    for number in (0, 2):
        (folder / TargetWriter.name(number)).unlink()
    with pytest.raises(TargetsError, match=r"shard-00000\.arrow: missing \(and 1 more\)"):
        TargetStore.open(folder)


def test_a_store_without_manifest_is_not_complete(folder: Path) -> None:
    (folder / FILE).unlink()
    with pytest.raises(TargetsError, match="not a complete target store"):
        TargetStore.open(folder)


def test_the_origin_is_looked_at_before_the_shards(folder: Path) -> None:
    """It is the dearer mistake, and the cheaper look."""
    (folder / TargetWriter.name(0)).unlink()
    other = ORIGIN | {"teacher": {"fingerprint": "0" * 16, "lr": 1.0}}
    with pytest.raises(TargetsError, match=f"targets.path = {folder}: made by another teacher"):
        TargetStore.open(folder, expected=other)


# going on after a kill


def test_a_shard_is_committed_when_it_is_written_and_stays_so(tmp_path: Path) -> None:
    writer = TargetWriter(tmp_path, Dense(), 3)
    assert not writer.committed(0)
    writer.write(0, KEYS, LOGITS)
    assert writer.committed(0)
    later = TargetWriter(tmp_path, Dense(), 3)
    assert [later.committed(number) for number in (0, 1)] == [True, False]


def test_a_shard_that_failed_is_not_committed(tmp_path: Path) -> None:
    writer = TargetWriter(tmp_path, Dense(), 3)
    with pytest.raises(Exception):  # noqa: B017  (whatever pyarrow says of the wrong width)
        writer.write(0, KEYS, LOGITS[:, :2])
    assert not writer.committed(0)
    assert list(tmp_path.iterdir()) == []


def test_shards_of_two_runs_make_one_store(tmp_path: Path) -> None:
    TargetWriter(tmp_path, Dense(), 3).write(0, KEYS[:6], LOGITS[:6])
    writer = TargetWriter(tmp_path, Dense(), 3)
    writer.write(1, KEYS[6:], LOGITS[6:])
    writer.finish([6, 4], tokens=1, labels=[], origin=ORIGIN)
    np.testing.assert_array_equal(read(TargetStore.open(tmp_path), KEYS), LOGITS)


def test_no_temporary_file_is_left(folder: Path) -> None:
    shards = {TargetWriter.name(number) for number in range(3)}
    assert {path.name for path in folder.iterdir()} == {*shards, FILE}


def test_the_same_logits_are_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = TargetStore.open(write(tmp_path / "again")).manifest
    assert again == TargetStore.open(folder).manifest
