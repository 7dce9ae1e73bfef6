"""The example of a model card runs as printed, and says what `distillkit predict` says."""

import contextlib
import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from distillkit.reporting.usage import example
from tests import tiny_language
from tests.cli.runs import QUICK, Finished, report, results, with_overrides
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
    assert "\nlicense: unknown\n" in card  # of a teacher and texts without a card
    assert card.count(": unknown (") == 3  # of the teacher, its texts and the unlabelled ones
    kinds = {it["what"]: it["license"] for it in results(finished.folder)["licenses"]}
    assert kinds["teacher"] is None and kinds["data"] is None


def test_a_student_says_under_which_license_its_teacher_is(
    distillkit: Distillkit, words: list[str], tmp_path: Path
) -> None:
    body = Path(next(w for w in words if w.startswith("teacher.body=")).partition("=")[2])
    licensed = tmp_path / "licensed"
    shutil.copytree(body, licensed)
    (licensed / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A body\n")
    words = with_overrides(words, f"teacher.body={licensed}", *QUICK, "compression=[bf16]")
    done = distillkit("train", *words)
    assert done.code == 0, done.err
    for name in ("student", "student-bf16"):
        card = (report(tmp_path) / name / "README.md").read_text()
        assert f"- teacher `{licensed}`: apache-2.0 (its card)" in card
        assert "\nlicense: unknown\n" in card  # its texts are of nobody knows whom
    folder = report(tmp_path) / "student"
    card = (folder / "README.md").read_text().replace("license: unknown", "license: mit", 1)
    (folder / "README.md").write_text(card)
    done = distillkit("compress", f"student.path={folder}", "compression=[bf16]")
    assert done.code == 0, done.err
    made = Path(done.out.strip().rpartition(" ")[2])
    card = (made / "README.md").read_text()
    assert "\nlicense: mit\n" in card
    assert f"- student `{folder}`: mit (its card)" in card


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
