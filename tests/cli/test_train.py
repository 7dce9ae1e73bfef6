"""`distillkit train` from end to end on tiny models and texts."""

import json
from pathlib import Path

from tests.conftest import Distillkit


def test_the_whole_road_ends_in_a_student_that_loads(
    distillkit: Distillkit, words: list[str], tmp_path: Path
) -> None:
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    (report,) = tmp_path.glob("outputs/run/*/report.md")
    folder = report.parent
    results = json.loads((folder / "results.json").read_text())
    assert list(results["rows"]) == ["teacher", "student", "control"]
    for picture in ("learning_curves.png", "quality_size.png", "reliability.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")

    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder / "student")
    tokenizer = AutoTokenizer.from_pretrained(folder / "student")
    logits = model(**tokenizer("a good film", return_tensors="pt")).logits
    assert logits.shape == (1, 2)
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert "accuracy" in (folder / "student" / "README.md").read_text()
