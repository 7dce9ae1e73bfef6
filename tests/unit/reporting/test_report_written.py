"""What the table and the sentences say of written responses and of lm-eval's tasks."""

from typing import Any

import pytest

from distillkit.reporting.report import cells, footnote, markdown_table, sentences

ROUGE = {"prompts": 500, "seeds": [10, 20, 30]}


def results(**changes: Any) -> dict[str, Any]:
    """Of a teacher and a student: `changes` are of the comparison."""
    row = {"perplexity": 12.5, "nll": 2.5, "parameters": 1000, "positions": 9}
    return {
        "rows": {
            "teacher": row | {"rouge_l": 27.6, "rouge_l_sd": 0.25},
            "student": row | {"rouge_l": 22.8, "rouge_l_sd": 0.5},
        },
        "comparison": changes,
        "headline": "perplexity",
        "higher_is_better": False,
        "examples": 600,
        "ece_bins": 15,
        "batch_size": 32,
        "level": 0.95,
        "device": "cpu",
        "environment": {"threads": 2},
    }


def on_harness() -> dict[str, Any]:
    found = results(harness={"lm_eval": "0.4.13", "limit": 100})
    score = {"hellaswag acc_norm": 0.41234, "hellaswag acc_norm stderr": 0.005}
    found["rows"]["teacher"]["harness"] = score
    found["rows"]["student"]["harness"] = {"hellaswag acc_norm": 0.3, "arc_easy acc_norm": 0.25}
    return found


def test_rouge_has_a_column() -> None:
    titles, body = cells(results(rouge_l=ROUGE))
    assert [line[titles.index("ROUGE-L")] for line in body] == ["27.60", "22.80"]


def test_tasks_have_columns_before_what_models_cost() -> None:
    titles, body = cells(on_harness())
    assert titles[-3:] == ["hellaswag acc_norm", "arc_easy acc_norm", "parameters"]
    assert [line[-3:-1] for line in body] == [["0.4123 ± 0.0050", "-"], ["0.3000", "0.2500"]]
    assert len({line.count("|") for line in markdown_table(on_harness())}) == 1


def test_results_without_either_say_nothing_of_them() -> None:
    plain = results()
    assert "ROUGE" not in footnote(plain)
    assert "lm-eval" not in footnote(plain)
    assert sentences(plain) == []


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([10, 20, 30], "responses drawn at temperature 1, mean of 3 decoding seeds (sd up to 0.50"),
        ([10], "responses drawn at temperature 1, mean of 1 decoding seed (sd"),
        ([], "greedy responses"),
    ],
)
def test_the_footnote_says_how_responses_were_written(seeds: list[int], said: str) -> None:
    found = footnote(results(rouge_l={"prompts": 500, "seeds": seeds}))
    assert f"ROUGE-L (F1, stemmed, x100) on 500 prompts, {said}" in found


def test_the_footnote_names_the_version_of_the_harness_and_the_limit() -> None:
    assert footnote(on_harness()).endswith(
        "tasks of lm-eval 0.4.13 ± one standard error, 100 examples a task at most"
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.2, 2.3, "better by more than"), (-0.2, 2.3, "within what"), (-3, -1, "worse by more than")],
)
def test_the_student_is_held_against_the_control(low: float, high: float, verdict: str) -> None:
    gain = {"difference": 1.234, "low": low, "high": high}
    (said,) = sentences(results(rouge_l=ROUGE | {"student_minus_control": gain}))
    assert said.startswith(f"Student - control: +1.23 ROUGE-L [{low:+.2f}, {high:+.2f}] (95% ")
    assert f": {verdict} the choice of test examples explains." in said
