"""A store as Parquet: every position once, and the same numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from distillkit.errors import TargetsError
from distillkit.targets import LastHidden, Sampled, StoreManifest, TargetStore, TopK, TopP
from distillkit.targets import export as module
from distillkit.targets.export import export
from tests.unit.targets.answers import random_hidden
from tests.unit.targets.test_merge import KEYS, OUTPUTS, POSITIONS, store

KEPT: list[Any] = [Sampled(draws=5), TopK(k=3), TopP(p=0.7, k=4)]


def rows(path: Path) -> list[dict[str, Any]]:
    """All rows, in the order of the keys here."""
    place = {bytes(key): i for i, key in enumerate(np.asarray(KEYS).view("V16").tolist())}
    found = pq.read_table(path).to_pylist()
    return sorted(found, key=lambda row: (place[row["key"]], row["position"]))


@pytest.fixture(params=[False, True], ids=["at once", "in small pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(module, "ROWS", 3)
        monkeypatch.setattr(module, "CHUNK", 3 * OUTPUTS)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("codec", KEPT, ids=repr)
def test_ids_and_probabilities_are_those_of_the_store(tmp_path: Path, codec: Any) -> None:
    folder = store(tmp_path / "store", codec=codec)
    assert export(folder, tmp_path / "out.parquet") == POSITIONS.sum()
    opened = TargetStore.open(folder)
    kept = opened.read(opened.rows(KEYS))
    found = rows(tmp_path / "out.parquet")
    assert [row["position"] for row in found] == [i for n in POSITIONS for i in range(n)]
    for row, ids, log_probs in zip(found, kept.ids, kept.log_probs, strict=True):
        used = log_probs > -torch.inf
        assert row["ids"] == ids[used].tolist()
        assert row["probabilities"] == log_probs[used].exp().tolist()


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("hidden", [False, True], ids=["dense", "last_hidden"])
def test_logits_are_those_of_the_store(tmp_path: Path, hidden: bool) -> None:
    said = random_hidden(int(POSITIONS.sum()), OUTPUTS)
    folder = store(tmp_path / "store", **({"codec": LastHidden(), "said": said} if hidden else {}))
    assert export(folder, tmp_path / "out.parquet") == POSITIONS.sum()
    opened = TargetStore.open(folder)
    kept: Any = opened.read(opened.rows(KEYS))
    expected = kept.hidden.float() @ kept.head.weight.T if hidden else kept.logits
    found = torch.tensor([row["logits"] for row in rows(tmp_path / "out.parquet")])
    torch.testing.assert_close(found, expected)


def test_the_file_says_whose_it_is(tmp_path: Path) -> None:
    folder = store(tmp_path / "store", codec=TopK(k=3))
    export(folder, tmp_path / "out.parquet")
    about = pq.read_schema(tmp_path / "out.parquet").metadata
    manifest = StoreManifest.open(folder)
    assert json.loads(about[b"distillkit.codec"]) == manifest.codec
    assert json.loads(about[b"distillkit.origin"]) == manifest.origin


def test_a_row_group_is_no_larger_than_a_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 6)
    export(store(tmp_path / "store", codec=TopK(k=3)), tmp_path / "out.parquet")
    groups = pq.ParquetFile(tmp_path / "out.parquet").metadata
    sizes = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
    assert sum(sizes) == POSITIONS.sum()
    assert max(sizes) <= 6 + POSITIONS.max()


def test_nothing_is_overwritten_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store(tmp_path / "store")
    (tmp_path / "out.parquet").write_text("mine")
    with pytest.raises(TargetsError, match=r"out\.parquet: already there"):
        export(folder, tmp_path / "out.parquet")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.pq.ParquetWriter, "write_batch", full)
    with pytest.raises(TargetsError, match="No space left on device"):
        export(folder, tmp_path / "other.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "store"]
