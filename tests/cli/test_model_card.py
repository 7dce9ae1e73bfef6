"""The example of a model card runs as printed, and says what `distillkit predict` says."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from distillkit.reporting.usage import example
from tests import tiny_language
from tests.cli.runs import Finished
from tests.cli.test_predict import CLASSES, LABELS, TAGS, lines, named, plain_logits, write_head
from tests.conftest import Distillkit

TEXT = "A warm and clever film."


def printed(code: str, folder: Path) -> list[str]:
    """What Python prints, with the folder in its place."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code.replace("PATH", str(folder)), {})
    return out.getvalue().splitlines()


def of(pipeline: str, auto: str, **scores: float) -> dict[str, Any]:
    return {"pipeline": pipeline, "auto_class": auto, "rows": {"student": scores}}


def test_the_card_of_a_run_has_an_example_of_ten_lines(
    distillkit: Distillkit, finished: Finished
) -> None:
    folder = next(finished.folder.glob("outputs/*/*/student"))
    card = (folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 11
    (found,) = lines(distillkit("predict", f"student.path={folder}", "--text", TEXT).out)
    shares = dict(line.rsplit(" ", 1) for line in printed(code, folder))
    assert {name: float(share) for name, share in shares.items()} == pytest.approx(
        found["probabilities"], abs=1e-4
    )
    assert "model-index:" in card


@pytest.mark.parametrize(
    ("scores", "fields"),
    [
        ({"accuracy": 1.0}, named(LABELS)),
        ({"micro_f1": 1.0}, {**named(LABELS), "problem_type": "multi_label_classification"}),
        ({"pearson": 1.0}, {"num_labels": 1, "problem_type": "regression"}),
    ],
)
def test_labels_and_values(tmp_path: Path, scores: dict[str, float], fields: Any) -> None:
    folder = write_head(tmp_path / "student", "ForSequenceClassification", **fields)
    found = printed("\n".join(example(of("text-classification", CLASSES, **scores))), folder)
    logits = plain_logits(folder, CLASSES, TEXT)
    if "pearson" in scores:
        assert found == [str(round(float(logits[0]), 4))]
        return
    assert [line.rsplit(" ", 1)[0] for line in found] == LABELS
    total = sum(float(line.rsplit(" ", 1)[1]) for line in found)
    assert (total == pytest.approx(1, abs=1e-3)) == ("accuracy" in scores)


def test_tags_answers_and_text(tmp_path: Path) -> None:
    tagger = write_head(tmp_path / "tagger", "ForTokenClassification", **named(TAGS))
    results = of("token-classification", "AutoModelForTokenClassification")
    found = printed("\n".join(example(results)), tagger)
    assert {line.rsplit(" ", 1)[1] for line in found} <= {*TAGS}
    reader = write_head(tmp_path / "reader", "ForQuestionAnswering")
    results = of("question-answering", "AutoModelForQuestionAnswering")
    assert len(printed("\n".join(example(results)), reader)) == 1
    writer = tiny_language.write_model(tmp_path / "writer")
    results = of("text-generation", "AutoModelForCausalLM")
    assert printed("\n".join(example(results)), writer)[0]
