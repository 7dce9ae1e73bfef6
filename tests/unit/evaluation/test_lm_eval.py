"""The adapter to lm-evaluation-harness: on a stand-in, and on the real one where it is there."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from distillkit.errors import ConfigError, DataError
from distillkit.evaluation import lm_eval as harness
from distillkit.evaluation.lm_eval import check_tasks, fingerprint_fields, harness_scores
from tests.unit.models.tiny_lms import byte_tokenizer, language_model

NAMES = ["arc_easy", "hellaswag", "hellaswag_vi", "films", "animals", "cats", "dogs", "unsafe"]


class Manager:
    """What the adapter asks of lm_eval's TaskManager."""

    def __init__(self, include_path: str | None) -> None:
        self.all_tasks = NAMES + (["mine"] if include_path else [])

    def load(self, names: list[str]) -> dict[str, Any]:
        (name,) = names
        if name == "arc_easy":
            raise ConnectionError("Couldn't reach the Hub\nand more of it")
        members = {"animals": ["cats", "dogs"]}.get(name, [name])
        return {"tasks": {m: SimpleNamespace(UNSAFE_CODE=m == "unsafe") for m in members}}


class StandIn:
    """An lm_eval that answers with `results`, and remembers how it was called."""

    def __init__(self) -> None:
        self.results: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, list[str]] = {}
        self.model: dict[str, Any] = {}
        self.call: dict[str, Any] = {}

    def wrap(self, **given: Any) -> str:
        given["tokenizer"].pad_token = given["tokenizer"].unk_token  # as HFLM does
        self.model = given
        return "wrapped"

    def simple_evaluate(self, **given: Any) -> dict[str, Any]:
        sys.stdout.write("a line that nobody wants\n")
        self.call = given
        return {"results": self.results, "group_subtasks": self.groups}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    found = StandIn()
    parts: dict[str, dict[str, Any]] = {
        "lm_eval": {"simple_evaluate": found.simple_evaluate},
        "lm_eval.evaluator": {},
        "lm_eval.models": {},
        "lm_eval.models.huggingface": {"HFLM": found.wrap},
        "lm_eval.tasks": {"TaskManager": Manager},
    }
    for name, holds in parts.items():
        module = ModuleType(name)
        vars(module).update(holds)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, module)
    harness._manager.cache_clear()
    yield found
    harness._manager.cache_clear()


def test_the_model_and_a_copy_of_its_tokenizer_go_in(
    stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in.results = {"films": {"alias": "films", "acc,none": 0.5, "acc_stderr,none": 0.1}}
    tokenizer = byte_tokenizer()
    found = harness_scores("model", tokenizer, ["films"], 16, 100)
    assert found == {"films acc": 0.5, "films acc stderr": 0.1}
    assert stand_in.model["pretrained"] == "model"
    assert stand_in.model["batch_size"] == 16
    assert tokenizer.pad_token is None
    given = stand_in.call
    assert (given["model"], given["tasks"], given["limit"]) == ("wrapped", ["films"], 100)
    assert isinstance(given["task_manager"], Manager)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("said", "column"),
    [
        ({"acc,none": 0.25, "acc_norm,none": 0.5}, {"films acc_norm": 0.5}),
        ({"f1,none": 0.25, "exact_match,strict": 0.5}, {"films exact_match (strict)": 0.5}),
        ({"word_perplexity,none": 9.5, "acc_stderr,none": "N/A"}, {"films word_perplexity": 9.5}),
        ({"acc,none": 1, "acc_stderr,none": "N/A", "sample_len": 3}, {"films acc": 1.0}),
    ],
)
def test_each_task_tells_one_metric(
    said: dict[str, Any], column: dict[str, float], stand_in: StandIn
) -> None:
    stand_in.results = {"films": said}
    assert harness_scores(None, byte_tokenizer(), ["films"], 1) == column


def test_a_group_tells_its_own_score_or_those_of_its_tasks(stand_in: StandIn) -> None:
    tasks = {name: {"acc,none": score} for name, score in (("cats", 0.25), ("dogs", 0.75))}
    stand_in.groups = {"animals": ["cats", "dogs"]}
    stand_in.results = {"animals": {"alias": "animals", "acc,none": 0.5}, **tasks}
    assert harness_scores(None, byte_tokenizer(), ["animals"], 1) == {"animals acc": 0.5}
    both = {"cats acc": 0.25, "dogs acc": 0.75}
    stand_in.results = {"animals": {"alias": "animals"}, **tasks}
    assert harness_scores(None, byte_tokenizer(), ["animals"], 1) == both
    stand_in.groups, stand_in.results = {}, tasks  # a tag: known by what it loads alone
    assert harness_scores(None, byte_tokenizer(), ["animals"], 1) == both


