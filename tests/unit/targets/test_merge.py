"""Several stores as one: joined, averaged, or refused with the first difference."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from distillkit.errors import TargetsError
from distillkit.ragged import exclusive_cumsum
from distillkit.targets import Dense, LastHidden, Sampled, StoreManifest, TargetStore, TopK
from distillkit.targets import average as averaging
from distillkit.targets import merge as module
from distillkit.targets.merge import merge
from distillkit.types import HiddenOutputs, Outputs
from tests.unit.targets.answers import keys, random_hidden, random_logits
from tests.unit.targets.test_manifest import ORIGIN, part
from tests.unit.targets.test_store import write_said

KEYS = keys(12)
POSITIONS = np.array([3, 1, 4, 1, 5, 2, 2, 1, 3, 1, 2, 4])
OUTPUTS = 6
OTHER = {"teacher": part(body="folder:2")}


def store(
    folder: Path,
    *,
    codec: Any = None,
    seed: int = 0,
    examples: slice = slice(None),
    shards: int = 2,
    said: Any = None,
    quality: dict[str, Any] | None = None,
    origin: dict[str, Any] | None = None,
    **manifest: Any,
) -> Path:
    """A store of some of the examples, whose answers follow from the seed."""
    begins = exclusive_cumsum(POSITIONS)
    every = random_logits(begins[-1], OUTPUTS, seed=seed) if said is None else said
    places = np.concatenate(
        [np.arange(begins[i], begins[i + 1]) for i in np.arange(len(KEYS))[examples]]
    )
    if isinstance(every, HiddenOutputs):
        answer: Any = HiddenOutputs(every.hidden[places], every.head)
    else:
        answer = Outputs(every[places])
    cut = np.array_split(np.arange(len(KEYS[examples])), shards)
    write_said(folder, codec or Dense(), answer, KEYS[examples], POSITIONS[examples], cut)
    changed = replace(
        StoreManifest.open(folder),
        origin=ORIGIN | (origin or {}),
        quality=quality or {},
        **manifest,
    )
    changed.save(folder)
    return folder


def logits(folder: Path) -> Tensor:
    """What a store says of all examples, in the order of their keys here."""
    opened = TargetStore.open(folder)
    said: Any = opened.read(opened.rows(KEYS))
    return said.logits


def probabilities(values: Tensor) -> Tensor:
    return values.double().softmax(dim=-1)


# joined


def test_all_examples_are_in_the_one_store(tmp_path: Path) -> None:
    first = store(tmp_path / "a", examples=slice(0, 5))
    second = store(tmp_path / "b", examples=slice(5, 12), shards=3)
    manifest = merge([first, second], tmp_path / "out")
    assert torch.equal(logits(tmp_path / "out"), logits(store(tmp_path / "whole")))
    assert (manifest.examples, manifest.positions) == (12, POSITIONS.sum())
    assert manifest.tokens == 200
    assert [shard.file for shard in manifest.shards] == [f"shard-0000{i}.arrow" for i in range(5)]
    assert StoreManifest.open(tmp_path / "out").damaged(tmp_path / "out") == []


@pytest.mark.parametrize("codec", [Sampled(draws=9), TopK(k=3)], ids=repr)
def test_what_a_codec_kept_is_kept_as_it_is(tmp_path: Path, codec: Any) -> None:
    halves = [slice(0, 6), slice(6, 12)]
    paths = [store(tmp_path / f"{i}", codec=codec, examples=h) for i, h in enumerate(halves)]
    merge(paths, tmp_path / "out")
    merged, whole = TargetStore.open(tmp_path / "out"), store(tmp_path / "whole", codec=codec)
    opened = TargetStore.open(whole)
    one, other = merged.read(merged.rows(KEYS)), opened.read(opened.rows(KEYS))
    assert torch.equal(one.ids, other.ids)
    assert torch.equal(one.log_probs, other.log_probs)


def test_a_file_that_all_examples_share_is_there_once(tmp_path: Path) -> None:
    said = random_hidden(int(POSITIONS.sum()), OUTPUTS)
    halves = [slice(0, 6), slice(6, 12)]
    paths = [
        store(tmp_path / f"{i}", codec=LastHidden(), examples=h, said=said)
        for i, h in enumerate(halves)
    ]
    merge(paths, tmp_path / "out")
    opened = TargetStore.open(tmp_path / "out")
    kept: Any = opened.read(opened.rows(KEYS))
    assert torch.equal(kept.hidden, said.hidden.bfloat16())
    assert torch.equal(kept.head.weight, said.head.weight[:OUTPUTS])


def test_the_same_example_twice_does_no_harm(tmp_path: Path) -> None:
    first = store(tmp_path / "a", examples=slice(0, 8))
    second = store(tmp_path / "b", examples=slice(4, 12))
    merge([first, second], tmp_path / "out")
    assert torch.equal(logits(tmp_path / "out"), logits(store(tmp_path / "whole")))


def test_data_of_all_stores_are_named_and_a_run_over_either_is_served(tmp_path: Path) -> None:
    data = [part(labelled=f"file:{i}") for i in range(3)]
    paths = [
        store(tmp_path / f"{i}", examples=slice(4 * i, 4 * i + 4), origin={"data": data[i]})
        for i in range(3)
    ]
    merge(paths[:2], tmp_path / "two")
    merged = merge([tmp_path / "two", paths[2]], tmp_path / "three")
    members = {member["fingerprint"] for member in merged.origin["data"]["members"]}
    assert members == {record["fingerprint"] for record in data}
    for record in data:
        merged.check_origin(ORIGIN | {"data": record}, at="targets.path = here")
    with pytest.raises(TargetsError, match="made by another data"):
        merged.check_origin(ORIGIN | {"data": part(labelled="file:9")}, at="targets.path = here")


def test_parts_of_the_same_data_are_still_that_data(tmp_path: Path) -> None:
    paths = [store(tmp_path / "a", examples=slice(0, 6)), store(tmp_path / "b", shards=1)]
    assert merge(paths, tmp_path / "out").origin == ORIGIN


def test_what_was_measured_is_averaged_over_positions(tmp_path: Path) -> None:
    found = [{"positions": 100, "kl": 0.1, "ids": 5.0}, {"positions": 300, "kl": 0.5}]
    paths = [store(tmp_path / f"{i}", quality=quality) for i, quality in enumerate(found)]
    assert merge(paths, tmp_path / "out").quality == {"positions": 400, "kl": pytest.approx(0.4)}
    paths.append(store(tmp_path / "unmeasured"))
    assert merge(paths, tmp_path / "out2").quality == {}


# averaged


@pytest.mark.parametrize("weights", [None, [1, 3], [0.25, 0.75]])
def test_probabilities_of_two_teachers_are_averaged(tmp_path: Path, weights: Any) -> None:
    first = store(tmp_path / "a")
    second = store(tmp_path / "b", seed=1, shards=3, origin=OTHER)
    manifest = merge([first, second], tmp_path / "out", weights=weights)
    share = 0.5 if weights is None else 0.25
    mean = share * probabilities(logits(first)) + (1 - share) * probabilities(logits(second))
    torch.testing.assert_close(probabilities(logits(tmp_path / "out")), mean, rtol=1e-5, atol=1e-7)
    # they are log-probabilities: nothing is to be normalised
    total = logits(tmp_path / "out").double().exp().sum(dim=-1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)
    assert manifest.codec == {"name": "dense", "dtype": "float32"}
    assert manifest.examples == 12


def test_examples_stand_where_they_will(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores hold the same examples in other orders, and pieces are smaller than shards."""
    monkeypatch.setattr(averaging, "SHARD_VALUES", 10 * OUTPUTS)
    monkeypatch.setattr(averaging, "CHUNK", 4 * OUTPUTS)
    first, second = store(tmp_path / "a"), store(tmp_path / "b", seed=1, origin=OTHER)
    turned = Path(tmp_path / "turned")
    opened = TargetStore.open(second)
    order = np.arange(len(KEYS))[::-1]
    said: Any = opened.read(opened.rows(KEYS[order]))
    write_said(turned, Dense(), Outputs(said.logits), KEYS[order], POSITIONS[order], [order[::-1]])
    replace(StoreManifest.open(turned), origin=ORIGIN | OTHER).save(turned)
    manifest = merge([first, turned], tmp_path / "out")
    mean = (probabilities(logits(first)) + probabilities(logits(second))) / 2
    torch.testing.assert_close(probabilities(logits(tmp_path / "out")), mean, rtol=1e-5, atol=1e-7)
    assert len(manifest.shards) > 1


