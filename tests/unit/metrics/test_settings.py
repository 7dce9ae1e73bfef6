"""What the settings of an evaluation refuse before anything is loaded."""

from typing import Any

import pytest

from distillkit.errors import ConfigError
from distillkit.metrics import EvaluationSettings, rouge, settings


def refusal(**changes: Any) -> str:
    with pytest.raises(ConfigError) as error:
        EvaluationSettings(**changes)
    (line,) = str(error.value).splitlines()
    return line


def test_nothing_is_written_or_asked_of_the_harness_by_default() -> None:
    usual = EvaluationSettings()
    assert usual.rouge_examples == 0
    assert usual.harness is None


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rouge, "PACKAGE", "no_such_package")
    said = refusal(rouge_examples=500)
    assert said.startswith("evaluation.rouge_examples = 500: ")
    assert "pip install 'distillkit[instruct]'" in said
    EvaluationSettings(rouge_examples=0)


def test_a_missing_harness_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "HARNESS", "no_such_package")
    said = refusal(harness=["hellaswag"])
    assert said.startswith("evaluation.harness = ['hellaswag']: ")
    assert "pip install 'distillkit[harness]'" in said
    EvaluationSettings(harness=None)
    EvaluationSettings(harness=[])


@pytest.mark.parametrize("seeds", [[], [10, 10]])
def test_seeds_are_one_or_more_different_ones(seeds: list[int]) -> None:
    assert refusal(rouge_seeds=seeds).startswith(f"evaluation.rouge_seeds = {seeds}: ")
