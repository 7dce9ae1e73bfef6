"""`distillkit train` from end to end on tiny models and texts."""

import json
from pathlib import Path

from tests.conftest import Distillkit
from tests.pages import Page


def test_the_whole_road_ends_in_a_student_that_loads(
    distillkit: Distillkit, words: list[str], tmp_path: Path
) -> None:
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    (report,) = tmp_path.glob("outputs/run/*/report.md")
    folder = report.parent
    results = json.loads((folder / "results.json").read_text())
    assert list(results["rows"]) == ["teacher", "student", "control", "majority"]
    for picture in ("learning_curves.png", "quality_size.png", "reliability.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    page = Page((folder / "report.html").read_text())
    assert page.unbalanced == []
    assert page.count("figure") == 7
    for words_of_run in ("targets", "Where the time went", "label_names", "600", "dense", "good"):
        assert words_of_run in page.text
    assert results["schema"] == 1
    majority = results["rows"]["majority"]
    most = max(results["data"]["class_counts"], key=results["data"]["class_counts"].get)
    lines = (folder / "predictions.csv").read_text().splitlines()[1:]
    labels = [line.split(",")[1] for line in lines]
    assert majority["accuracy"] == labels.count(most) / len(labels)
    student = results["rows"]["student"]
    assert student["body_parameters"] < student["parameters"]
    assert student["latency_p50_ms"] <= student["latency_p95_ms"] <= student["latency_p99_ms"]
    assert 0 < student["megaflops"] < results["rows"]["teacher"]["megaflops"]
    assert student["peak_megabytes"] > student["parameters"] * 4 / 1e6
    assert "warm-up rounds" in page.text
    made = {it["stage"]: it for it in results["stages"]}
    assert {"data", "transfer", "teacher", "targets", "student", "control", "evaluation"} <= {*made}
    assert all(it["made"] and it["seconds"] > 0 for it in made.values())
    assert len(results["comparison"]["disagreements"]) == 20
    assert f"report: {folder.relative_to(tmp_path)}/report.html (and report.md)" in result.out

    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder / "student")
    tokenizer = AutoTokenizer.from_pretrained(folder / "student")
    logits = model(**tokenizer("a good film", return_tensors="pt")).logits
    assert logits.shape == (1, 2)
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert "accuracy" in (folder / "student" / "README.md").read_text()