def test_hidden_states_and_logits_are_averaged_together(tmp_path: Path) -> None:
    said = random_hidden(int(POSITIONS.sum()), OUTPUTS, scale=0.5, softcap=20.0)
    first = store(tmp_path / "a", codec=LastHidden(), said=said)
    second = store(tmp_path / "b", seed=1, origin=OTHER)
    merge([first, second], tmp_path / "out")
    raw = 0.5 * said.hidden.bfloat16().float() @ said.head.weight[:OUTPUTS].T
    mean = (probabilities(20 * torch.tanh(raw / 20)) + probabilities(logits(second))) / 2
    torch.testing.assert_close(probabilities(logits(tmp_path / "out")), mean, rtol=1e-5, atol=1e-7)


def test_what_neither_teacher_expects_stays_impossible(tmp_path: Path) -> None:
    sure = random_logits(int(POSITIONS.sum()), OUTPUTS)
    sure[:, 2] = -torch.inf
    first = store(tmp_path / "a", said=sure)
    second = store(tmp_path / "b", said=sure + 1, origin=OTHER)
    merge([first, second], tmp_path / "out")
    torch.testing.assert_close(probabilities(logits(tmp_path / "out")), probabilities(sure))


def test_the_average_names_all_teachers_and_their_shares(tmp_path: Path) -> None:
    paths = [store(tmp_path / "a"), store(tmp_path / "b", seed=1, origin=OTHER)]
    manifest = merge(paths, tmp_path / "out", weights=[1, 4])
    teacher = manifest.origin["teacher"]
    assert teacher["members"] == [ORIGIN["teacher"], OTHER["teacher"]]
    assert teacher["weights"] == [0.2, 0.8]
    other = merge(paths, tmp_path / "equal").origin["teacher"]
    assert len({r["fingerprint"] for r in (teacher, other, *teacher["members"])}) == 4
    for origin in (ORIGIN, ORIGIN | OTHER):  # a run of either teacher may learn from both
        manifest.check_origin(origin, at="targets.path = here")
    with pytest.raises(TargetsError, match="made by another teacher"):
        manifest.check_origin(ORIGIN | {"teacher": part(body="folder:3")}, at="targets.path = here")


