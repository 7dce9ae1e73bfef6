"""Every task goes the whole road, from its own data to a student that loads."""

from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.cli.runs import QUICK, but, report, results
from tests.conftest import Distillkit


@pytest.fixture
def common(body: Path, tmp_path: Path) -> list[str]:
    """Words of a run that are over in seconds, without task, data and loss."""
    words = tiny.small(body, Path("unused"), None, tmp_path / "workspace")
    return [*but(words, *QUICK, without="data"), "data.validation_fraction=0.2"]


def trained(distillkit: Distillkit, folder: Path, *words: str) -> dict[str, Any]:
    """The results of `distillkit train`, and that a plan then finds everything made."""
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    found = results(folder)
    assert list(found["rows"]) == ["teacher", "student", "control"]
    assert (report(folder) / "report.md").read_text()
    planned = distillkit("plan", *words)
    assert planned.code == 0, planned.err
    assert "to be made" not in planned.out
    return found


def test_token_classification(distillkit: Distillkit, common: list[str], tmp_path: Path) -> None:
    words = [*common, "task=token_classification", "data=tagged"]
    words += [f"data.train={tiny.write_tagged(tmp_path)}", "data.columns=[tokens,tags,rest]"]
    words = but(words, "teacher.epochs=4")
    found = trained(distillkit, tmp_path, *words)
    assert found["headline"] == "f1"
    teacher, student = (found["rows"][row] for row in ("teacher", "student"))
    assert {"precision", "recall", "token_accuracy", "nll", "ece"} <= student.keys()
    assert teacher["f1"] > 0.5 and teacher["kl_to_teacher"] == 0 < student["kl_to_teacher"]

    from transformers import AutoModelForTokenClassification

    model = AutoModelForTokenClassification.from_pretrained(report(tmp_path) / "student")
    assert set(model.config.id2label.values()) == {"B-BAD", "B-GOOD", "I-BAD", "I-GOOD", "O"}
