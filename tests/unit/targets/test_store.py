"""The target store: written shard by shard, read by key in any order, refused when damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.data.splits import example_key
from distillkit.errors import TargetsError
from distillkit.ragged import exclusive_cumsum
from distillkit.targets import (
    Codec,
    Dense,
    Draws,
    LastHidden,
    Sampled,
    SampledLogits,
    TargetStore,
    TargetWriter,
    TopK,
    TopP,
)
from distillkit.targets.codecs.last_hidden import HEAD
from distillkit.targets.codecs.logits import TeacherOutput, count
from distillkit.targets.manifest import FILE
from distillkit.types import HiddenTargets, Outputs, SoftTargets, SparseTargets
from tests.unit.targets.answers import keys, random_hidden
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
    """A classifier's store."""
    said = Outputs(torch.from_numpy(logits))
    return write_said(folder, Dense(dtype), said, keys, np.ones(len(keys), int), shards)


def write_said(
    folder: Path,
    codec: Codec,
    said: TeacherOutput,
    keys: np.ndarray,
    positions: np.ndarray,
    shards: list[np.ndarray],
) -> Path:
    folder.mkdir(exist_ok=True)
    assert count(said) == positions.sum()
    picked, begins = codec.select(said, Draws(0, keys, positions)), exclusive_cumsum(positions)
    with TargetWriter(folder, codec) as writer:
        writer.describe(said)
        for number, rows in enumerate(shards):
            places = np.concatenate([np.arange(begins[i], begins[i + 1]) for i in rows])
            here = {name: array[places] for name, array in picked.items()}
            writer.write(number, keys[rows], positions[rows], here)
        counts = [len(rows) for rows in shards]
        writer.finish(counts, tokens=100, labels=["a", "b", "c"], origin=ORIGIN)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "store")


def read(store: TargetStore, keys: np.ndarray) -> np.ndarray:
    targets = store.read(store.rows(keys))
    assert isinstance(targets, SoftTargets)
    return targets.logits.numpy()


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
    assert manifest.positions == 10
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


# examples of many positions

EACH = np.array([3, 0, 5, 1, 1, 40, 0, 2, 7, 11])
CODECS: list[Codec] = [
    Dense("bfloat16"),
    LastHidden("bfloat16"),
    LastHidden("int8"),
    Sampled(draws=9),
    Sampled(draws=9, exponent=0.5, temperature=2.0),
    SampledLogits(k=7, bits=8),
    TopK(k=5, temperatures=[1.0, 2.0]),
    TopP(p=0.8, k=9, bits=8),
]


def parts(targets: Any) -> list[torch.Tensor]:
    """All tensors that there is one row a position of."""
    if isinstance(targets, SoftTargets):
        return [targets.logits]
    if isinstance(targets, HiddenTargets):
        return [targets.hidden]
    assert isinstance(targets, SparseTargets)
    p = torch.zeros(len(targets.ids), 30).scatter_add(1, targets.ids, targets.log_probs.exp())
    return [p, *targets.log_z.values()]


@pytest.mark.parametrize("codec", CODECS, ids=str)
@pytest.mark.parametrize("shards", [SHARDS, [np.arange(10)], [np.array([i]) for i in range(10)]])
def test_positions_follow_in_the_order_that_examples_are_asked_in(
    tmp_path: Path, codec: Codec, shards: list[np.ndarray]
) -> None:
    said = random_hidden(int(EACH.sum()), 30)
    store = TargetStore.open(write_said(tmp_path / "store", codec, said, KEYS, EACH, shards))
    np.testing.assert_array_equal(store.positions[store.rows(KEYS)], EACH)
    assert store.manifest.positions == EACH.sum()
    every, begins = parts(store.read(store.rows(KEYS))), exclusive_cumsum(EACH)
    for order in ([5], [9, 2, 0], [1], [6, 1], [4, 4, 7], list(range(9, -1, -1)), []):
        places = np.concatenate([np.zeros(0, int), *(np.arange(*begins[i : i + 2]) for i in order)])
        for tensor, whole in zip(parts(store.read(store.rows(KEYS[order]))), every, strict=True):
            torch.testing.assert_close(tensor, whole[places], rtol=0, atol=1e-6)


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_an_example_may_be_larger_than_what_is_encoded_at_a_time(
    tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = random_hidden(int(EACH.sum()), 30)
    whole = write_said(tmp_path / "whole", codec, said, KEYS, EACH, SHARDS)
    monkeypatch.setattr("distillkit.targets.writer._PIECE", 4)
    pieces = write_said(tmp_path / "pieces", codec, said, KEYS, EACH, SHARDS)
    assert TargetStore.open(whole).manifest == TargetStore.open(pieces).manifest


def test_a_position_takes_no_more_than_its_value(tmp_path: Path) -> None:
    """All else on disk is 30 bytes an example, and 3 KB a store."""
    said, each = random_hidden(12_000, 30, size=16), np.full(60, 200)
    folder = write_said(
        tmp_path / "store", LastHidden(), said, keys(60), each, [np.arange(30), np.arange(30, 60)]
    )
    size = sum(path.stat().st_size for path in folder.iterdir() if path.name != HEAD)
    assert 0 < size - 12_000 * 16 * 2 < 30 * 60 + 2 * 1500 + 1500


def test_an_altered_head_is_found_on_open(tmp_path: Path) -> None:
    said = random_hidden(10, 30)
    folder = write_said(tmp_path / "s", LastHidden(), said, KEYS, np.ones(10, int), SHARDS)
    content = bytearray((folder / HEAD).read_bytes())
    content[-1] ^= 1
    (folder / HEAD).write_bytes(content)
    with pytest.raises(TargetsError, match=r"head\.safetensors: altered .*; remove the folder"):
        TargetStore.open(folder)


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


def test_no_temporary_file_is_left(folder: Path) -> None:
    shards = {TargetWriter.name(number) for number in range(3)}
    assert {path.name for path in folder.iterdir()} == {*shards, FILE}


def test_the_same_logits_are_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = TargetStore.open(write(tmp_path / "again")).manifest
    assert again == TargetStore.open(folder).manifest