def values(folder: Path, distribution: str) -> list[Path]:
    """Two teachers' stores, of outputs that mean something else than a softmax."""
    count = 1 if distribution == "real" else OUTPUTS
    said = [random_logits(int(POSITIONS.sum()), count, seed=seed) for seed in (0, 1)]
    return [
        store(folder / name, said=s, labels=[], distribution=distribution, origin=origin)
        for name, s, origin in zip("ab", said, (None, OTHER), strict=True)
    ]


def test_of_a_real_value_the_mean_is_kept(tmp_path: Path) -> None:
    paths = values(tmp_path, "real")
    merge(paths, tmp_path / "out", weights=[1, 3])
    mean = 0.25 * logits(paths[0]) + 0.75 * logits(paths[1])
    torch.testing.assert_close(logits(tmp_path / "out"), mean)


def test_labels_by_themselves_are_averaged_by_themselves(tmp_path: Path) -> None:
    paths = values(tmp_path, "bernoulli")
    manifest = merge(paths, tmp_path / "out")
    mean = (logits(paths[0]).double().sigmoid() + logits(paths[1]).double().sigmoid()) / 2
    found = logits(tmp_path / "out").double().sigmoid()
    torch.testing.assert_close(found, mean, rtol=1e-5, atol=1e-7)
    assert manifest.distribution == "bernoulli"


def test_tokens_of_other_tokenizers_are_refused_and_labels_are_not(tmp_path: Path) -> None:
    other = {**OTHER, "tokenizer": part(source="other")}
    labelled = [store(tmp_path / "a"), store(tmp_path / "b", seed=1, origin=other)]
    manifest = merge(labelled, tmp_path / "out")
    named = {member["fingerprint"] for member in manifest.origin["tokenizer"]["members"]}
    assert named == {o["tokenizer"]["fingerprint"] for o in (ORIGIN, other)}
    for path in labelled:
        replace(StoreManifest.open(path), labels=[]).save(path)
    with pytest.raises(TargetsError, match=r"tokenizer\.fingerprint"):
        merge(labelled, tmp_path / "tokens")


