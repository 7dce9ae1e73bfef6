"""ROUGE-L of what models write to held-out instructions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.data.corpus import Split
from distillkit.errors import ConfigError, DataError
from distillkit.evaluation import responses as instruction
from distillkit.evaluation.efficiency import Measured
from distillkit.evaluation.responses import RESPONSES, Question, measure, questions
from distillkit.generation.prompts import Prompt
from distillkit.metrics import EvaluationSettings
from distillkit.metrics.rouge import rouge_l
from distillkit.models.saved import Loaded, SavedModel
from tests.unit.models.tiny_lms import byte_tokenizer, language_model

TOKENIZER = byte_tokenizer()
PROMPTS = ["the cat: ", "the dog: ", "a mat: ", "no dog: ", "at all: "]
RESPONSE = ["sat on a mat", "saw no cat", "and the dog", "there at all", "on a dog"]


def settings(**changes: Any) -> EvaluationSettings:
    usual = {"rouge_examples": 5, "rouge_tokens": 8, "batch_size": 3, "resamples": 200}
    return EvaluationSettings(**(usual | changes))


def split(prompts: Sequence[str], responses: Sequence[str]) -> Split:
    return Split(np.zeros(len(prompts), "S16"), list(prompts), list(responses), None)


def measured(model: Any) -> Measured:
    unused: Any = None
    return Measured(SavedModel("", "student"), Loaded(model, TOKENIZER), unused, unused, unused)


@pytest.fixture
def asked() -> list[Question]:
    return questions(split(PROMPTS, RESPONSE), TOKENIZER, settings())


@dataclass
class Writer:
    """A stand-in for a model: `says` a text to each prompt, for each seed."""

    says: dict[int | None, list[str]]
    config: Any = None


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> None:
    def continuations(model: Writer, *_: Any, seed: int | None, **__: Any) -> list[str]:
        return model.says[seed]

    monkeypatch.setattr(instruction, "continuations", continuations)
    monkeypatch.setattr(instruction, "context", lambda _: None)


def test_responses_to_one_prompt_are_its_references() -> None:
    held = split(["the cat: ", "the dog: ", "the cat: "], ["sat", "saw", "no dog"])
    found = questions(held, TOKENIZER, settings())
    assert [question.references for question in found] == [["sat", "no dog"], ["saw"]]


def test_the_prompts_are_spread_over_the_split() -> None:
    held = split([f"the cat {i}: " for i in range(101)], [f"sat {i}" for i in range(101)])
    found = questions(held, TOKENIZER, settings(rouge_examples=5))
    assert [q.references[0] for q in found] == ["sat 0", "sat 25", "sat 50", "sat 75", "sat 100"]


def test_conversations_without_a_response_are_not_asked() -> None:
    turns = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "sat"}]
    held = Split(np.zeros(2, "S16"), ["", ""], None, None, [turns[:1], turns])
    (found,) = questions(held, TOKENIZER, settings())
    assert found.references == ["sat"]
    alone = Split(np.zeros(1, "S16"), [""], None, None, [turns[:1]])
    with pytest.raises(DataError, match="no held-out conversation has a response"):
        questions(alone, TOKENIZER, settings())


def test_documents_are_refused() -> None:
    held = Split(np.zeros(1, "S16"), ["the cat sat"], None, None)
    with pytest.raises(DataError, match=r"evaluation.rouge_examples = 5: .*no responses"):
        questions(held, TOKENIZER, settings())


def test_a_script_that_rouge_cannot_read_is_refused() -> None:
    with pytest.raises(DataError, match=r"a-z and digits only, which are 14%") as refused:
        questions(split(["the cat"], ["今天天气很好 3"]), TOKENIZER, settings())
    assert "\n" not in str(refused.value)


def test_who_writes_the_references_has_100_and_the_seeds_are_averaged(
    asked: list[Question], writers: None, tmp_path: Path
) -> None:
    half = ["", "", *RESPONSE[2:]]
    rows, compared = measure(
        {
            "teacher": measured(Writer({10: RESPONSE, 20: RESPONSE})),
            "student": measured(Writer({10: RESPONSE, 20: half})),
        },
        asked,
        settings(rouge_seeds=[10, 20]),
        tmp_path,
    )
    assert rows["teacher"] == {"rouge_l": 100.0, "rouge_l_sd": 0.0}
    assert rows["student"]["rouge_l"] == pytest.approx(80.0)
    assert rows["student"]["rouge_l_sd"] == pytest.approx(np.std([100, 60], ddof=1))
    assert compared == {"rouge_l": {"prompts": 5, "seeds": [10, 20]}}


def test_greedy_writes_once_whatever_the_seeds(
    asked: list[Question], writers: None, tmp_path: Path
) -> None:
    how = settings(rouge_sampling=False, rouge_seeds=[1, 2, 3])
    rows, compared = measure({"student": measured(Writer({None: RESPONSE}))}, asked, how, tmp_path)
    assert rows == {"student": {"rouge_l": 100.0}}
    assert compared["rouge_l"]["seeds"] == []


def test_the_student_is_held_against_the_control_on_the_same_prompts(
    asked: list[Question], writers: None, tmp_path: Path
) -> None:
    worse = ["", *RESPONSE[1:]]
    models = {"student": RESPONSE, "control": worse}
    rows = {row: measured(Writer({10: said})) for row, said in models.items()}
    _, compared = measure(rows, asked, settings(), tmp_path)
    gain = compared["rouge_l"]["student_minus_control"]
    assert gain["difference"] == pytest.approx(20.0)
    # never worse on any prompt: so is no resample
    assert 0.0 == gain["low"] < gain["difference"] < gain["high"]


def test_what_they_wrote_is_kept(asked: list[Question], writers: None, tmp_path: Path) -> None:
    said = ["sat", *RESPONSE[1:]]
    measure({"student": measured(Writer({10: said}))}, asked, settings(), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / RESPONSES).read_text().splitlines()]
    assert [line["written"]["student"] for line in lines] == [[text] for text in said]
    assert lines[0]["prompt"] == "the cat:"
    assert lines[0]["references"] == ["sat on a mat"]
    assert lines[0]["rouge_l"] == {"student": 40.0}  # one word of one and of four


def test_a_real_model_is_asked_and_scored(asked: list[Question], tmp_path: Path) -> None:
    model = language_model("llama", vocab_size=len(TOKENIZER))
    rows, _ = measure({"student": measured(model)}, asked, settings(), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / RESPONSES).read_text().splitlines()]
    written = [line["written"]["student"][0] for line in lines]
    assert len(set(written)) == 5
    score = rouge_l(written, [[text] for text in RESPONSE]).mean()
    assert rows["student"]["rouge_l"] == pytest.approx(score)


def test_long_prompts_lose_their_beginning_so_that_the_response_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    met: list[Prompt] = []

    def continuations(model: Any, tokenizer: Any, prompts: list[Prompt], **_: Any) -> list[str]:
        met.extend(prompts)
        return [""] * len(prompts)

    monkeypatch.setattr(instruction, "continuations", continuations)
    gpt2 = measured(language_model("gpt2"))  # reads 64 tokens
    long = Question(Prompt(list(range(100))), ["sat"])
    short = Question(Prompt([1, 2]), ["sat"])
    measure({"student": gpt2}, [long, short], settings(rouge_tokens=20), tmp_path)
    assert [prompt.ids for prompt in met] == [list(range(56, 100)), [1, 2]]
    assert "1 of 2 prompts lose their beginning" in capsys.readouterr().err


def test_a_response_that_fills_the_context_is_refused(
    asked: list[Question], tmp_path: Path
) -> None:
    rows = {"student": measured(language_model("gpt2"))}
    with pytest.raises(ConfigError, match=r"evaluation.rouge_tokens = 64: .* 64 tokens .* student"):
        measure(rows, asked, settings(rouge_tokens=64), tmp_path)
