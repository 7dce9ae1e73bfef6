"""Every task goes the whole road, from its own data to a student that loads."""

from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.cli.runs import QUICK, but, refused, report, results
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
        (["targets=top_k", "targets.codec.k=2"], "choose targets=stored"),
        (["task=classification"], "loss = BernoulliKL: takes each output by itself"),
        (["data.label_separator=null"], "which is no list of labels; write lists, or set data.la"),
        (["task=token_classification"], "data: TextData is not for TokenClassification; choose d"),
    ],
)
def test_what_several_labels_cannot_be_learnt_with_is_refused(
    change: list[str], said: str, distillkit: Distillkit, several: list[str]
) -> None:
    words = but(several, *change, without="loss." if change[0].startswith("loss") else "-")
    refused(distillkit("train", *words), said)