# refused


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"codec": Dense("float16")}, r"codec\.dtype \('float16' here, 'float32' there\)"),
        ({"codec": Sampled(draws=4)}, r"codec\.name \('sampled' here, 'dense' there\)"),
        ({"origin": {"tokenizer": part(source="other")}}, r"tokenizer\.fingerprint"),
        ({"labels": ["a", "c", "b"]}, r"labels \(\['a', 'c', 'b'\] here, \['a', 'b', 'c'\] there"),
        ({"said": random_logits(27 + 2, 5)}, r"outputs \(5 here, 6 there\)"),
        (
            {"origin": OTHER, "distribution": "bernoulli"},
            r"distribution \('bernoulli' here, 'softmax' there\)",
        ),
        ({"origin": OTHER, "said": random_logits(29, 5)}, r"outputs \(5 here, 6 there\)"),
        (
            {"origin": OTHER, "codec": TopK(k=2)},
            r"codec\.name is top_k in .*b; only stores of all logits \(dense, last_hidden\)",
        ),
        ({"origin": OTHER, "examples": slice(2, 12)}, "it lacks 2 and has 0 more"),
    ],
)
def test_the_first_difference_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    paths = [store(tmp_path / "a"), store(tmp_path / "b", **change)]
    with pytest.raises(TargetsError, match=f"{paths[1]}: cannot be merged with .*{said}") as caught:
        merge(paths, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_heads_that_differ_are_not_one_teachers(tmp_path: Path) -> None:
    said = random_hidden(int(POSITIONS.sum()), OUTPUTS)
    louder = replace(said, head=replace(said.head, weight=2 * said.head.weight))
    paths = [
        store(tmp_path / name, codec=LastHidden(), said=what)
        for name, what in (("a", said), ("b", louder))
    ]
    with pytest.raises(TargetsError, match=r"differs is files\.head\.safetensors"):
        merge(paths, tmp_path / "out")


def test_the_same_texts_cut_otherwise_are_not_averaged(tmp_path: Path) -> None:
    other = POSITIONS[::-1].copy()
    said = Outputs(random_logits(int(other.sum()), OUTPUTS))
    write_said(tmp_path / "b", Dense(), said, KEYS, other, [np.arange(12)])
    replace(StoreManifest.open(tmp_path / "b"), origin=ORIGIN | OTHER).save(tmp_path / "b")
    with pytest.raises(TargetsError, match="other numbers of positions"):
        merge([store(tmp_path / "a"), tmp_path / "b"], tmp_path / "out")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0], r"--weights 1: 1 for 2 stores"),
        ([1.0, -0.5], r"--weights 1,-0\.5: must be positive"),
        ([0.0, 0.0], r"must be positive"),
        ([1.0, float("nan")], "must be positive"),
    ],
)
def test_weights_that_cannot_be_are_refused(tmp_path: Path, weights: Any, said: str) -> None:
    paths = [store(tmp_path / "a"), store(tmp_path / "b", origin=OTHER)]
    with pytest.raises(TargetsError, match=said):
        merge(paths, tmp_path / "out", weights=weights)


def test_one_teachers_stores_have_no_weights(tmp_path: Path) -> None:
    with pytest.raises(TargetsError, match="of one teacher"):
        merge([store(tmp_path / "a"), store(tmp_path / "b")], tmp_path / "out", weights=[1, 1])


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(TargetsError, match="already there"):
        merge([store(tmp_path / "a"), store(tmp_path / "b")], tmp_path / "out")


@pytest.mark.parametrize("origin", [None, OTHER])
def test_what_fails_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: Any
) -> None:
    paths = [store(tmp_path / "a"), store(tmp_path / "b", origin=origin)]

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfile", full)
    monkeypatch.setattr(module.TargetWriter, "finish", full)
    with pytest.raises(TargetsError, match=r"out: cannot be written \(No space left on device\)"):
        merge(paths, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_damaged_store_is_not_merged(tmp_path: Path) -> None:
    paths = [store(tmp_path / "a"), store(tmp_path / "b")]
    shard = paths[1] / "shard-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(TargetsError, match=r"b: shard-00001\.arrow"):
        merge(paths, tmp_path / "out")
