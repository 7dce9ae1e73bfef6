"""Several processes that fill one target store: each shard by one of them, and the same bits."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.artifacts.digests import file_sha256
from distillkit.errors import ModelError
from distillkit.models.saved import SavedModel
from distillkit.stages import targets as stage
from distillkit.stages.target_work import TargetHelp, TargetWork
from distillkit.stages.teacher import TeacherModel
from distillkit.targets import (
    Codec,
    Dense,
    LastHidden,
    Sampled,
    SampledLogits,
    StoredTargets,
    TopK,
    TopP,
)
from distillkit.targets.shard_queue import ShardQueue
from distillkit.tasks import CausalLM
from distillkit.token_table import TokenTable
from distillkit.types import LabelSpace, StoredLayers
from tests import tiny_language
from tests.unit.targets.answers import keys

EXAMPLES = 40
CODECS = [Dense(), Sampled(draws=5), SampledLogits(), TopK(k=4), TopP(k=8), LastHidden()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language.write_model(tmp_path_factory.mktemp("model"), layers=2)


def table() -> TokenTable:
    lengths = np.random.default_rng(0).integers(3, 30, EXAMPLES)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.random.default_rng(1).integers(6, 30, offsets[-1]).astype(np.int32)
    counted = np.ones(len(ids), bool)
    counted[offsets[:-1]] = False
    return TokenTable(
        ids=ids,
        offsets=offsets,
        segments=None,
        keys=keys(EXAMPLES),
        labels=np.zeros(len(ids), np.int64),
        label_mask=counted,
        loss_mask=counted,
    )


def work(model: Path, codec: Codec, states: StoredLayers | None = None) -> TargetWork:
    return TargetWork(
        TeacherModel(SavedModel(str(model), "teacher.path"), {"fingerprint": "t"}),
        CausalLM(max_length=32),
        LabelSpace(()),
        table(),
        StoredTargets(codec=codec, batch_tokens=64, shard_tokens=100, precision="float32"),
        {part: {"fingerprint": "t"} for part in ("teacher", "tokenizer", "data")},
        states or StoredLayers(),
    )


def made(work: TargetWork, out: Path) -> dict[str, str]:
    """The sha256 of every file of the store, those that a run goes on from left out."""
    out.mkdir(parents=True, exist_ok=True)
    stage.generate_targets(work, out=out)
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "plan.json"]
    return {str(path.relative_to(out)): file_sha256(path) for path in files}


class Picked(ShardQueue):
    """Claims but certain shards, as a process does that comes and goes."""

    numbers: Iterable[int] = ()

    def claim(self) -> int | None:
        free = [it for it in self.numbers if it in self.missing() and it not in self._claimed]
        for number in free:
            if self._claims.take(f"shard-{number:05d}.arrow"):
                self._claimed.append(number)
                return number
        return None


def help_with(work: TargetWork, out: Path, numbers: Iterable[int]) -> bool:
    """Have another process's part done, of certain shards."""
    queue = work.queue(out)
    picked = Picked(out, queue.plan, queue._files)
    picked.numbers = numbers
    helping = replace(work)
    object.__setattr__(helping, "queue", lambda _: picked)
    return TargetHelp(lambda: helping)(out)


def led(work: TargetWork, out: Path) -> int:
    """Begin a store, as the process does that has its lock; how many shards it will have."""
    out.mkdir(parents=True)
    queue = work.queue(out)
    queue.lead()
    queue.close()
    return len(work.shards)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("first", ["the first", "another"])
def test_the_bits_are_those_of_one_process(
    codec: Codec, first: str, model: Path, tmp_path: Path
) -> None:
    """Whether another one writes the first shard, and the files that all share, or not."""
    one = made(work(model, codec), tmp_path / "one")
    count = led(work(model, codec), tmp_path / "two")
    assert count > 5
    numbers = range(0, count, 2) if first == "another" else range(1, count, 2)
    assert not help_with(work(model, codec), tmp_path / "two", numbers)
    assert len(list((tmp_path / "two").glob("shard-*.arrow"))) == len(numbers)
    assert made(work(model, codec), tmp_path / "two") == one
    assert not list((tmp_path / "two" / "claims").iterdir())


def test_hidden_states_are_filled_together_too(model: Path, tmp_path: Path) -> None:
    states = StoredLayers(first=frozenset({1}), whole=frozenset({0, 2}))
    one = made(work(model, TopK(k=4), states), tmp_path / "one")
    assert {name.partition("/")[0] for name in one if "/" in name} == {"first", "whole"}
    count = led(work(model, TopK(k=4), states), tmp_path / "two")
    help_with(work(model, TopK(k=4), states), tmp_path / "two", range(1, count, 2))
    assert made(work(model, TopK(k=4), states), tmp_path / "two") == one


