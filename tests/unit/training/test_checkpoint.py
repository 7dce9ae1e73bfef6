"""Checkpoints: complete or not there."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from distillkit.artifacts.digests import recorded, sealed
from distillkit.artifacts.workspace import read_json, write_json
from distillkit.training.checkpoint import Checkpoints, Progress
from tests.unit.training.toy import OPTIMIZERS, X, Y, assert_bits, net, weights


def learn(model: nn.Module, optimizer: Any, steps: int) -> None:
    for _ in range(steps):
        nn.functional.cross_entropy(model.eval()(X), Y).backward()
        optimizer.step()
        optimizer.zero_grad()


def saved(folder: Path, name: str = "adamw", *, steps: int = 3) -> tuple[nn.Module, Any]:
    """A model and its optimizer after some steps, and a checkpoint of them."""
    model = net()
    optimizer = OPTIMIZERS[name](model.parameters())
    learn(model, optimizer, steps)
    Checkpoints(folder).save(Progress(step=steps), model, optimizer)
    return model, optimizer


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_model_and_optimizer_come_back_bit_by_bit(name: str, steps: int, tmp_path: Path) -> None:
    model, optimizer = saved(tmp_path, name, steps=steps)
    other = net(seed=1)
    restored = OPTIMIZERS[name](other.parameters())
    assert Checkpoints(tmp_path).load(other, restored).step == steps
    assert_bits(weights(other), weights(model))
    assert_bits(restored.state_dict()["state"], optimizer.state_dict()["state"])
    for pair in ((model, optimizer), (other, restored)):
        learn(*pair, steps=3)
    assert_bits(weights(other), weights(model))


def test_progress_comes_back_as_it_was(tmp_path: Path) -> None:
    model = net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    progress = Progress(
        step=7,
        seconds=1.25,
        best_step=4,
        best_score=1 / 3,
        window={"loss": 0.1 + 0.2, "steps": 2.0},
        history=[{"step": 5, "lr": 1e-7 / 3, "loss": float("nan")}],
    )
    Checkpoints(tmp_path).save(progress, model, optimizer)
    assert repr(Checkpoints(tmp_path).load(model, optimizer)) == repr(progress)


def test_an_empty_folder_gives_a_fresh_start(tmp_path: Path) -> None:
    model = net()
    before = weights(model)
    checkpoints = Checkpoints(tmp_path / "nothing")
    assert checkpoints.newest() is None
    assert checkpoints.load(model, OPTIMIZERS["adam"](model.parameters())) == Progress()
    assert_bits(weights(model), before)


def test_only_the_newest_is_kept(tmp_path: Path) -> None:
    for steps in (2, 9, 10):
        saved(tmp_path, steps=steps)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000010"]


def test_the_newest_is_so_by_number_where_a_kill_left_two(tmp_path: Path) -> None:
    saved(tmp_path, steps=2)
    (tmp_path / "checkpoint-00000002").rename(tmp_path / "checkpoint-100000000")
    (tmp_path / "checkpoint-00000001").mkdir()  # half removed
    newest = Checkpoints(tmp_path).newest()
    assert newest is not None
    assert newest.name == "checkpoint-100000000"


def test_a_torn_checkpoint_is_not_looked_at_and_then_replaced(tmp_path: Path) -> None:
    model, optimizer = saved(tmp_path, steps=2)
    torn = tmp_path / "new-checkpoint"
    torn.mkdir()
    (torn / "learner.safetensors").write_bytes(b"half of")
    assert Checkpoints(tmp_path).load(net(seed=1), optimizer).step == 2
    Checkpoints(tmp_path).save(Progress(step=3), model, optimizer)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000003"]


def test_a_save_that_fails_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = saved(tmp_path, steps=2)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("distillkit.training.checkpoint.write_json", full)
    with pytest.raises(OSError, match="No space"):
        Checkpoints(tmp_path).save(Progress(step=3), model, optimizer)
    assert Checkpoints(tmp_path).load(model, optimizer).step == 2


class Tied(nn.Module):
    """A decoder that shares its matrix with the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 3)
        self.decoder = nn.Linear(3, 6, bias=False)
        self.decoder.weight = self.embedding.weight


