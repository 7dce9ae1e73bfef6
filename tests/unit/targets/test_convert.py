"""A store under another codec: what a capture would have kept, without the teacher."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.errors import ConfigError, TargetsError, WorkspaceError
from distillkit.targets import (
    Dense,
    LastHidden,
    Sampled,
    SampledLogits,
    StoredTargets,
    StoreManifest,
    TargetStore,
    TopK,
    TopP,
)
from distillkit.targets.codecs.last_hidden import HEAD
from distillkit.targets.convert import convert
from distillkit.types import HiddenOutputs, Outputs
from tests.unit.targets.answers import keys, random_hidden, random_logits
from tests.unit.targets.test_manifest import ORIGIN
from tests.unit.targets.test_store import write_said

KEYS, OUTPUTS = keys(9), 40
POSITIONS = np.array([3, 1, 4, 1, 5, 2, 6, 5, 3])
SHARDS = [np.array([4, 0, 7]), np.array([8, 2, 1, 3]), np.array([6, 5])]
SAID = random_hidden(int(POSITIONS.sum()), OUTPUTS)
KEPT = HiddenOutputs(SAID.hidden.bfloat16(), SAID.head)  # what LastHidden keeps of it
ROUNDED = [
    Sampled(draws=12),
    SampledLogits(k=9),
    TopK(k=5),
    TopP(p=0.8, k=9),
    LastHidden("int8"),
    Dense("float16"),
]


def captured(folder: Path, codec: Any, said: Any = SAID) -> Path:
    return write_said(folder, codec, said, KEYS, POSITIONS, SHARDS)


def values(folder: Path) -> dict[bytes, bytes]:
    """The stored bytes of each example."""
    store = TargetStore.open(folder)
    found = {}
    for key in store.keys:
        payload = store._payload(store.rows(np.array([key])))
        found[key] = payload.data.tobytes()
    return found


@pytest.mark.parametrize("codec", ROUNDED, ids=repr)
@pytest.mark.parametrize("shard_tokens", [7, 10_000])
def test_what_is_converted_is_what_a_capture_keeps(
    tmp_path: Path, codec: Any, shard_tokens: int
) -> None:
    exact = captured(tmp_path / "exact", LastHidden())
    settings = StoredTargets(codec=codec, shard_tokens=shard_tokens)
    manifest = convert(exact, tmp_path / "out", settings)
    direct = captured(tmp_path / "direct", codec, KEPT)
    assert values(tmp_path / "out") == values(direct)
    assert manifest == StoreManifest.open(tmp_path / "out")
    assert (len(manifest.shards) > 1) == (shard_tokens < 30)
    assert manifest.codec == codec.settings()


def test_logits_are_converted_too(tmp_path: Path) -> None:
    exact = captured(tmp_path / "exact", Dense())
    convert(exact, tmp_path / "out", StoredTargets(codec=Sampled(draws=7)))
    direct = captured(tmp_path / "direct", Sampled(draws=7))
    assert values(tmp_path / "out") == values(direct)


def test_another_seed_draws_other_ids(tmp_path: Path) -> None:
    exact = captured(tmp_path / "exact", LastHidden())
    for seed in (0, 1):
        convert(exact, tmp_path / f"{seed}", StoredTargets(codec=Sampled(draws=12), seed=seed))
    assert values(tmp_path / "0") != values(tmp_path / "1")


def test_it_is_still_of_the_same_teacher_and_tells_what_it_was(tmp_path: Path) -> None:
    exact = captured(tmp_path / "exact", LastHidden())
    manifest = convert(exact, tmp_path / "out", StoredTargets(codec=TopK(k=5)))
    TargetStore.open(tmp_path / "out", expected=ORIGIN)
    before = StoreManifest.open(exact)
    assert manifest.origin["converted"]["name"] == "last_hidden"
    assert manifest.origin["converted"]["fingerprint"] == before.fingerprint
    assert (manifest.tokens, manifest.labels) == (before.tokens, before.labels)
    assert not (tmp_path / "out" / HEAD).exists()


def test_how_far_it_is_from_what_was_kept_is_measured(tmp_path: Path) -> None:
    exact = captured(tmp_path / "exact", LastHidden())
    few = convert(exact, tmp_path / "few", StoredTargets(codec=TopK(k=2)))
    many = convert(exact, tmp_path / "many", StoredTargets(codec=TopK(k=20)))
    assert 0 < few.quality["kept_mass"] < many.quality["kept_mass"] < 1
    assert few.quality["positions"] == POSITIONS.sum()


@pytest.mark.parametrize("codec", [TopK(k=5), TopP(p=0.9, k=5), Sampled(draws=5)], ids=repr)
def test_what_was_left_out_cannot_be_brought_back(tmp_path: Path, codec: Any) -> None:
    sparse = captured(tmp_path / "sparse", codec)
    with pytest.raises(TargetsError, match=f"its codec, {codec.name}, does not keep all logits"):
        convert(sparse, tmp_path / "out", StoredTargets(codec=Dense()))
    assert not (tmp_path / "out").exists()


def test_logits_do_not_become_hidden_states(tmp_path: Path) -> None:
    exact = captured(tmp_path / "exact", Dense())
    with pytest.raises(TargetsError, match="no hidden states can be made of them"):
        convert(exact, tmp_path / "out", StoredTargets(codec=LastHidden()))


def test_more_ids_than_there_are_is_refused_before_any_work(tmp_path: Path) -> None:
    exact = captured(tmp_path / "exact", LastHidden())
    with pytest.raises(ConfigError, match=r"targets.codec.k = 41: the teacher has only 40"):
        convert(exact, tmp_path / "out", StoredTargets(codec=TopK(k=41)))


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    exact = captured(tmp_path / "exact", LastHidden())
    with pytest.raises(TargetsError, match="already there"):
        convert(exact, exact, StoredTargets(codec=TopK(k=4)))


def test_a_disk_that_is_too_small_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = captured(tmp_path / "exact", LastHidden())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(WorkspaceError, match=r"targets.codec = dense: about .* choose a smaller"):
        convert(exact, tmp_path / "deep" / "out", StoredTargets(codec=Dense()))
    assert [path.name for path in tmp_path.iterdir()] == ["exact"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = captured(tmp_path / "exact", LastHidden())

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TopK, "encode", fail)
    with pytest.raises(TargetsError, match="cannot be written"):
        convert(exact, tmp_path / "out", StoredTargets(codec=TopK(k=4)))
    assert [path.name for path in tmp_path.iterdir()] == ["exact"]


def test_one_real_value_has_no_quality(tmp_path: Path) -> None:
    one = Outputs(random_logits(int(POSITIONS.sum()), 1))
    exact = captured(tmp_path / "exact", Dense(), one)
    manifest = convert(exact, tmp_path / "out", StoredTargets(codec=Dense("bfloat16")))
    assert manifest.quality == {}


def several(folder: Path) -> Path:
    """A store of labels of which several may hold."""
    found = captured(folder, Dense(), Outputs(random_logits(int(POSITIONS.sum()), 4)))
    replace(StoreManifest.open(found), distribution="bernoulli").save(found)
    return found


def test_several_labels_are_measured_as_such(tmp_path: Path) -> None:
    store = several(tmp_path / "exact")
    quality = convert(store, tmp_path / "out", StoredTargets(codec=Dense("bfloat16"))).quality
    p = random_logits(int(POSITIONS.sum()), 4).double().sigmoid()
    q = random_logits(int(POSITIONS.sum()), 4).bfloat16().double().sigmoid()
    entropy = -(p * p.log() + (1 - p) * (1 - p).log()).sum(dim=-1).mean()
    kl = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(dim=-1).mean()
    assert quality == {
        "positions": POSITIONS.sum(),
        "entropy": pytest.approx(float(entropy)),
        "label_kl": pytest.approx(float(kl), rel=1e-6),
    }


def test_several_labels_are_no_softmax_to_keep_entries_of(tmp_path: Path) -> None:
    store = several(tmp_path / "exact")
    with pytest.raises(ConfigError, match="labels of which several may hold; choose targets=stor"):
        convert(store, tmp_path / "out", StoredTargets(codec=TopK(k=2)))
    assert not (tmp_path / "out").exists()


def test_a_store_larger_than_a_batch_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distillkit.targets.convert.POSITIONS", 4)
    exact = captured(tmp_path / "exact", LastHidden())
    convert(exact, tmp_path / "out", StoredTargets(codec=Dense(), shard_tokens=9))
    opened = TargetStore.open(tmp_path / "out")
    kept: Any = opened.read(opened.rows(KEYS))
    wanted = KEPT.hidden.float() @ SAID.head.weight[:OUTPUTS].T
    torch.testing.assert_close(kept.logits, wanted)
