"""Every recipe from its ids to its report, all phases, over tiny models and data."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from distillkit.config.compose import load_yaml
from distillkit.config.paths import recipe_files
from tests.hub import cuts, local
from tests.hub.server import Hub
from tests.hub.worker import Worker

QUICK = {  # one of each family: of the texts' task, of the student, and of what it learns
    "bert-tiny-glue",
    "distilbert-squad",
    "distilgpt2",
    "minillm-sft",
    "minilm-v2-l6-h384",
    "pkd-3",
    "tang-bilstm-sst2",
    "textcnn",
    "tinybert-4",
}
# the student that each recipe is after: its class in transformers, its layers, its rows beside it
CLASSIFIER, MASKED, CAUSAL = "BertForSequenceClassification", "BertForMaskedLM", "LlamaForCausalLM"
BOTH, CUT, ALONE = {"teacher", "control"}, {"teacher", "control", "untrained"}, set[str]()
STUDENTS: dict[str, tuple[str, int, set[str]]] = {
    "babyllama": (CAUSAL, 16, BOTH),
    "bert-medium-glue": (CLASSIFIER, 8, ALONE),
    "bert-mini-glue": (CLASSIFIER, 4, ALONE),
    "bert-small-glue": (CLASSIFIER, 4, ALONE),
    "bert-tiny": (CLASSIFIER, 2, BOTH),
    "classify": (CLASSIFIER, 2, BOTH),
    "bert-tiny-glue": (CLASSIFIER, 2, ALONE),
    "distilbert": (MASKED, 6, CUT - {"control"}),
    "distilbert-squad": ("DistilBertForQuestionAnswering", 6, BOTH),
    "distilgpt2": ("GPT2LMHeadModel", 6, CUT),
    "distilroberta": ("RobertaForMaskedLM", 6, CUT - {"control"}),
    "gemma-sampled-logits": ("Gemma2ForCausalLM", 26, BOTH),
    "hinton": (CLASSIFIER, 4, BOTH),
    "minillm-kd": ("GPT2LMHeadModel", 12, BOTH),
    "minillm-sft": ("GPT2LMHeadModel", 12, BOTH - {"control"}),
    "minilm-l6-h384": (MASKED, 6, BOTH - {"control"}),
    "minilm-v2-l6-h384": (MASKED, 6, BOTH - {"control"}),
    "minilm-v2-l6-h768": (MASKED, 6, BOTH - {"control"}),
    "minitron-depth": (CAUSAL, 16, CUT),
    "pd-top-p": (CAUSAL, 24, BOTH),
    "pkd-3": (CLASSIFIER, 3, CUT),
    "pkd-6": (CLASSIFIER, 6, CUT),
    "pre-trained-distillation": (CLASSIFIER, 6, BOTH),
    "rs-kd": (CAUSAL, 20, BOTH),
    "rs-kd-top-k": (CAUSAL, 20, BOTH),
    "smollm2-mini": (CAUSAL, 10, CUT),
    "snownlp-textcnn": ("TextCNNForSequenceClassification", 1, BOTH),
    "tang-bilstm-sst2": ("BiLSTMForSequenceClassification", 1, BOTH),
    "textbrewer-t12-nano": (CLASSIFIER, 12, BOTH),
    "textbrewer-t3": (CLASSIFIER, 3, CUT),
    "textbrewer-t4-tiny": (CLASSIFIER, 4, BOTH),
    "textcnn": ("TextCNNForSequenceClassification", 1, BOTH),
    "tinybert-4": (CLASSIFIER, 4, BOTH),
    "tinybert-6": (CLASSIFIER, 6, BOTH),
}
TASKS = {"causal_lm": "perplexity", "masked_lm": "perplexity", "question_answering": "f1"}


@dataclass(frozen=True)
class Run:
    """What a recipe's run wrote."""

    name: str
    folder: Path
    results: dict[str, Any]

    @property
    def recipe(self) -> dict[str, Any]:
        return load_yaml(recipe_files()[self.name])

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = self.results["rows"]
        return rows

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().split("\n")
                if line]  # fmt: skip


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in cuts.CUTS],
)
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, member: Worker
) -> Run:
    """A recipe that ran through the command line, in a folder and workspace of its own."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    local.write_files(folder)
    local.write_wheels(folder / "workspace")
    result = member.run(folder, "train", *cuts.words(name), "workspace=workspace")
    assert result.code == 0, result.err
    (path,) = folder.glob(f"outputs/{name}/*/results.json")
    return Run(name, path.parent, json.loads(path.read_text()))


def test_each_recipe_has_cuts_and_a_student() -> None:
    assert set(cuts.CUTS) == set(STUDENTS) == set(recipe_files())


def test_cuts_are_of_lengths_and_sizes_alone() -> None:
    sizes = ("epochs", "steps", "_size", "max_length", "stride", "_examples", "eval_every")
    sizes += ("resamples", "batches", "_tokens", "samples", "copies", "head_dim")
    for name in cuts.CUTS:
        keys = {word.partition("=")[0] for word in cuts.words(name)[1:]} - {"teacher.check"}
        assert all(key.endswith(sizes) for key in keys), name


def test_it_reports_teacher_student_and_control(done: Run) -> None:
    kind, _, beside = STUDENTS[done.name]
    assert set(done.rows) == beside | {"student"} | baseline(done)
    report = (done.folder / "report.md").read_text()
    assert report.startswith(f"# {done.name}: ")
    for row in done.rows:
        assert f"| {row} |" in report
    assert done.results["examples"] > 0 and kind in ("", kind)


def test_its_figures_are_finite_and_among_them_the_one_it_expects(done: Run) -> None:
    task = next(d["override /task"] for d in done.recipe["defaults"] if "override /task" in d)
    assert done.results["headline"] == TASKS.get(task, "accuracy")
    scores = {block["score"] for block in done.recipe.get("published", []) if "score" in block}
    for row in done.rows.values():
        assert {done.results["headline"], "nll"} <= set(row)
        assert all(math.isfinite(v) for v in row.values() if isinstance(v, int | float))
    models = [row for name, row in done.rows.items() if name not in baseline(done)]
    assert all(scores <= set(row) for row in models)
    distilled = "teacher" in done.rows
    assert all(("kl_to_teacher" in row) == distilled for row in models)


def baseline(done: Run) -> set[str]:
    """The row of a recipe's report that reads no text."""
    if done.results["headline"] == "perplexity":
        return {"unigram"}
    says_labels = done.results["auto_class"] == "AutoModelForSequenceClassification"
    return {"majority"} if says_labels else set()


