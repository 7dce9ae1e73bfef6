"""What is to be measured of language models is judged before any work."""

import csv
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from distillkit.evaluation import lm_eval as harness
from distillkit.metrics import rouge, settings
from tests import tiny, tiny_language
from tests.cli.runs import QUICK, assert_refused, report, results, with_overrides
from tests.conftest import Distillkit

Refuses = Callable[..., str]


@pytest.fixture
def refuses(distillkit: Distillkit, tmp_path: Path) -> Refuses:
    """What `distillkit train` says of a run that it refuses, in one line and with no work done."""
    documents = tiny_language.write_documents(tmp_path, 12)

    def call(*words: str) -> str:
        usual = tiny_language.small(tmp_path / "no-teacher", documents, tmp_path / "workspace")
        result = distillkit("train", *usual, *words)
        assert result.code == 2
        assert not [path for path in tmp_path.glob("workspace/*") if path.is_dir()]
        (line,) = result.err.strip().splitlines()
        return line

    return call


@pytest.fixture
def with_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if lm-eval were installed."""
    monkeypatch.setattr(settings, "HARNESS", "json")
    monkeypatch.setattr(harness, "check_tasks", lambda tasks, path: None)


def test_rouge_of_documents_is_refused(refuses: Refuses) -> None:
    said = refuses("evaluation.rouge_examples=5")
    assert "evaluation.rouge_examples = 5: " in said
    assert "data=conversations" in said


def test_rouge_without_its_package_is_refused(
    refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rouge, "PACKAGE", "no_such_package")
    assert "pip install 'distillkit[instruct]'" in refuses("evaluation.rouge_examples=5")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is not None, reason="lm-eval is here")
def test_a_harness_that_is_not_installed_is_refused(refuses: Refuses) -> None:
    assert "pip install 'distillkit[harness]'" in refuses("evaluation.harness=[hellaswag]")


def test_a_task_that_is_no_list_is_refused(refuses: Refuses) -> None:
    assert "evaluation.harness = hellaswag: must be a list" in refuses(
        "evaluation.harness=hellaswag"
    )


def test_a_classifier_has_no_tasks_of_the_harness(
    distillkit: Distillkit, words: list[str], with_harness: None
) -> None:
    result = distillkit("train", *words, "evaluation.harness=[hellaswag]")
    assert result.code == 2
    assert "task=causal_lm" in result.err


@pytest.mark.slow
def test_a_recipe_cannot_name_a_folder_of_tasks(
    refuses: Refuses, with_harness: None, tmp_path: Path
) -> None:
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "sly.yaml").write_text(
        "# @package _global_\nevaluation: {harness: [mine], harness_path: /tmp}\n"
    )
    said = refuses("+recipe=sly", "-cd", str(tmp_path))
    assert "evaluation.harness_path = /tmp: task files can run code" in said
    assert "give it on the command line" in said


def test_models_are_ranked_by_the_headline_that_is_chosen(
    distillkit: Distillkit, words: list[str], tmp_path: Path
) -> None:
    chosen = ["task.headline=macro_f1", "task.class_weights=balanced", "loss.hard_weight=0.5"]
    done = distillkit("train", *words, *QUICK, *chosen)
    assert done.code == 0, done.err
    found = results(tmp_path)
    assert found["headline"] == "macro_f1"
    assert "macro-F1" in done.out
    assert "validation macro-F1" in done.err
    assert found["comparison"]["kept"] == pytest.approx(
        found["rows"]["student"]["macro_f1"] / found["rows"]["teacher"]["macro_f1"]
    )


def test_a_headline_or_weights_that_do_not_fit_are_refused(
    distillkit: Distillkit, words: list[str]
) -> None:
    assert_refused(distillkit("train", *words, "task.headline=f7"), "task.headline = f7")
    found = distillkit("train", *words, "task.class_weights=[1,2,3]")
    assert_refused(found, "task.class_weights = [1, 2, 3]: are 3, and the data has 2 classes")


def test_held_out_text_is_sliced_and_changed(distillkit: Distillkit, words: list[str]) -> None:
    train = Path(next(w for w in words if w.startswith("data.train=")).partition("=")[2])
    with train.open(newline="") as file:
        rows = list(csv.DictReader(file))
    where = Path("with-source.csv")
    sources = [("short" if len(row["text"]) < 40 else "long") for row in rows]
    tiny.write_csv(
        where,
        ("text", "label", "source"),
        [(row["text"], row["label"], it) for row, it in zip(rows, sources, strict=True)],
    )
    words = with_overrides(words, f"data.train={where}", *QUICK)
    refused = distillkit("train", *words, "evaluation.slices=[length,origin]")
    assert_refused(refused, "evaluation.slices[1] = origin", "source")
    assert refused.out == ""
    chosen = ["evaluation.slices=[length,source]", "evaluation.robustness=[typos,case]"]
    done = distillkit("train", *words, *chosen)
    assert done.code == 0, done.err
    found = results(Path.cwd())
    parts = found["comparison"]["slices"]
    text = (report(Path.cwd()) / "predictions.csv").read_text()
    lines = list(csv.DictReader(text.splitlines()))
    for part in (part for part in parts if part["slice"] == "source"):
        held_out = [it for it in lines if sources[int(it["row"]) - 1] == part["value"]]
        assert part["examples"] == len(held_out) > 0
        right = sum(it["student"] == it["label"] for it in held_out) / len(held_out)
        assert part["rows"]["student"] == pytest.approx(right)
    assert {part["slice"] for part in parts} == {"length", "source"}
    assert sum(p["examples"] for p in parts if p["slice"] == "length") == found["examples"]
    for row in ("teacher", "student", "control"):
        assert found["rows"][row]["case"] == found["rows"][row]["accuracy"]  # small letters only
        assert 0 <= found["rows"][row]["typos"] <= 1
    page = (report(Path.cwd()) / "report.html").read_text()
    assert "with typos" in page
    assert "Slices" in page


def test_letters_of_a_language_model_are_not_changed(refuses: Refuses) -> None:
    said = refuses("evaluation.robustness=[typos]")
    assert (
        "evaluation.robustness = ['typos']: changes the letters of a text that has labels" in said
    )


def test_weights_of_classes_are_refused_where_there_are_none(refuses: Refuses) -> None:
    said = refuses("task.class_weights=balanced")
    assert "task.class_weights: no such key; it takes max_length" in said
