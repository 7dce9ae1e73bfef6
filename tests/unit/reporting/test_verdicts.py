"""What the intervals of differences say, in a word and in a sentence."""

import pytest

from distillkit.reporting.verdicts import NOISE, headline, verdicts
from tests.pages import results


@pytest.mark.parametrize(
    ("column", "low", "high", "word"),
    [
        ("accuracy", 0.01, 0.03, "better"),
        ("accuracy", -0.03, -0.01, "worse"),
        ("accuracy", -0.01, 0.03, NOISE),
        ("accuracy", 0.0, 0.03, NOISE),
        ("nll", 0.01, 0.03, "worse"),
        ("ece", -0.03, -0.01, "better"),
        ("rmse", -0.03, 0.0, NOISE),
    ],
)
def test_a_verdict_is_of_the_interval_and_of_what_is_better(
    column: str, low: float, high: float, word: str
) -> None:
    found = results()
    gain = {"difference": (low + high) / 2, "low": low, "high": high}
    found["comparison"] = {"columns_minus_control": {column: gain}}
    (verdict,) = verdicts(found)
    assert (verdict.column, verdict.other, verdict.word) == (column, "control", word)
    assert verdict.text == f"{gain['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"


def test_a_metric_of_a_config_has_its_own_sense() -> None:
    found = results()
    gain = {"difference": 2.0, "low": 1.0, "high": 3.0}
    found["metrics"] = {"cost": {"title": "cost", "format": ",.1f", "falls": True}}
    found["comparison"] = {"columns_minus_control": {"cost": gain}}
    (verdict,) = verdicts(found)
    assert (verdict.word, verdict.text) == ("worse", "+2.0 [+1.0, +3.0]")


def test_the_headline_is_one_story() -> None:
    assert headline(results()) == (
        "The student of 4.39 M parameters has accuracy 0.8000 to the 0.9000 of its teacher of "
        "22.7 M parameters (88.9% of it); it is 5.2x smaller and 4.5x faster. Against the same "
        "model trained on hard labels alone the difference is within the noise: +1.00 points of "
        "accuracy [-1.00, +3.00]. Against its teacher it is worse: -10.00 points of accuracy "
        "[-20.00, -5.00]."
    )


def test_language_models_are_compared_in_nats() -> None:
    found = results()
    found |= {"headline": "perplexity", "higher_is_better": False}
    for row in found["rows"].values():
        row["perplexity"] = 12.5
    gain = {"difference": -0.02, "low": -0.03, "high": -0.01}
    found["comparison"] = {"student_minus_control": gain, "smaller": 0.5}
    text = headline(found)
    assert "perplexity 12.50 to the 12.50 of its teacher" in text
    assert "; it is 2.0x larger." in text
    assert "it is better: -0.0200 of NLL [-0.0300, -0.0100]" in text


def test_speed_on_a_busy_machine_is_doubted() -> None:
    found = results() | {"timing": {"texts": 9, "warm_up": 3, "tokens": [1, 2, 3], "spread": 0.8}}
    assert "The machine was busy while they were timed" in headline(found)
    found["timing"]["spread"] = 0.2
    assert "busy" not in headline(found)


def test_to_agree_with_a_wrong_teacher_is_neither_good_nor_bad() -> None:
    found = results()
    gain = {"difference": 0.2, "low": 0.1, "high": 0.3}
    found["comparison"] = {"columns_minus_control": {"agreement_wrong": gain}}
    assert verdicts(found)[0].word == "higher"


@pytest.mark.parametrize(
    ("row", "name", "student", "constant", "rises", "expected"),
    [
        ("majority", "accuracy", 0.8, 0.5, True, "that only knows how often classes are has 0.5"),
        ("majority", "accuracy", 0.5, 0.5, True, "no better than a model that only knows how"),
        ("mean", "pearson", 0.2, 0.0, True, "A model that always says the mean of the training"),
        ("unigram", "perplexity", 90.0, 100.0, False, "how often tokens are has 100.00."),
        ("unigram", "perplexity", 110.0, 100.0, False, "It is no better than a model that only"),
    ],
)
def test_the_headline_says_what_reads_no_text(
    row: str, name: str, student: float, constant: float, rises: bool, expected: str
) -> None:
    found = results() | {"headline": name, "higher_is_better": rises, "comparison": {}}
    found["rows"] = {"student": {name: student}, row: {name: constant}}
    assert expected in headline(found)


def test_of_several_models_the_best_is_named_and_all_are_held_against_the_first() -> None:
    noise = {"difference": 0.01, "low": -0.01, "high": 0.03}
    worse = {"difference": -0.2, "low": -0.3, "high": -0.1}
    found = results() | {"reference": "large"}
    found["rows"] = {
        "large": {"accuracy": 0.9, "parameters": 22_713_986},
        "small": {"accuracy": 0.91},
        "tiny": {"accuracy": 0.7},
        "majority": {"accuracy": 0.5},
    }
    found["comparison"] = {
        "over_reference": {"small": {"accuracy": noise}, "tiny": {"accuracy": worse}}
    }
    assert headline(found) == (
        "small has accuracy 0.9100, the best of 3 models. small differs within the noise from "
        "large: +0.0100 [-0.0100, +0.0300] of accuracy. tiny is worse than large: -0.2000 "
        "[-0.3000, -0.1000] of accuracy."
    )
    found |= {"headline": "perplexity", "higher_is_better": False}
    found["rows"] = {"student": {"perplexity": 9.0}, "b": {"perplexity": 11.0}}
    found["comparison"] = {"over_reference": {"b": {"perplexity": {**noise, "low": 0.005}}}}
    assert headline(found).startswith("student has perplexity 9.00, the best of 2 models. b is ")
    assert "worse than large: +0.0100 [+0.0050, +0.0300] of NLL" in headline(found)