def test_each_phase_trained_with_finite_losses(done: Run) -> None:
    declared = list(done.recipe.get("phases", {}))
    assert [phase["name"] for phase in done.results["phases"]] == declared
    assert all(phase["steps"] == 3 for phase in done.results["phases"])
    assert done.results["run"]["student steps"] == 3
    steps = done.metrics()
    assert any("loss" in step for step in steps if step["model"] == "student")
    trained = {*declared[:-1], "student"} | ({"control"} & set(done.rows))
    assert trained <= {step["model"] for step in steps}
    for step in steps:
        assert all(math.isfinite(v) for v in step.values() if isinstance(v, int | float)), step
        assert step.get("loss", 1.0) > 0


def test_its_student_is_the_one_it_is_after_and_loads_by_itself(done: Run) -> None:
    import transformers

    from distillkit.models.classifiers import quiet
    from distillkit.students.architectures import register_architectures

    kind, layers, _ = STUDENTS[done.name]
    register_architectures()
    config = json.loads((done.folder / "student" / "config.json").read_text())
    assert config["architectures"] == [kind]
    with quiet():
        auto = getattr(transformers, done.results["auto_class"])
        model, report = auto.from_pretrained(done.folder / "student", output_loading_info=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(done.folder / "student")
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert type(model).__name__ == kind
    assert getattr(model.config, "num_hidden_layers", 1) == layers
    assert model.get_input_embeddings().num_embeddings >= len(tokenizer)
    parameters = sum(p.numel() for p in model.parameters())
    assert done.rows["student"]["parameters"] == parameters
    if "teacher" in done.rows and kind in (CLASSIFIER, MASKED):  # others are not as thin as it
        assert parameters < done.rows["teacher"]["parameters"]


def test_hidden_test_labels_stay_out_and_label_orders_are_those_of_the_set(done: Run) -> None:
    config = json.loads((done.folder / "student" / "config.json").read_text())
    settled = yaml.safe_load((done.folder / "config.yaml").read_text())
    source = str(settled["data"]["train"])
    if "glue" not in source:
        return
    from tests.hub.data import GLUE, MNLI_SPLITS

    task = source.split(":")[1]
    names = [config["id2label"][str(i)] for i in range(len(GLUE[task][1]))]
    assert names == GLUE[task][1]
    split = str(settled["data"]["test"]).split("split=")[1]
    assert not split.startswith("test") and split in {*MNLI_SPLITS, "validation"}


def test_gated_models_were_asked_for_by_a_member(done: Run, hub: Hub) -> None:
    teacher = (done.recipe.get("teacher") or {}).get("path", "")
    repository = hub.repositories.get(("models", teacher))
    if repository and repository.gated:
        assert any(teacher in path and path.endswith(".safetensors") for _, path in hub.requests)
