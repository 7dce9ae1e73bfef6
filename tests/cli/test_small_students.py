"""Students that transformers lacks, from end to end: trained, measured, planned, loaded again."""

import json
from pathlib import Path

import pytest

from distillkit.models import hardware
from tests import tiny
from tests.cli.runs import QUICK, assert_refused, report, results, with_overrides
from tests.conftest import Distillkit

KINDS = pytest.mark.parametrize("kind", ["textcnn", pytest.param("bilstm", marks=pytest.mark.slow)])


def other(words: list[str], kind: str, *more: str) -> list[str]:
    """The words of a run with this student instead."""
    kept = with_overrides(words, without="student.config")
    return [*kept, f"student={kind}", "student.config.embedding_size=16", *more]


@KINDS
def test_it_is_trained_and_its_folder_has_all_it_needs(
    distillkit: Distillkit, again: list[str], tmp_path: Path, kind: str
) -> None:
    words = other(again, kind, "student.embeddings=pca")
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    rows = results(tmp_path)["rows"]
    assert list(rows) == ["teacher", "student", "control", "majority"]
    assert rows["student"]["latency_p50_ms"] > 0
    folder = report(tmp_path) / "student"
    assert (folder / f"{kind}.py").is_file()
    assert "trust_remote_code=True" in (folder / "README.md").read_text()
    assert "custom code" not in result.err + result.out

    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.num_parameters() == rows["student"]["parameters"]

    measured = distillkit("evaluate", *words, f"student.path={folder}")
    assert measured.code == 0, measured.err
    assert results(tmp_path)["rows"]["student"]["accuracy"] == rows["student"]["accuracy"]


@KINDS
def test_it_is_planned(
    distillkit: Distillkit, again: list[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(hardware, "probe", lambda *_, **__: 1e9)
    result = distillkit("plan", *other(again, kind))
    assert result.code == 0, result.err
    assert "not described" not in result.out + result.err
    assert "cannot be told" not in result.out
    assert ("one token after the other" in result.out) == (kind == "bilstm")


@pytest.mark.slow
def test_a_siamese_student_learns_to_score_pairs(
    distillkit: Distillkit, body: Path, tmp_path: Path
) -> None:
    texts = tiny.labelled(160)
    halves = zip(texts[:80], texts[80:], strict=True)
    rows = [(one, two, float(a == b) + i / 100) for i, ((one, a), (two, b)) in enumerate(halves)]
    file = tiny.write_csv(tmp_path / "pairs.csv", ("text", "other", "label"), rows)
    words = with_overrides(tiny.small(body, file, None, tmp_path / "workspace"), *QUICK)
    words = with_overrides(words, "data.label_names=null", "data.text_pair=other")
    words = [*words, "task=regression", "loss=logit_mse"]
    result = distillkit("train", *other(words, "bilstm", "student.config.siamese=true"))
    assert result.code == 0, result.err
    shape = json.loads((report(tmp_path) / "student/config.json").read_text())
    assert shape["siamese"]
    assert "pearson" in results(tmp_path)["rows"]["student"]


def test_a_siamese_student_of_single_texts_is_refused(
    distillkit: Distillkit, fresh: list[str]
) -> None:
    result = distillkit("train", *other(fresh, "bilstm", "student.config.siamese=true"))
    assert_refused(result, "student.config.siamese = true", "data.text_pair is not set")
