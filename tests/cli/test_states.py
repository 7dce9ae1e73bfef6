"""A loss on hidden states that a store keeps: the teacher is asked once, and not in the loop."""

import json
from pathlib import Path

import pytest

from distillkit.training.learning import read_metrics
from tests import tiny
from tests.cli.runs import QUICK, Finished, run, with_overrides

PATIENCE = ["loss=patience", "loss.layers=[[1,1],[1,2]]", "loss.projection=shared"]
LAST = ["loss=hidden_mse", "loss.layers=[[-1,-1]]", "loss.embeddings=false"]


@pytest.fixture(scope="module")
def words(body: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("states")
    texts = tiny.write_reviews(folder, 120, 60)
    small = tiny.small(body, *texts, folder / "workspace")
    return with_overrides(
        small, *QUICK, "control=false", "targets.precision=float32", "trainer.log_every=1"
    )


@pytest.fixture(scope="module")
def kept(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose store has the first token's states of two layers."""
    folder = tmp_path_factory.mktemp("kept")
    done = run(folder, "train", *words, *PATIENCE)
    assert done.code == 0, done.err
    (workspace,) = (Path(w.partition("=")[2]) for w in words if w.startswith("workspace="))
    return Finished(words, workspace, folder, done)


def test_the_first_tokens_states_are_kept_and_learnt_from(kept: Finished) -> None:
    assert "targets: online" not in kept.result.err
    assert "│" in kept.result.err  # the drawing of the layers
    manifest = json.loads((kept.artifact("targets") / "first" / "targets.json").read_text())
    assert manifest["origin"]["states"]["layers"] == [1, 2]
    assert manifest["examples"] == manifest["positions"]
    assert manifest["outputs"] == 2 * 32


def test_the_student_is_that_of_a_teacher_in_the_loop(kept: Finished, tmp_path: Path) -> None:
    """States are rounded to float16: the students agree to that."""
    online = [word for word in kept.words if not word.startswith("targets.")]
    done = run(tmp_path, "train", *online, *PATIENCE, "targets=online", "targets.precision=float32")
    assert done.code == 0, done.err
    one, other = (read_metrics(path) for path in kept.workspace.glob("student-*"))
    assert len(one) == len(other) > 1
    for mine, theirs in zip(one, other, strict=True):
        assert mine["patience"] == pytest.approx(theirs["patience"], rel=1e-3)
    assert one[-1]["patience"] < 0.9 * one[0]["patience"]


@pytest.mark.slow
def test_another_student_asks_nobody(kept: Finished, tmp_path: Path) -> None:
    done = run(tmp_path, "train", *kept.words, *PATIENCE, "optimizer.lr=1e-3")
    assert done.code == 0, done.err
    assert "targets:" not in done.err


def test_its_states_are_verified_and_told(kept: Finished, tmp_path: Path) -> None:
    store = kept.artifact("targets")
    shards = len(list(store.rglob("shard-*.arrow")))
    assert f"all {shards} shards are whole" in run(tmp_path, "targets", "verify", store).out
    told = run(tmp_path, "targets", "inspect", store).out
    assert "of the first token, layers 1, 2" in told
    assert run(tmp_path, "plan", *kept.words, *PATIENCE).code == 0


def test_a_store_without_the_layers_is_refused(kept: Finished, tmp_path: Path) -> None:
    store = f"targets.path={kept.artifact('targets')}"
    words = [w for w in kept.words if not w.startswith("targets.")]
    done = run(
        tmp_path, "train", *words, *PATIENCE[:1], *PATIENCE[2:], store, "loss.layers=[[1,0]]"
    )
    assert done.code == 2
    assert "keeps no hidden states of the first token of layer 0" in done.err
    done = run(tmp_path, "train", *words, *LAST, store)
    assert done.code == 2
    assert "keeps no hidden states of all tokens of layer 2" in done.err


def test_a_damaged_shard_of_states_is_named(kept: Finished, tmp_path: Path) -> None:
    import shutil

    store = tmp_path / "store"
    shutil.copytree(kept.artifact("targets"), store)
    shard = next((store / "first").glob("shard-*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-8])
    done = run(tmp_path, "targets", "verify", store)
    assert done.code == 2
    assert f"first/{shard.name}" in done.err


@pytest.mark.slow
def test_all_tokens_of_the_last_layer_are_kept_when_asked_for(
    words: list[str], tmp_path: Path
) -> None:
    own = with_overrides(words, f"workspace={tmp_path / 'w'}")
    done = run(tmp_path, "train", *own, *LAST, "targets=stored")
    assert done.code == 0, done.err
    (manifest,) = (tmp_path / "w").glob("targets-*/whole/targets.json")
    held = json.loads(manifest.read_text())
    assert held["positions"] == held["tokens"] > held["examples"]
    online = [word for word in own if not word.startswith("targets.")]
    again = run(tmp_path, "train", *online, *LAST)
    assert "targets=stored keeps those of the last layer" in again.err
    one, other = (read_metrics(path)[-1] for path in (tmp_path / "w").glob("student-*"))
    assert one["hidden"] == pytest.approx(other["hidden"], rel=1e-3)
