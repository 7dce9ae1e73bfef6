"""`distillkit evaluate models=[…]`: folders side by side, over any data, held against the first."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.errors import ConfigError
from distillkit.metrics.drafts import draft_scores, titles, tokens_per_run
from distillkit.pipeline.evaluation import names_of
from tests import tiny, tiny_language
from tests.cli.runs import assert_refused, report, results
from tests.cli.test_predict import CLASSES, TAGS, named, plain_logits, shares, write_head
from tests.conftest import Distillkit

QUICK = (
    "evaluation.latency_examples=1",
    "evaluation.throughput_batches=1",
    "evaluation.resamples=20",
    "evaluation.samples=0",
)


def test_rows_are_held_against_the_first(distillkit: Distillkit, tmp_path: Path) -> None:
    """Another order of labels, none of its own, and another shape: each by name."""
    first = write_head(
        tmp_path / "a" / "first", "ForSequenceClassification", **named(["no", "yes"])
    )
    turned = write_head(tmp_path / "turned", "ForSequenceClassification", **named(["yes", "no"]))
    unnamed = write_head(tmp_path / "unnamed", "ForSequenceClassification", num_labels=2)
    rows = [(text, ("no", "yes")[label]) for text, label in tiny.labelled(80)]
    tiny.write_csv(tmp_path / "in.csv", ("text", "label"), rows)
    words = ("data=files", "data.train=in.csv", "task.max_length=24", *QUICK)
    models = f"models=[{first},turned,./unnamed]"
    result = distillkit("evaluate", *words, models, "student.labels=[no,yes]")
    assert result.code == 0, result.err
    found = results(tmp_path)
    assert list(found["rows"]) == ["first", "turned", "unnamed", "majority"]
    assert found["reference"] == "first"
    lines = (report(tmp_path) / "predictions.csv").read_text().splitlines()
    assert lines[0] == "row,label,first,turned,unnamed"
    right = dict.fromkeys(("first", "turned", "unnamed"), 0)
    nats = dict.fromkeys(right, 0.0)
    for line in lines[1:]:
        number, label, *answers = line.split(",")
        text, own = rows[int(number) - 1]
        assert label == own
        reference = shares(plain_logits(first, CLASSES, text))
        for folder, labels, answer in zip(
            (first, turned, unnamed), ("no yes", "yes no", "no yes"), answers, strict=True
        ):
            p = shares(plain_logits(folder, CLASSES, text))
            names = labels.split()
            assert answer == names[int(p.argmax())]
            right[folder.name] += answer == own
            ordered = p[[names.index("no"), names.index("yes")]]
            nats[folder.name] += float((reference * np.log(reference / ordered)).sum())
    count = len(lines) - 1
    for name in right:
        row = found["rows"][name]
        assert row["accuracy"] == pytest.approx(right[name] / count)
        assert row["kl_to_teacher"] == pytest.approx(nats[name] / count, abs=1e-4)
    gains = found["comparison"]["over_reference"]
    assert list(gains) == ["turned", "unnamed"]
    assert gains["turned"]["accuracy"]["difference"] == pytest.approx(
        (right["turned"] - right["first"]) / count
    )
    assert "unnamed - first: " in (report(tmp_path) / "report.md").read_text()
    assert (report(tmp_path) / "report.html").is_file()


def test_draft_models_are_worth_what_leviathan_says(distillkit: Distillkit, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    large = tiny_language.write_model(tmp_path / "large", hidden=32, seed=0)
    small = tiny_language.write_model(tmp_path / "small", layers=1, hidden=32, seed=5)
    texts = tiny_language.documents(60)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts[:40]))
    (tmp_path / "test.jsonl").write_text(
        "".join(json.dumps({"text": t}) + "\n" for t in texts[40:])
    )
    words = (
        "task=causal_lm", "task.max_length=128", "data=documents", "data.train=in.jsonl",
        "data.test=test.jsonl", *QUICK,
    )  # fmt: skip
    result = distillkit(
        "evaluate", *words, "models=[large,small]", "evaluation.draft_lengths=[1,4]"
    )
    assert result.code == 0, result.err
    found = results(tmp_path)
    models = [AutoModelForCausalLM.from_pretrained(path).eval() for path in (large, small)]
    tokenizer = AutoTokenizer.from_pretrained(large)
    overlap = []
    for text in texts[40:]:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        ids = torch.cat([ids, torch.tensor([[tokenizer.eos_token_id]])], dim=1)
        with torch.no_grad():
            p, q = (model(ids).logits[0].double().softmax(-1) for model in models)
        # 1 - TV, of every token but the first, the end of the text included
        overlap.append(1 - (p - q).abs().sum(-1)[:-1] / 2)
    alpha = float(torch.cat(overlap).mean())
    row = found["rows"]["small"]
    assert row["positions"] == len(torch.cat(overlap))
    assert row["acceptance"] == pytest.approx(alpha, abs=1e-5)
    assert row["tokens_per_run_1"] == pytest.approx(1 + alpha, abs=1e-4)
    assert row["tokens_per_run_4"] == pytest.approx((1 - alpha**5) / (1 - alpha), abs=1e-4)
    assert "acceptance" not in found["rows"]["large"]
    assert "tokens/run, k=4" in result.out
    assert "nats a token of NLL" in (report(tmp_path) / "report.md").read_text()


@pytest.mark.parametrize(
    ("alpha", "length", "expected"),
    # by hand: 1 + 0.5 + 0.25; none is accepted; all are
    [(0.5, 2, 1.75), (0.0, 7, 1.0), (1.0, 7, 8.0), (0.8, 4, (1 - 0.8**5) / 0.2)],
)
def test_tokens_of_a_run(alpha: float, length: int, expected: float) -> None:
    assert tokens_per_run(alpha, length) == pytest.approx(expected)


def test_the_formula_is_what_drafting_gives() -> None:
    """Each of k drafted tokens accepted with alpha, until the first that is not; then one more."""
    rng = np.random.default_rng(0)
    alpha, length = 0.7, 5
    accepted = rng.random((200_000, length)) < alpha
    runs = np.where(accepted.all(axis=1), length, accepted.argmin(axis=1)) + 1
    assert tokens_per_run(alpha, length) == pytest.approx(runs.mean(), abs=0.01)
    scores = draft_scores(np.full(10, alpha), [length])
    assert scores["acceptance"] == pytest.approx(alpha)
    assert set(scores) == set(titles([length]))
    assert titles([]) == {}


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (["./a/student", "b/student"], ["a-student", "b-student"]),
        (["owner/x", "./y/"], ["x", "y"]),
        (["one"], ["one"]),
    ],
)
def test_rows_have_the_shortest_names_that_differ(specs: list[str], expected: list[str]) -> None:
    assert list(names_of(specs)) == expected
    assert list(names_of(specs).values()) == specs


def test_a_model_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="names one of them twice"):
        names_of(["./a", "a"])


def test_outputs_of_other_names_are_named_as_the_refusal_says(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    """Those that have the data's names keep their order."""
    other = write_head(tmp_path / "other", "ForSequenceClassification", **named(["ja", "nein"]))
    own = write_head(tmp_path / "own", "ForSequenceClassification", **named(["Yes", "No"]))
    rows = [(text, ("no", "yes")[label]) for text, label in tiny.labelled(60)]
    tiny.write_csv(tmp_path / "in.csv", ("text", "label"), rows)
    words = ("evaluate", "data=files", "data.test=in.csv", "task.max_length=24", *QUICK)
    models = f"models=[{own},{other}]"
    line = assert_refused(distillkit(*words, models), "its labels are [ja, nein]")
    assert "student.labels=[…]" in line
    right = {}
    for labels in ("[yes,no]", "[no,yes]"):
        assert distillkit(*words, models, f"student.labels={labels}").code == 0
        found = results(tmp_path)["rows"]
        right[labels] = (found["own"]["accuracy"], found["other"]["accuracy"])
    expected = [
        sum(
            ("yes", "no")[int(plain_logits(it, CLASSES, text).argmax())] == own_label
            for text, own_label in rows
        )
        / len(rows)
        for it in (own, other)
    ]
    assert right["[yes,no]"] == pytest.approx(expected)
    assert right["[no,yes]"] == pytest.approx((expected[0], 1 - expected[1]))


