"""A large store: opened without reading it, each shard verified when it is first read."""

from pathlib import Path

import numpy as np
import pytest

from distillkit.artifacts import digests
from distillkit.artifacts.digests import Verifier
from distillkit.artifacts.workspace import Workspace
from distillkit.errors import TargetsError, WorkspaceError
from distillkit.targets import TargetStore, TargetWriter, shards
from tests.unit.targets.test_store import KEYS, LOGITS, SHARDS, write


def read(store: TargetStore, examples: np.ndarray) -> np.ndarray:
    return store.read(store.rows(KEYS[examples])).logits.numpy()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that counts as a large one."""
    monkeypatch.setattr(digests, "LARGE", 0)
    return write(tmp_path / "store")


def alter(folder: Path, shard: int) -> None:
    """One bit of a value: the file is a shard still."""
    path = folder / TargetWriter.name(shard)
    content = bytearray(path.read_bytes())
    content[content.index(LOGITS[SHARDS[shard][0]].tobytes())] ^= 1
    path.write_bytes(content)


def test_what_is_read_is_what_a_small_store_gives(folder: Path) -> None:
    order = np.random.default_rng(0).permutation(len(KEYS))
    np.testing.assert_array_equal(read(TargetStore.open(folder), order), LOGITS[order])


def test_a_shard_is_read_once_for_its_checksum(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_files: list[str] = []
    original = digests.file_sha256

    def counted(path: Path) -> str:
        read_files.append(path.name)
        return original(path)

    monkeypatch.setattr(digests, "file_sha256", counted)
    monkeypatch.setattr(digests, "_VERIFIED", {})
    store = TargetStore.open(folder)
    rows = store.rows(KEYS)
    assert read_files == []
    for _ in range(2):
        for row in rows:
            store.read(np.array([row]))
    assert sorted(read_files) == [TargetWriter.name(number) for number in range(len(SHARDS))]


def test_an_altered_shard_is_named_when_it_is_read_and_the_others_are_right(folder: Path) -> None:
    alter(folder, 1)
    store = TargetStore.open(folder)
    np.testing.assert_array_equal(read(store, SHARDS[0]), LOGITS[SHARDS[0]])
    for _ in range(2):
        with pytest.raises(TargetsError, match=r"shard-00001\.arrow: altered .*; remove the fold"):
            read(store, SHARDS[1][:1])


def test_an_altered_key_is_told_as_damage_not_as_a_missing_example(folder: Path) -> None:
    path = folder / TargetWriter.name(1)
    key = KEYS[SHARDS[1][0]]
    path.write_bytes(path.read_bytes().replace(bytes(key), b"x" * 16))
    with pytest.raises(TargetsError, match=r"shard-00001\.arrow: altered"):
        TargetStore.open(folder).rows(KEYS)


@pytest.mark.parametrize("cut", [0, -40])
def test_a_missing_or_short_shard_is_found_on_open(folder: Path, cut: int) -> None:
    path = folder / TargetWriter.name(2)
    if cut:
        path.write_bytes(path.read_bytes()[:cut])
    else:
        path.unlink()
    with pytest.raises(TargetsError, match=r"shard-00002\.arrow: (missing|[\d,]+ bytes, not)"):
        TargetStore.open(folder)


def test_all_can_be_verified_at_once(folder: Path) -> None:
    alter(folder, 1)
    with pytest.raises(TargetsError, match=r"shard-00001\.arrow: altered"):
        TargetStore.open(folder, verifies_all=True)
    with pytest.raises(TargetsError, match=r"shard-00001\.arrow: altered"):
        TargetStore.open(folder, verifier=Verifier("always"))


def test_once_all_were_read_the_next_process_reads_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_settled", lambda *_: True)
    store = TargetStore.open(folder, verifier=Verifier("once", [tmp_path / "c"], defers=True))
    for place, part in enumerate(SHARDS):
        monkeypatch.setattr(digests, "_VERIFIED", dict(digests._VERIFIED))
        read(store, part)
        files = store.manifest.records
        is_last = place == len(SHARDS) - 1
        with monkeypatch.context() as other_process:
            other_process.setattr(digests, "_VERIFIED", {})
            unread = Verifier("once", [tmp_path / "c"]).unread(folder, files)
        assert unread == ([] if is_last else sorted(files))


def test_few_shards_are_mapped_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_MAPPED", 1)
    store = TargetStore.open(folder)
    order = np.random.default_rng(1).permutation(len(KEYS))
    np.testing.assert_array_equal(read(store, order), LOGITS[order])
    assert len(store._shards._mapped) == 1


def test_a_workspace_finds_it_without_reading_it_but_for_a_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "LARGE", 0)

    def make(out: Path) -> dict[str, int]:
        write(out)
        return {"examples": len(KEYS), "tokens": len(KEYS)}

    path = Workspace(tmp_path).obtain("targets", {"a": 1}, make).path
    alter(path, 1)
    assert Workspace(tmp_path).find("targets", {"a": 1}) is not None
    assert Workspace(tmp_path, repair=True).find("targets", {"a": 1}) is None
    with pytest.raises(WorkspaceError, match=r"shard-00001\.arrow: altered"):
        Workspace(tmp_path, verify="always").find("targets", {"a": 1})
    with pytest.raises(TargetsError, match="the same command with --repair makes it again"):
        read(TargetStore.open(path, verifier=Workspace(tmp_path).verifier), SHARDS[1])
