"""A whole evaluation of language models on held-out conversations."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.data.corpus import Split
from distillkit.evaluation import lm_eval as harness
from distillkit.evaluation.responses import RESPONSES
from distillkit.metrics import EvaluationSettings
from distillkit.models.saved import SavedModel
from distillkit.reporting.report import cells, footnote, sentences
from distillkit.stages.evaluation import evaluate, fingerprint_fields
from distillkit.tasks import CausalLM
from distillkit.types import LabelSpace
from tests import tiny_language

SMALL = {
    "latency_examples": 2,
    "throughput_batches": 2,
    "batch_size": 4,
    "resamples": 20,
    "samples": 2,
    "sample_tokens": 4,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SavedModel]:
    """Three models, each other than the others."""
    folder = tmp_path_factory.mktemp("models")
    rows = ("teacher", "student", "control")
    return {
        row: SavedModel(str(tiny_language.write_model(folder / row, layers=1, seed=i)), row)
        for i, row in enumerate(rows)
    }


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Conversations of one question and one answer."""
    path = tiny_language.write_conversations(tmp_path_factory.mktemp("data"), 9)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    messages = [row["messages"] for row in rows]
    return Split(np.zeros(len(rows), "S16"), [""] * len(rows), None, None, messages)


def measured(
    models: dict[str, SavedModel], held_out: Split, out: Path, **changes: Any
) -> dict[str, Any]:
    settings = EvaluationSettings(**(SMALL | changes))
    task = CausalLM(max_length=96)
    return evaluate(models, task, LabelSpace((), False), held_out, settings=settings, out=out)


def test_nothing_is_answered_unless_it_is_asked_for(
    models: dict[str, SavedModel], held_out: Split, tmp_path: Path
) -> None:
    found = measured(models, held_out, tmp_path)
    assert not [row for row in found["rows"].values() if "rouge_l" in row or "harness" in row]
    assert not (tmp_path / RESPONSES).exists()
    prompts = [sample["prompt"] for sample in found["comparison"]["samples"]]
    assert prompts == [
        f"<| user : {messages[0]['content']} |> <| assistant :"
        for messages in (held_out.messages or [])[:2]
    ]


def test_rouge_of_three_seeds_is_in_the_rows_and_the_report(
    models: dict[str, SavedModel], held_out: Split, tmp_path: Path
) -> None:
    how = {"rouge_examples": 6, "rouge_seeds": [1, 2, 3], "rouge_tokens": 12}
    found = measured(models, held_out, tmp_path, **how)
    lines = [json.loads(line) for line in (tmp_path / RESPONSES).read_text().splitlines()]
    assert len(lines) == 6
    for row, values in found["rows"].items():
        assert values["rouge_l"] == pytest.approx(
            np.mean([line["rouge_l"][row] for line in lines]), abs=0.01
        )
        assert values["rouge_l_sd"] > 0
        assert all(len(line["written"][row]) == 3 for line in lines)
    student, control = (found["rows"][row]["rouge_l"] for row in ("student", "control"))
    gain = found["comparison"]["rouge_l"]["student_minus_control"]
    assert gain["difference"] == pytest.approx(student - control)
    assert gain["low"] <= gain["difference"] <= gain["high"]
    assert "ROUGE-L" in cells(found)[0]
    assert "on 6 prompts, responses drawn at temperature 1, mean of 3" in footnote(found)
    assert any("ROUGE-L [" in sentence for sentence in sentences(found))


def test_the_draws_and_so_the_scores_are_the_same_again(
    models: dict[str, SavedModel], held_out: Split, tmp_path: Path
) -> None:
    two = {row: models[row] for row in ("student", "control")}
    folders = [tmp_path / name for name in ("first", "again")]
    for folder in folders:
        folder.mkdir()
        measured(two, held_out, folder, rouge_examples=4, rouge_tokens=6)
    first, again = ((folder / RESPONSES).read_text() for folder in folders)
    assert first == again


def test_each_row_goes_through_the_harness(
    models: dict[str, SavedModel],
    held_out: Split,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def harness_scores(model: Any, tokenizer: Any, *how: Any) -> dict[str, float]:
        asked.append((tuple(how[0]), *how[1:]))
        return {"films acc": float(len(asked))}

    monkeypatch.setattr("distillkit.metrics.settings.HARNESS", "json")  # one that is there
    monkeypatch.setattr(harness, "harness_scores", harness_scores)
    monkeypatch.setattr(harness, "version", lambda _: "0")
    how = {"harness": ["films"], "harness_limit": 7, "harness_path": str(tmp_path)}
    found = measured(models, held_out, tmp_path, **how)
    assert [row["harness"]["films acc"] for row in found["rows"].values()] == [1.0, 2.0, 3.0]
    assert set(asked) == {(("films",), 4, 7, str(tmp_path))}
    assert found["comparison"]["harness"] == {"lm_eval": "0", "limit": 7}
    assert "films acc" in cells(found)[0]


def test_what_the_harness_is_enters_the_fingerprint_only_where_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of(tasks: list[str] | None, version: str) -> dict[str, Any]:
        monkeypatch.setattr(harness, "version", lambda _: version)
        settings = {"harness": tasks, "harness_path": None}
        return fingerprint_fields({}, CausalLM(), labelled="x", settings=settings)

    assert of(None, "1") == of(None, "2")
    assert of(["films"], "1") != of(["films"], "2")
    assert of(["films"], "1") != of(["books"], "1")


def test_each_text_s_tokens_and_nats_are_written(
    models: dict[str, SavedModel], held_out: Split, tmp_path: Path
) -> None:
    numbered = replace(held_out, numbers=np.arange(len(held_out)) * 2 + 5)
    found = measured(models, numbered, tmp_path)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(5, 5 + 2 * len(held_out), 2))
    tokens = np.array([int(row["tokens"]) for row in rows])
    assert tokens.sum() == found["rows"]["student"]["positions"]
    scores = np.load(tmp_path / "scores.npz")
    for name in ("teacher", "student", "control"):
        mean = np.array([float(row[f"{name}_nll"]) for row in rows])
        whole = (tokens * mean).sum() / tokens.sum()
        assert whole == pytest.approx(found["rows"][name]["nll"], abs=1e-5)
        first = scores[f"{name}.nll"][: tokens[0]]  # each conversation is one example
        assert mean[0] == pytest.approx(first.mean(), abs=1e-5)