def test_a_students_labels_can_be_named(distillkit: Distillkit, tmp_path: Path) -> None:
    folder = write_head(tmp_path / "unnamed", "ForSequenceClassification", num_labels=2)
    rows = [(text, ("no", "yes")[label]) for text, label in tiny.labelled(60)]
    tiny.write_csv(tmp_path / "in.csv", ("text", "label"), rows)
    words = ("evaluate", "data=files", "data.train=in.csv", "task.max_length=24", *QUICK)
    at = f"student.path={folder}"
    line = assert_refused(distillkit(*words, at), "its labels are [LABEL_0, LABEL_1]")
    assert "student.labels=[…]" in line
    scores = []
    for labels in ("[no,yes]", "[yes,no]"):
        assert distillkit(*words, at, f"student.labels={labels}").code == 0
        scores.append(results(tmp_path)["rows"]["student"]["accuracy"])
    assert scores[0] + scores[1] == pytest.approx(1)  # of two classes, the other way round
    shutil.rmtree(folder)


def test_names_of_evaluations_stay_where_nothing_new_is_set() -> None:
    from distillkit.metrics import EvaluationSettings

    fields: dict[str, Any] = EvaluationSettings().fingerprint_fields()
    assert "draft_lengths" not in fields
    assert EvaluationSettings(draft_lengths=[4]).fingerprint_fields()["draft_lengths"] == [4]