def test_others_may_have_done_all(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = made(work(model, LastHidden()), tmp_path / "one")
    count = led(work(model, LastHidden()), tmp_path / "two")
    assert help_with(work(model, LastHidden()), tmp_path / "two", range(count))
    assert f"targets: {count} of {count} shards by this process" in capsys.readouterr().err
    assert made(work(model, LastHidden()), tmp_path / "two") == one


def test_who_comes_when_all_is_claimed_loads_no_teacher(model: Path, tmp_path: Path) -> None:
    there = work(model, Dense())
    count = led(there, tmp_path / "out")
    queue = there.queue(tmp_path / "out")
    while queue.claim() is not None:
        pass
    surplus = replace(there, teacher=TeacherModel(SavedModel("nowhere", "teacher.path"), {}))
    help_others = TargetHelp(lambda: surplus)
    assert not help_others(tmp_path / "out")
    queue.close()
    with pytest.raises(ModelError):  # now there is something to do
        help_others(tmp_path / "out")
    assert count > 1


@pytest.mark.parametrize(("threads", "takes_part"), [(1, True), (2, False)])
def test_who_would_compute_with_more_threads_than_cores_waits(
    threads: int,
    takes_part: bool,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One thread each is the operating system's business, which shares its cores out."""
    there, out = work(model, Dense()), tmp_path / "out"
    led(there, out)
    monkeypatch.setattr("distillkit.stages.target_work.torch.get_num_threads", lambda: threads)
    monkeypatch.setattr("distillkit.stages.target_work.os.cpu_count", lambda: 3)
    monkeypatch.setattr(ShardQueue, "neighbours", lambda self: 1)
    help_others = TargetHelp(lambda: there)
    assert [help_others(out) for _ in range(2)] == [takes_part] * 2
    assert bool(list(out.glob("shard-*"))) is takes_part
    told = capsys.readouterr().err.count("OMP_NUM_THREADS=1 for each lets all take part); waiting")
    assert told == (not takes_part)


def test_on_a_gpu_there_is_one_process_at_a_time(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there, out = work(model, Dense()), tmp_path / "out"
    led(there, out)
    monkeypatch.setattr(TargetWork, "device", "gpu-1")
    other, help_others = there.queue(out), TargetHelp(lambda: there)
    assert other.take_device("gpu-1")
    assert not help_others(out) and not help_others(out)
    line = "targets: another process computes on this GPU; waiting"
    assert capsys.readouterr().err.count(line) == 1
    other.close()
    assert help_others(out)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("batch_tokens", 32, "batch_tokens: 64 there, 32 here"),
        ("shard_tokens", 90, "shard_tokens: 100 there, 90 here"),
        ("precision", "bfloat16", "precision: float32 there, bfloat16 here"),
    ],
)
def test_who_would_cut_or_compute_otherwise_does_not_take_part(
    field: str,
    value: Any,
    told: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = work(model, Dense())
    led(there, tmp_path / "out")
    other = replace(there, settings=replace(there.settings, **{field: value}))
    if field == "shard_tokens":  # as many shards, and not the same
        assert len(other.shards) == len(there.shards)
    help_others = TargetHelp(lambda: other)
    for _ in range(2):
        assert not help_others(tmp_path / "out")
    assert not list((tmp_path / "out").glob("shard-*"))
    assert capsys.readouterr().err.count(f"targets: cut otherwise by that process ({told})") == 1


def test_shards_that_were_cut_otherwise_are_removed_once_nobody_is_at_them(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, out = work(model, Dense()), tmp_path / "out"
    led(there, out)
    old = there.queue(out)
    assert old.claim() == 0
    other = replace(there, settings=replace(there.settings, shard_tokens=1000))
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        assert not old.is_planned
        assert old.claim() is None  # nobody begins a shard of the old plan any more
        if len(naps) == 3:
            (out / "shard-00000.arrow").write_bytes(b"of the old plan")
            old.close()

    monkeypatch.setattr("distillkit.targets.shard_queue.time.sleep", nap)
    with closing(other.queue(out)) as queue:
        queue.lead()
    assert len(naps) == 3
    assert not list(out.glob("shard-*"))
    assert made(other, out) == made(other, tmp_path / "fresh")


def test_a_damaged_shard_is_removed_so_that_anybody_makes_it_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, out = work(model, Sampled(draws=5)), tmp_path / "out"
    one = made(there, tmp_path / "one")
    led(there, out)
    help_with(there, out, [1, 3])
    content = bytearray((out / "shard-00003.arrow").read_bytes())
    content[-30] ^= 2
    (out / "shard-00003.arrow").write_bytes(content)
    with closing(there.queue(out)) as queue:
        queue.lead()
    assert {path.name for path in out.glob("shard-*.arrow")} == {"shard-00001.arrow"}
    assert "damaged: shard-00003.arrow: altered" in capsys.readouterr().err
    help_with(there, out, [3])
    assert made(there, out) == one


def test_a_plan_of_an_earlier_version_is_gone_on_with(model: Path, tmp_path: Path) -> None:
    there, out = work(model, Dense()), tmp_path / "out"
    count = led(there, out)
    help_with(there, out, [0, 1])
    (out / "plan.json").write_text(f'{{"batch_tokens": 64, "shards": {count}}}')
    with closing(there.queue(out)) as queue:
        queue.lead()
    assert len(list(out.glob("shard-*.arrow"))) == 2
    assert there.queue(out).is_planned