def test_tied_weights_are_kept_once_and_stay_tied(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, other = Tied(), Tied()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Checkpoints(tmp_path).save(Progress(step=1), model, optimizer)
    Checkpoints(tmp_path).load(other, torch.optim.SGD(other.parameters(), lr=0.1))
    assert_bits(weights(other), weights(model))
    assert other.decoder.weight is other.embedding.weight


def test_the_best_weights_come_back_and_older_ones_go(tmp_path: Path) -> None:
    checkpoints, model, other = Checkpoints(tmp_path), net(), net(seed=1)
    checkpoints.save_best(Progress(step=2, best_step=2), net(seed=2))
    best = Progress(step=5, best_step=4)
    checkpoints.save_best(best, model)
    checkpoints.save(best, other, OPTIMIZERS["sgd"](other.parameters()))
    assert [path.name for path in tmp_path.glob("best-*")] == ["best-00000004.safetensors"]
    checkpoints.load_best(best, other)
    assert_bits(weights(other), weights(model))


def test_a_checkpoint_of_an_earlier_version_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, optimizer = saved(tmp_path)
    (tmp_path / "checkpoint-00000003" / "files.json").unlink()
    assert Checkpoints(tmp_path).load(model, optimizer) == Progress()
    line = "checkpoint-00000003: damaged: has no files.json: an earlier version made it"
    assert line in capsys.readouterr().err


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def gone(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


NAMES = [
    "checkpoint-00000003/learner.safetensors",
    "checkpoint-00000003/optimizer.safetensors",
    "checkpoint-00000003/progress.json",
    "checkpoint-00000003/files.json",
    "best-00000002.safetensors",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", [flipped, cut, gone, emptied])
def test_a_damaged_checkpoint_is_named_and_passed_over(
    name: str, damage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The older one is taken that a kill left beside it; without one it is the start."""
    older, run, model = tmp_path / "older", tmp_path / "run", net()
    older.mkdir()
    optimizer = OPTIMIZERS["adamw"](model.parameters())
    checkpoints = Checkpoints(older)
    checkpoints.save_best(Progress(best_step=2), model)
    checkpoints.save(Progress(step=2, best_step=2, best_score=0.5), model, optimizer)
    expected = weights(model)
    shutil.copytree(older, run)
    other = net(seed=1)
    checkpoints = Checkpoints(run)
    checkpoints.load(other, OPTIMIZERS["adamw"](other.parameters()))
    learn(model, optimizer, 1)
    checkpoints.save(Progress(step=3, best_step=2, best_score=0.5), model, optimizer)
    damage(run / name)
    other = net(seed=1)
    before = weights(other)
    assert Checkpoints(run).newest() is None
    restored = OPTIMIZERS["adamw"](other.parameters())
    assert Checkpoints(run).load(other, restored) == Progress()
    assert_bits(weights(other), before)
    told = capsys.readouterr().err
    assert told.count("passed over") == 1
    assert f"{run}/checkpoint-00000003: damaged: " in told
    shutil.copytree(older, run, dirs_exist_ok=True)
    if not name.startswith("best"):
        assert Checkpoints(run).load(other, restored).step == 2
        assert_bits(weights(other), expected)


def nested(path: Path) -> None:
    path.write_text("[" * 100_000 + "]" * 100_000)


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["files.json", "progress.json"])
@pytest.mark.parametrize(
    ("damage", "told"), [(nested, "RecursionError"), (piped, "is a pipe, not a file")]
)
def test_a_record_that_cannot_be_read_is_named_and_passed_over(
    name: str, damage: Any, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe would be waited for, and what is nested too deep has no bottom."""
    model, optimizer = saved(tmp_path)
    newest = tmp_path / "checkpoint-00000003"
    damage(newest / name)
    if name == "progress.json":
        told = told if damage is piped else "bytes, not"
    before = weights(model)
    assert Checkpoints(tmp_path).load(model, optimizer) == Progress()
    assert_bits(weights(model), before)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{newest}: damaged: {name}: ") and told in line


@pytest.mark.parametrize(
    "change", [{"step": "three"}, {"window": None}, {"history": {}}, {"more": 1}, {"seconds": None}]
)
def test_a_checkpoint_whose_progress_is_of_another_kind_is_passed_over(
    change: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, optimizer = saved(tmp_path)
    newest = tmp_path / "checkpoint-00000003"
    write_json(newest / "progress.json", read_json(newest / "progress.json") | change)
    (newest / "files.json").unlink()
    write_json(newest / "files.json", sealed({"files": recorded(newest), "best": {}}))
    assert Checkpoints(tmp_path).load(model, optimizer) == Progress()
    assert "progress.json: " in capsys.readouterr().err


def test_what_was_passed_over_is_replaced(tmp_path: Path) -> None:
    model, optimizer = saved(tmp_path, steps=5)
    flipped(tmp_path / "checkpoint-00000005" / "learner.safetensors")
    Checkpoints(tmp_path).save(Progress(step=5), model, optimizer)
    assert Checkpoints(tmp_path).load(model, optimizer).step == 5
    flipped(tmp_path / "checkpoint-00000005" / "learner.safetensors")
    Checkpoints(tmp_path).save(Progress(step=2), model, optimizer)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000002"]


def test_the_checkpoint_of_another_training_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A student and its control have models of one shape: nothing else tells them apart."""
    one, other = (tmp_path / f"student-{digit * 16}" for digit in "ab")
    _, optimizer = saved(one, steps=2)
    assert Checkpoints(one).load(net(seed=1), optimizer).step == 2
    one.rename(other)
    fresh = net(seed=1)
    assert Checkpoints(other).load(fresh, optimizer).step == 0
    assert_bits(weights(fresh), weights(net(seed=1)))
    assert f"files.json: is that of {one.name}" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["a file", "a link", "a loop"])
def test_what_is_no_checkpoint_and_has_its_name_is_replaced(kind: str, tmp_path: Path) -> None:
    for name in ("checkpoint-00000003", "checkpoint-00000007"):
        path = tmp_path / name
        if kind == "a file":
            path.write_text("no folder")
        else:
            path.symlink_to("gone" if kind == "a link" else name)
    saved(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000003"]
    assert (tmp_path / "checkpoint-00000003").is_dir()