def test_a_test_source_is_enough(distillkit: Distillkit, tmp_path: Path) -> None:
    """Nothing is trained: the rows are all of the test source, and none reads no text."""
    model = write_head(tmp_path / "model", "ForSequenceClassification", **named(["no", "yes"]))
    rows = [(text, ("no", "yes")[label]) for text, label in tiny.labelled(30)]
    tiny.write_csv(tmp_path / "in.csv", ("text", "label"), rows)
    words = ["data=files", "data.test=in.csv", "task.max_length=24", *QUICK]
    done = distillkit("evaluate", *words, f"models=[{model}]", "evaluation.slices=[label]")
    assert done.code == 0, done.err
    found = results(tmp_path)
    assert found["examples"] == 30
    assert list(found["rows"]) == ["model"]
    line = assert_refused(distillkit("evaluate", *words), "data.train: required, but not set")
    assert "data.train=…" in line
    words = [word for word in words if not word.startswith("data.test")]
    assert_refused(distillkit("evaluate", *words, f"models=[{model}]"), "data.train: required")
    for command in ("train", "plan"):
        refused = distillkit(command, *words, f"models=[{model}]", "data.test=in.csv")
        assert_refused(refused, "data.train: required, but not set")


@pytest.mark.parametrize("kind", ["tagged", "questions", "documents"])
def test_a_test_source_of_each_kind_is_enough(
    kind: str, distillkit: Distillkit, tmp_path: Path
) -> None:
    if kind == "tagged":
        model = write_head(tmp_path / "model", "ForTokenClassification", **named(TAGS))
        words = ["task=token_classification", f"data.test={tiny.write_tagged(tmp_path, 20)}"]
        words += ["data.columns=[tokens,tags,rest]", "evaluation.robustness=[case]"]
    elif kind == "questions":
        model = write_head(tmp_path / "model", "ForQuestionAnswering")
        words = ["task=question_answering", f"data.test={tiny.write_questions(tmp_path, 20)}"]
        words += ["task.stride=8"]
    else:
        model = tiny_language.write_model(tmp_path / "model")
        words = ["task=causal_lm", f"data.test={tiny_language.write_documents(tmp_path, 20)}"]
    words = ["evaluate", f"data={kind}", f"models=[{model}]", "task.max_length=24", *words, *QUICK]
    done = distillkit(*words)
    assert done.code == 0, done.err
    assert "warning" not in done.err
    assert results(tmp_path)["examples"] == 20
