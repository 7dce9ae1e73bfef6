"""Every task runs through all stages, from its own data to a student that loads."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import tiny, tiny_language
from tests.cli.runs import QUICK, assert_refused, report, results, with_overrides
from tests.conftest import Distillkit


@pytest.fixture
def common(body: Path, tmp_path: Path) -> list[str]:
    """Words of a run that are over in seconds, without task, data and loss."""
    words = tiny.small(body, Path("unused"), None, tmp_path / "workspace")
    return [*with_overrides(words, *QUICK, without="data"), "data.validation_fraction=0.2"]


def trained(distillkit: Distillkit, folder: Path, *words: str) -> dict[str, Any]:
    """The results of `distillkit train`, and that a plan then finds everything made."""
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    found = results(folder)
    assert list(found["rows"])[:3] == ["teacher", "student", "control"]
    assert (report(folder) / "report.md").read_text()
    planned = distillkit("plan", *words, "hardware=h100")  # which needs no probe
    assert planned.code == 0, planned.err
    assert "to be made" not in planned.out
    return found


def test_token_classification(distillkit: Distillkit, common: list[str], tmp_path: Path) -> None:
    words = [*common, "task=token_classification", "data=tagged"]
    words += [f"data.train={tiny.write_tagged(tmp_path)}", "data.columns=[tokens,tags,rest]"]
    words = with_overrides(words, "teacher.epochs=4")
    found = trained(distillkit, tmp_path, *words)
    assert found["headline"] == "f1"
    teacher, student = (found["rows"][row] for row in ("teacher", "student"))
    assert {"precision", "recall", "token_accuracy", "nll", "ece"} <= student.keys()
    assert teacher["f1"] > 0.5 and teacher["kl_to_teacher"] == 0 < student["kl_to_teacher"]

    from transformers import AutoModelForTokenClassification

    model = AutoModelForTokenClassification.from_pretrained(report(tmp_path) / "student")
    assert set(model.config.id2label.values()) == {"B-BAD", "B-GOOD", "I-BAD", "I-GOOD", "O"}


@pytest.fixture
def several(common: list[str], reviews: tuple[Path, Path], tmp_path: Path) -> list[str]:
    """Words of a run over texts with several labels, and a transfer set that has none."""
    data = [
        "data=files",
        f"data.train={tiny.write_several(tmp_path)}",
        f"data.transfer={reviews[1]}",
    ]
    more = ["data.label=labels", "data.label_separator='|'", "data.transfer_size=40"]
    return [*common, "task=multi_label", "loss=bernoulli_kl", "loss.hard_weight=0.5", *data, *more]


@pytest.mark.slow
def test_multi_label(distillkit: Distillkit, several: list[str], tmp_path: Path) -> None:
    found = trained(distillkit, tmp_path, *several)
    assert found["headline"] == "micro_f1"
    teacher, student = (found["rows"][row] for row in ("teacher", "student"))
    assert {"macro_f1", "subset_accuracy", "nll", "ece", "agreement"} <= student.keys()
    assert teacher["kl_to_teacher"] == 0 < student["kl_to_teacher"]
    assert "labels of a probability above 0.5" in (report(tmp_path) / "report.md").read_text()

    from transformers import AutoModelForSequenceClassification

    config = AutoModelForSequenceClassification.from_pretrained(report(tmp_path) / "student").config
    assert set(config.id2label.values()) == {"any", "bad", "good"}
    assert config.problem_type == "multi_label_classification"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["loss=forward_kl"], "multi_label takes loss=bernoulli_kl or loss=logit_mse"),
        (["loss=list_mle"], "loss = ListMLE: a softmax has labels compete of which several may"),
        (["loss=rank_net"], "multi_label takes loss=bernoulli_kl or loss=logit_mse"),
        (
            ["targets=top_k", "targets.codec.k=2"],
            "targets.codec = top_k: keeps entries of a softmax, and a model of MultiLabel says",
        ),
        (["task=classification"], "loss = BernoulliKL: takes each output by itself"),
        (
            ["data.label_separator=null"],
            "which is no list of labels; write lists, set data.label_s",
        ),
        (["task=token_classification"], "data: TextData is not for TokenClassification; choose d"),
    ],
)
def test_what_several_labels_cannot_be_learnt_with_is_refused(
    change: list[str], said: str, distillkit: Distillkit, several: list[str]
) -> None:
    words = with_overrides(
        several, *change, without="loss." if change[0].startswith("loss") else "-"
    )
    assert_refused(distillkit("train", *words), said)


@pytest.fixture
def documents(body: Path, common: list[str], tmp_path: Path) -> list[str]:
    """Words of a masked-language-model run; the teacher is fitted with a new head."""
    data = ["data=documents", f"data.train={tiny_language.write_documents(tmp_path, 40)}"]
    more = ["task.max_length=24", "evaluation.samples=2", "targets=sampled", "loss.temperature=1.0"]
    return with_overrides(
        [*common, "task=masked_lm", "task.masks=2", *data, *more], "data.test_fraction=0.2"
    )


@pytest.mark.slow
def test_masked_lm(distillkit: Distillkit, documents: list[str], tmp_path: Path) -> None:
    found = trained(distillkit, tmp_path, *documents)
    assert found["headline"] == "perplexity"
    student = found["rows"]["student"]
    assert 0 <= student["masked_accuracy"] <= 1
    assert "samples" not in found["comparison"]
    assert found["protocol"] == "15% masked in windows of 24 tokens, one fixed pattern"

    from transformers import AutoModelForMaskedLM

    AutoModelForMaskedLM.from_pretrained(report(tmp_path) / "student")


@pytest.mark.slow
def test_a_ready_teacher_is_cut_to_a_student_of_fewer_layers(
    distillkit: Distillkit, documents: list[str], body: Path, tmp_path: Path
) -> None:
    from distillkit.tasks import MaskedLM
    from distillkit.types import LabelSpace

    task = MaskedLM()
    model = task.load_body(str(body), LabelSpace(()), key="k")
    task.save(model, task.load_tokenizer(str(body), key="k"), tmp_path / "ready")
    words = with_overrides(documents, "teacher.body=null", f"teacher.path={tmp_path / 'ready'}")
    words = [*with_overrides(words, without="student"), "student=from_teacher", "student.layers=1"]
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    rows = list(results(tmp_path)["rows"])
    assert rows == ["teacher", "student", "control", "untrained", "unigram"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["data=conversations", "data.prompt=a", "data.response=b"], "choose data=documents"),
        (["task.mask_probability=0"], "task.mask_probability = 0: nothing would be masked"),
    ],
)
def test_what_masked_language_models_cannot_do_is_refused(
    change: list[str], said: str, distillkit: Distillkit, documents: list[str]
) -> None:
    assert_refused(distillkit("train", *with_overrides(documents, *change)), said)


def test_a_body_without_a_head_is_no_ready_teacher(
    distillkit: Distillkit, documents: list[str], body: Path
) -> None:
    words = with_overrides(documents, "teacher.body=null", f"teacher.path={body}")
    assert_refused(
        distillkit("train", *words), "it has no weights for cls.predictions", "teacher.body="
    )


@pytest.fixture
def questions(common: list[str], tmp_path: Path) -> list[str]:
    """Words of a run over questions; some passages need two windows."""
    data = ["data=questions", f"data.train={tiny.write_questions(tmp_path)}"]
    more = ["task.max_length=24", "task.stride=4", "teacher.epochs=4", "data.test_fraction=0.2"]
    return with_overrides([*common, "task=question_answering", *data], *more)


@pytest.mark.slow
def test_question_answering(distillkit: Distillkit, questions: list[str], tmp_path: Path) -> None:
    found = trained(distillkit, tmp_path, *questions)
    assert found["headline"] == "f1"
    teacher, student = (found["rows"][row] for row in ("teacher", "student"))
    assert {"exact_match", "nll", "ece", "agreement"} <= student.keys()
    assert teacher["kl_to_teacher"] == 0 < student["kl_to_teacher"] < 5
    assert "windows of 24 tokens that share 4" in found["protocol"]

    from transformers import AutoModelForQuestionAnswering

    AutoModelForQuestionAnswering.from_pretrained(report(tmp_path) / "student")


@pytest.mark.slow
@pytest.mark.parametrize(
    "targets",
    [["top_k", "targets.codec.k=20"], pytest.param(["sampled"], marks=pytest.mark.slow)],
)
def test_a_sparse_store_keeps_no_place_that_is_ruled_out(
    targets: list[str], distillkit: Distillkit, questions: list[str], tmp_path: Path
) -> None:
    change = [f"targets={targets[0]}", *targets[1:], "loss.temperature=1.0", "teacher.epochs=1"]
    words = with_overrides(questions, *change)
    made = distillkit("generate-targets", *words)
    assert made.code == 0, made.err
    result = distillkit("train-student", *words)
    assert result.code == 0, result.err
    store = json.loads(next(tmp_path.glob("workspace/targets-*/targets.json")).read_text())
    assert store["quality"]["ids"] < 20  # the question's tokens are none of them


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    [
        ["standardised_kl"],
        ["taid", "loss.start=0.0"],
        ["taid", "loss.start=0.9"],
        ["list_mle", "loss.top=40"],
        ["rank_net"],
        ["dkd", "loss.alpha=0"],
        ["akl", "loss.head_mass=1"],
    ],
    ids=lambda words: "-".join(words),
)
def test_answers_are_learnt_where_most_places_are_ruled_out(
    loss: list[str], distillkit: Distillkit, questions: list[str], tmp_path: Path
) -> None:
    words = with_overrides(
        questions, f"loss={loss[0]}", *loss[1:], "trainer.log_every=1", without="loss."
    )
    result = distillkit("train", *words, "control=false")
    assert result.code == 0, result.err
    (metrics,) = tmp_path.glob("workspace/student-*/metrics.jsonl")
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert all(row["loss"] == row["loss"] >= 0 for row in rows)
    assert rows[-1]["loss"] > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["loss=logit_mse"], "compares all outputs, and here some are ruled out"),
        (["task.stride=24"], "task.stride = 24: windows of task.max_length = 24"),
        (["task.stride=18"], "which leaves no room; raise it, or lower task.stride"),
        (["data.answers=answer"], "data.answers = answer: no such column"),
    ],
)
def test_what_questions_cannot_be_answered_with_is_refused(
    change: list[str], said: str, distillkit: Distillkit, questions: list[str]
) -> None:
    words = with_overrides(
        questions, *change, without="loss." if change[0].startswith("loss") else "-"
    )
    assert_refused(distillkit("train", *words), said)
