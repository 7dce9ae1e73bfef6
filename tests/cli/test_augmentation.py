"""Copies of the training texts in a run: an artifact of their own, and a part of what is learnt."""

import json
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import QUICK, artifact_kinds, assert_refused, run, with_overrides


@pytest.fixture
def few(body: Path, tmp_path: Path) -> list[str]:
    texts = tiny.write_reviews(tmp_path, 80, 20)
    return [*with_overrides(tiny.small(body, *texts, tmp_path / "w"), *QUICK), "control=false"]


def counts(workspace: Path, kind: str) -> dict[str, int]:
    (path,) = workspace.glob(f"{kind}-*/manifest.json")
    found: dict[str, int] = json.loads(path.read_text())["facts"].get("counts", {})
    return found


@pytest.mark.slow
def test_the_teacher_is_asked_about_the_copies_too(few: list[str], tmp_path: Path) -> None:
    words = [*few, "augmentation=word_dropout", "augmentation.copies=2"]
    done = run(tmp_path, "generate-targets", *words)
    assert done.code == 0, done.err
    workspace = tmp_path / "w"
    assert artifact_kinds(workspace).count("augmented") == 1
    made = counts(workspace, "augmented")["augmented"]
    transfer, train = counts(workspace, "transfer")["transfer"], counts(workspace, "data")["train"]
    assert made > train
    assert transfer == 20 + made
    (manifest,) = workspace.glob("targets-*/targets.json")
    assert json.loads(manifest.read_text())["examples"] == train + transfer

    plain = run(tmp_path, "plan", *few)
    assert plain.code == 0, plain.err  # another transfer set, without them
    assert artifact_kinds(workspace).count("transfer") == 2
    assert artifact_kinds(workspace).count("augmented") == 1


@pytest.mark.slow
def test_pairs_are_rewritten_as_pairs(few: list[str], tmp_path: Path) -> None:
    rows = [(text, text[::-1], label) for text, label in tiny.labelled(80)]
    pairs = tiny.write_csv(tmp_path / "pairs.csv", ("text", "other", "label"), rows)
    words = with_overrides(
        few, f"data.train={pairs}", "data.text_pair=other", without="data.transfer"
    )
    done = run(tmp_path, "train", *words, "augmentation=rule_based", "augmentation.copies=3")
    assert done.code == 0, done.err
    assert counts(tmp_path / "w", "transfer")["transfer"] > 80


@pytest.mark.slow
def test_a_model_that_cannot_refill_is_told_before_the_teacher_is_fitted(
    few: list[str], body: Path, tmp_path: Path
) -> None:
    words = [*few, "augmentation=mask_and_refill"]
    assert_refused(run(tmp_path, "train", *words), "augmentation.model: required, but not set")
    gone = run(tmp_path, "train", *words, f"augmentation.model={tmp_path / 'nowhere'}")
    assert_refused(gone, "augmentation.model")
    assert_refused(
        run(tmp_path, "train", *words, f"augmentation.model={body}"), "no masked-LM head"
    )
    assert not list((tmp_path / "w").glob("teacher-*"))


def test_only_texts_with_a_label_each_are_rewritten(tmp_path: Path) -> None:
    words = ["task=causal_lm", "data=documents", "data.train=my.txt", "teacher=local"]
    words += ["teacher.path=./x", "student=from_teacher", "augmentation=word_dropout"]
    done = run(tmp_path, "train", *words, f"workspace={tmp_path / 'w'}")
    assert_refused(done, "augmentation = WordDropout", "data=files", "augmentation=none")