def test_an_unknown_task_is_said_with_near_ones(stand_in: StandIn) -> None:
    check_tasks(["hellaswag", "films"])
    with pytest.raises(ConfigError, match="no task helaswag; near ones are hellaswag, hellaswag_"):
        check_tasks(["films", "helaswag"])
    with pytest.raises(ConfigError, match="`lm-eval ls tasks` lists them"):
        check_tasks(["zzzzz"])


def test_the_users_folder_adds_tasks_and_has_to_be_there(stand_in: StandIn, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no task mine"):
        check_tasks(["mine"])
    check_tasks(["mine"], str(tmp_path))
    with pytest.raises(ConfigError, match=r"evaluation.harness_path = .*/gone: no such folder"):
        check_tasks(["mine"], str(tmp_path / "gone"))


def test_data_that_cannot_be_had_is_one_line(stand_in: StandIn) -> None:
    with pytest.raises(DataError, match=r"arc_easy cannot be loaded \(Couldn't reach the Hub\)"):
        harness_scores(None, byte_tokenizer(), ["films", "arc_easy"], 1)
    assert not stand_in.call


def test_what_runs_code_that_a_model_wrote_is_refused(stand_in: StandIn) -> None:
    with pytest.raises(ConfigError, match="unsafe runs the code that a model writes"):
        harness_scores(None, byte_tokenizer(), ["unsafe"], 1)
    assert not stand_in.call


def test_the_version_and_the_users_tasks_decide_the_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fingerprint_fields(None, None) == fingerprint_fields([], str(tmp_path)) == {}
    monkeypatch.setattr(harness, "version", lambda _: "1")
    (tmp_path / "mine.yaml").write_text("task: mine")
    first = fingerprint_fields(["mine"], str(tmp_path))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "mine.pyc").write_text("made by Python")
    assert fingerprint_fields(["mine"], str(tmp_path)) == first
    assert fingerprint_fields(["mine"], None) != first
    (tmp_path / "mine.yaml").write_text("task: yours")
    other = fingerprint_fields(["mine"], str(tmp_path))
    assert other != first
    monkeypatch.setattr(harness, "version", lambda _: "2")
    assert fingerprint_fields(["mine"], str(tmp_path)) != other


# with the real one

WORDS = ["the cat", "the dog", "a mat", "no dog", "at all", "and there"]
CHOICES = ["sat", "on a mat and there", "no"]
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{text}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: right
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
metadata: {{version: 1}}
"""


def write_tasks(folder: Path) -> list[dict[str, Any]]:
    rows = [
        {"text": f"{WORDS[i % 6]} {WORDS[i // 6]}", "choices": CHOICES, "right": i % 3}
        for i in range(30)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("films", "books"):
        text = TASK.format(name=name, rows=folder / "rows.jsonl")
        (folder / f"{name}.yaml").write_text(text)
    (folder / "both.yaml").write_text("group: both\ntask: [films, books]\n")
    return rows


def log_likelihood(model: Any, tokenizer: Any, text: str, choice: str) -> float:
    """log p of " choice" after the text."""
    before = tokenizer(text)["input_ids"]
    ids = tokenizer(f"{text} {choice}")["input_ids"]
    assert ids[: len(before)] == before
    log_p = torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=-1)
    return sum(float(log_p[i - 1, ids[i]]) for i in range(len(before), len(ids)))


@pytest.mark.filterwarnings("ignore")
def test_the_real_one_scores_a_task_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)  # no repository
    (tmp_path / "tasks").mkdir()
    rows, path = write_tasks(tmp_path / "tasks"), str(tmp_path / "tasks")
    tokenizer = byte_tokenizer()
    model = language_model("llama", vocab_size=len(tokenizer))
    with torch.no_grad():  # sharp enough that no two choices are as likely
        model.lm_head.weight.mul_(20)
    right = []
    for row in rows:
        said = [log_likelihood(model, tokenizer, row["text"], c) / len(c) for c in CHOICES]
        right.append(said.index(max(said)) == row["right"])
    assert 0 < sum(right) < len(right)

    check_tasks(["films", "both"], path)
    with pytest.raises(ConfigError, match="near ones are films"):
        check_tasks(["film"], path)
    capfd.readouterr()
    found = harness_scores(model, tokenizer, ["films"], 4, None, path)
    assert found["films acc_norm"] == pytest.approx(sum(right) / len(right))
    p, n = sum(right) / len(right), len(right)
    assert found["films acc_norm stderr"] == pytest.approx((p * (1 - p) / (n - 1)) ** 0.5)
    assert tokenizer.pad_token is None
    few = harness_scores(model, tokenizer, ["both"], 4, 12, path)
    share = pytest.approx(sum(right[:12]) / 12)
    assert few["films acc_norm"] == few["books acc_norm"] == share
    assert not any(name.startswith("both") for name in few)
    assert capfd.readouterr() == ("", "")
