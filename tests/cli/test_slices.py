"""Slices, robustness and the row that reads no text, of each task: held against predictions.csv."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import tiny, tiny_language
from tests.cli.runs import assert_refused, report, results
from tests.cli.test_predict import TAGS, named, write_head
from tests.conftest import Distillkit

QUICK = (
    "evaluation.latency_examples=1",
    "evaluation.throughput_batches=1",
    "evaluation.resamples=5",
    "evaluation.samples=0",
    "data.test_fraction=0.5",
    "data.validation_fraction=0.2",
    "task.max_length=24",
)
Lines = list[dict[str, str]]
Rows = list[dict[str, Any]]


def evaluated(
    distillkit: Distillkit, folder: Path, rows: Rows, model: Path, *words: str
) -> tuple[dict[str, Any], Lines]:
    """(results, the lines of predictions.csv) of a model over rows, each with a `source`."""
    path = folder / "rows.jsonl"
    sources = ("one", "two", "three")
    lines = [row | {"source": sources[i % 3]} for i, row in enumerate(rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = distillkit("evaluate", f"models=[{model}]", f"data.train={path}", *words, *QUICK)
    assert done.code == 0, done.err
    text = (report(folder) / "predictions.csv").read_text()
    held_out = [
        line | {"source": lines[int(line["row"]) - 1]["source"]}
        for line in csv.DictReader(text.splitlines())
    ]
    return results(folder), held_out


def check_slices(
    found: dict[str, Any], lines: Lines, lengths: tuple[str, ...], score: Callable[[Lines], float]
) -> None:
    """Each part has the headline of its lines; those by length are all examples."""
    parts = found["comparison"]["slices"]
    assert {part["slice"] for part in parts} == {"source", *lengths}
    for part in (part for part in parts if part["slice"] == "source"):
        of_part = [line for line in lines if line["source"] == part["value"]]
        assert part["examples"] == len(of_part) > 0
        assert part["rows"]["model"] == pytest.approx(score(of_part), abs=1e-5)
    for name in lengths:
        examples = sum(part["examples"] for part in parts if part["slice"] == name)
        assert examples == len(lines)
        assert len([part for part in parts if part["slice"] == name]) > 1


def mean(lines: Lines, column: str) -> float:
    return float(np.mean([float(line[column]) for line in lines]))


def test_questions(distillkit: Distillkit, tmp_path: Path) -> None:
    rows = [json.loads(it) for it in tiny.write_questions(tmp_path).read_text().splitlines()]
    rows = [
        row | {"question": row["question"] + " fine film" * (i % 3)} for i, row in enumerate(rows)
    ]
    for row in rows[::5]:
        row["answers"] = {"text": [], "answer_start": []}
    model = write_head(tmp_path / "model", "ForQuestionAnswering")
    words = ["task=question_answering", "data=questions", "task.stride=8"]
    words += ["evaluation.slices=[source,length,question_length]", "task.impossible=true"]
    words += ["evaluation.robustness=[typos,case]"]
    found, lines = evaluated(distillkit, tmp_path, rows, model, *words)
    check_slices(found, lines, ("length", "question_length"), lambda of: mean(of, "model_f1"))
    nothing = np.mean([line["answers"] == "[]" for line in lines])
    assert found["rows"]["no answer"] == pytest.approx({"f1": nothing, "exact_match": nothing})
    assert found["rows"]["model"].keys() >= {"typos", "case"}
    assert found["rows"]["model"]["case"] == found["rows"]["model"]["f1"]  # an uncased tokenizer
    assert "never finds an answer" not in (report(tmp_path) / "report.md").read_text()


@pytest.mark.parametrize("entities", [False, True])
def test_tagged_words(distillkit: Distillkit, tmp_path: Path, entities: bool) -> None:
    rows = [{"tokens": words, "tags": tags} for words, tags in tiny.tagged(80)]
    model = write_head(tmp_path / "model", "ForTokenClassification", **named(TAGS))
    words = ["task=token_classification", "data=tagged", f"task.entities={entities}".lower()]
    words += ["evaluation.slices=[length,source]", "evaluation.robustness=[typos,case]"]
    found, lines = evaluated(distillkit, tmp_path, rows, model, *words)

    def accuracy(lines: Lines) -> float:
        pairs = [(json.loads(line["label"]), json.loads(line["model"])) for line in lines]
        return float(
            np.mean([a == b for right, own in pairs for a, b in zip(right, own, strict=True)])
        )

    def f1(lines: Lines) -> float:
        from seqeval.metrics import f1_score

        right, own = ([json.loads(line[name]) for line in lines] for name in ("label", "model"))
        return float(f1_score(right, own))

    check_slices(found, lines, ("length",), f1 if entities else accuracy)
    tags = [tag for row in rows for tag in row["tags"]]
    commonest = max(set(tags), key=tags.count)
    share = np.mean([t == commonest for line in lines for t in json.loads(line["label"])])
    assert found["rows"]["majority"]["token_accuracy"] == pytest.approx(share)
    row = found["rows"]["model"]
    assert row["case"] == row[found["headline"]]
    assert row["typos"] != row[found["headline"]]


def test_several_labels(distillkit: Distillkit, tmp_path: Path) -> None:
    given = list(csv.DictReader(tiny.write_several(tmp_path).read_text().splitlines()))
    rows = [{"text": row["text"], "label": row["labels"].split("|")} for row in given]
    model = write_head(
        tmp_path / "model",
        "ForSequenceClassification",
        problem_type="multi_label_classification",
        **named(["any", "bad", "good"]),
    )
    words = ["task=multi_label", "data=files", "task.headline=subset_accuracy"]
    words += ["evaluation.slices=[length,source]", "evaluation.robustness=[typos]"]
    found, lines = evaluated(distillkit, tmp_path, rows, model, *words)

    def subset(lines: Lines) -> float:
        return float(np.mean([json.loads(it["label"]) == json.loads(it["model"]) for it in lines]))

    check_slices(found, lines, ("length",), subset)
    # those that most texts have, whatever the text
    labels = [json.loads(line["label"]) for line in lines]
    every = [label for row in rows for label in row["label"]]
    usual = [name for name in ("any", "bad", "good") if every.count(name) > len(rows) / 2]
    expected = np.mean([label == usual for label in labels])
    assert found["rows"]["majority"]["subset_accuracy"] == pytest.approx(expected)


def test_values(distillkit: Distillkit, tmp_path: Path) -> None:
    rows = [{"text": text, "label": len(text) / 10 + label} for text, label in tiny.labelled(80)]
    model = write_head(
        tmp_path / "model", "ForSequenceClassification", num_labels=1, problem_type="regression"
    )
    words = ["task=regression", "data=files", "evaluation.slices=[source,length]"]
    found, lines = evaluated(distillkit, tmp_path, rows, model, *words)

    def pearson(lines: Lines) -> float:
        pairs = [[float(line[name]) for line in lines] for name in ("label", "model")]
        return float(np.corrcoef(*pairs)[0, 1])

    check_slices(found, lines, ("length",), pearson)
    values = np.array([float(line["label"]) for line in lines])
    row = found["rows"]["mean"]
    assert row["pearson"] == 0
    assert row["rmse"] == pytest.approx(values.std(), rel=0.05)  # of the training labels' mean
    assert row["rmse"] >= values.std()


def test_documents(distillkit: Distillkit, tmp_path: Path) -> None:
    rows = [{"text": text} for text in tiny_language.documents(60)]
    model = tiny_language.write_model(tmp_path / "model")
    words = ["task=causal_lm", "data=documents", "evaluation.slices=[source,length]"]
    found, lines = evaluated(distillkit, tmp_path, rows, model, *words)

    def perplexity(lines: Lines) -> float:
        tokens = np.array([float(line["tokens"]) for line in lines])
        nats = np.array([float(line["model_nll"]) for line in lines])
        return math.exp((nats * tokens).sum() / tokens.sum())

    check_slices(found, lines, ("length",), perplexity)
    assert "unigram" not in found["rows"]  # another tokenizer may have been trained on
    page = (report(tmp_path) / "report.html").read_text()
    assert "Slices" in page


def test_what_cannot_be_sliced_is_refused(distillkit: Distillkit, tmp_path: Path) -> None:
    model = write_head(tmp_path / "model", "ForTokenClassification", **named(TAGS))
    words = [f"models=[{model}]", "task=token_classification", "data=tagged", *QUICK]
    words += [f"data.train={tiny.write_tagged(tmp_path)}", "data.columns=[tokens,tags,rest]"]
    found = distillkit("evaluate", *words, "evaluation.slices=[rest]")
    assert_refused(found, "evaluation.slices[0] = rest: names a column, and data is a column file")
    squad = {"data": [{"title": "t", "paragraphs": [{"context": "a b", "qas": []}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad))
    words = [f"models=[{model}]", "task=question_answering", "data=questions", *QUICK]
    words += ["task.stride=8"]
    words += ["data.train=squad.json", "evaluation.slices=[length,title]"]
    found = distillkit("evaluate", *words)
    assert_refused(found, "evaluation.slices[1] = title: names a column, and data is in SQuAD's")
    assert_refused(distillkit("evaluate", *words[:-1], "evaluation.slices=[length]"), "no question")
    writer = tiny_language.write_model(tmp_path / "writer")
    documents = tiny_language.write_documents(tmp_path)
    words = [f"models=[{writer}]", "task=causal_lm", "data=documents", f"data.train={documents}"]
    found = distillkit("evaluate", *words, *QUICK, "evaluation.slices=[origin]")
    assert_refused(found, "evaluation.slices[0] = origin")
    found = distillkit("evaluate", *words, *QUICK, "evaluation.robustness=[case]")
    assert_refused(found, "evaluation.robustness = ['case']: changes the letters of a text that")
