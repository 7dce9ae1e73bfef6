"""Signals at every stage: a status of its own, what was done is kept, and the next run goes on."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distillkit import stopping
from distillkit.stages import evaluation
from distillkit.stages import target_capture as capture
from tests.cli.runs import run
from tests.conftest import Result


@pytest.fixture(autouse=True)
def _handlers_as_they_were() -> Iterator[None]:
    before = {name: signal.getsignal(getattr(signal, name)) for name in stopping.NAMES}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


def stopped(result: Result) -> None:
    """That a run ended as a signal asks."""
    assert result.code == 75, result
    assert "Traceback" not in result.err
    last = "distillkit: stopped by SIGTERM; the same command goes on from here"
    assert result.err.splitlines()[-1] == last


class Asked:
    """Counts the batches that a teacher is asked about, and has a signal come in the n-th."""

    def __init__(self, signalled: int = 0) -> None:
        self.batches, self._signalled = 0, signalled

    def __call__(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for pair in predict(*args, **kwargs):
            self.batches += 1
            if self.batches == self._signalled:
                os.kill(os.getpid(), signal.SIGTERM)
            yield pair


predict = capture.predict
SHARDED = ["targets.batch_tokens=128", "targets.shard_tokens=512"]


def test_a_capture_loses_no_batch_however_often_it_is_stopped(
    again: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards are of several batches: one that is not full is kept, too."""
    for store in (tmp_path / "workspace").glob("targets-*"):
        shutil.rmtree(store)
    words = [*again, *SHARDED]
    whole = Asked()
    monkeypatch.setattr(capture, "predict", whole)
    assert run(tmp_path, "generate-targets", *words).code == 0
    (store,) = (tmp_path / "workspace").glob("targets-*")
    expected = json.loads((store / "targets.json").read_text())
    shutil.rmtree(store)
    total = 0
    for signalled in (2, 3, 1, 7):
        monkeypatch.setattr(capture, "predict", part := Asked(signalled))
        stopped(run(tmp_path, "generate-targets", *words))
        total += part.batches
    monkeypatch.setattr(capture, "predict", last := Asked())
    ended = run(tmp_path, "generate-targets", *words)
    assert ended.code == 0
    assert "targets: going on after" in ended.err
    assert total == 13
    assert total + last.batches == whole.batches
    assert json.loads((store / "targets.json").read_text()) == expected
    assert not list(store.glob("*unfinished*"))


def test_a_damaged_file_of_an_unfinished_shard_is_skipped_with_a_word(
    again: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store,) = (tmp_path / "workspace").glob("targets-*")
    expected = {path.name: path.read_bytes() for path in store.glob("shard-*.arrow")}
    shutil.rmtree(store)
    monkeypatch.setattr(capture, "predict", Asked(1))
    stopped(run(tmp_path, "generate-targets", *again))
    (kept,) = (tmp_path / "workspace").glob(".partial/targets-*/*.unfinished.npz")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    monkeypatch.setattr(capture, "predict", predict)
    ended = run(tmp_path, "generate-targets", *again)
    assert ended.code == 0
    assert f"warning: targets: {kept.name} is damaged; its batches are asked again" in ended.err
    assert {path.name: path.read_bytes() for path in store.glob("shard-*.arrow")} == expected


def signalled(function: Callable[..., Iterator[Any]], at: int) -> Callable[..., Iterator[Any]]:
    """The same generator, in whose n-th result of all a signal comes; `seen` counts them."""

    def of_all(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for found in function(*args, **kwargs):
            of_all.seen += 1  # type: ignore[attr-defined]
            yield found
            if of_all.seen == at:  # type: ignore[attr-defined]
                os.kill(os.getpid(), signal.SIGTERM)

    of_all.seen = 0  # type: ignore[attr-defined]
    return of_all


def test_an_evaluation_goes_on_after_the_batches_that_were_there(
    again: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three models, a batch or two each: none is asked twice."""
    (made,) = (tmp_path / "workspace").glob("evaluation-*")
    shutil.rmtree(made)
    monkeypatch.setattr(evaluation, "VALIDATION_TOKENS", 64)
    whole = signalled(evaluation.logits_of, at=0)
    first, last = signalled(evaluation.logits_of, at=3), signalled(evaluation.logits_of, at=0)
    monkeypatch.setattr(evaluation, "logits_of", first)
    stopped(run(tmp_path, "train", *again))
    assert list((tmp_path / "workspace").glob(".partial/evaluation-*/parts/*.npz"))
    monkeypatch.setattr(evaluation, "logits_of", last)
    ended = run(tmp_path, "train", *again)
    assert ended.code == 0, ended.err
    found = (made / "predictions.npz").read_bytes()
    assert not (made / "parts").exists()
    shutil.rmtree(made)
    monkeypatch.setattr(evaluation, "logits_of", whole)
    assert run(tmp_path, "train", *again).code == 0
    assert (made / "predictions.npz").read_bytes() == found
    assert first.seen == 3  # type: ignore[attr-defined]
    assert first.seen + last.seen == whole.seen  # type: ignore[attr-defined]
