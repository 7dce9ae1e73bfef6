"""The table and the sentences that a report is made of."""

import io
from typing import Any

import pytest
import yaml
from rich.console import Console

from distillkit.reporting.model_card import model_card
from distillkit.reporting.report import (
    cells,
    footnote,
    markdown_table,
    sentences,
    terminal_table,
)


def row(**changes: Any) -> dict[str, Any]:
    usual = {
        "accuracy": 0.8,
        "macro_f1": 0.75,
        "ece": 0.05,
        "parameters": 1_000_000,
        "latency_p50_ms": 2.0,
    }
    return usual | changes


def results(**comparison: Any) -> dict[str, Any]:
    return {
        "rows": {
            "teacher": row(accuracy=0.9, agreement=1.0, kl_to_teacher=0.0),
            "student": row(agreement=0.875, kl_to_teacher=0.125),
        },
        "comparison": comparison,
        "headline": "accuracy",
        "examples": 1293,
        "ece_bins": 15,
        "batch_size": 32,
        "level": 0.95,
        "device": "cpu",
        "environment": {"threads": 2},
    }


GAIN = {"difference": 0.0325, "low": 0.0046, "high": 0.058}


def test_a_teacher_is_not_held_against_itself() -> None:
    titles, body = cells(results())
    at = titles.index("agreement")
    assert [line[at] for line in body] == ["-", "0.8750"]
    assert titles.index("accuracy") == 1


def test_a_column_that_no_row_has_is_left_out_and_a_missing_value_is_a_dash() -> None:
    found = results()
    del found["rows"]["student"]["ece"]
    titles, body = cells(found)
    assert "Pearson" not in titles
    assert body[1][titles.index("ECE")] == "-"


@pytest.mark.parametrize("width", [60, 80, 90, 91, 92, 160])
def test_no_figure_is_cut_short_on_a_terminal_of_any_width(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(terminal_table(results(), "a run", width))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    titles, body = cells(results())
    assert all(cell in shown for row in (titles, *body) for cell in row)
    assert "…" not in shown


def test_markdown_has_a_line_a_row() -> None:
    lines = markdown_table(results())
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1


def test_the_footnote_says_how_it_was_measured() -> None:
    for part in ("1,293 held-out", "15 equal-width bins", "batch 32", "2 cpu threads"):
        assert part in footnote(results())


@pytest.mark.parametrize(
    ("device", "threads", "said"),
    [("cpu", "2", "2 cpu threads,"), ("cpu", "1", "1 cpu thread,"), ("cuda", "16", "on cuda,")],
)
def test_the_footnote_names_the_device(device: str, threads: str, said: str) -> None:
    found = results() | {"device": device, "environment": {"threads": threads}}
    assert said in footnote(found)


def test_the_sentences_give_what_was_kept_and_gained() -> None:
    found = results(
        kept=0.889, smaller=5.2, faster=7.0, faster_batched=17.2, student_minus_control=GAIN
    )
    kept, gained = sentences(found)
    assert kept == (
        "The student keeps 88.9% of the teacher's accuracy, is 5.2x smaller and 7.0x faster "
        "(17.2x in batches)."
    )
    assert gained.startswith("Student - control: +3.25 points of accuracy [+0.46, +5.80] (95% ")


def test_no_share_is_kept_of_a_teacher_that_knows_nothing() -> None:
    found = results(kept=None, smaller=5.2, faster=7.0, faster_batched=17.2)
    (said,) = sentences(found)
    accuracies = tuple(found["rows"][row]["accuracy"] for row in ("student", "teacher"))
    assert "has accuracy {:.4f} to the teacher's {:.4f}, is 5.2x".format(*accuracies) in said


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.06, "better by more than"),
        (-0.01, 0.06, "within what"),
        (-0.06, -0.01, "worse by more than"),
    ],
)
def test_a_difference_is_judged_by_its_interval(low: float, high: float, verdict: str) -> None:
    gain = {"difference": (low + high) / 2, "low": low, "high": high}
    (said,) = sentences(results(student_minus_control=gain))
    assert f": {verdict} the choice of test examples explains." in said


def interval(low: float, high: float) -> dict[str, float]:
    return {"difference": (low + high) / 2, "low": low, "high": high}


def test_every_column_that_differs_by_more_than_chance_is_told() -> None:
    columns = {
        "accuracy": interval(-0.01, 0.01),
        "macro_f1": interval(-0.15, -0.09),
        "nll": interval(-0.3, -0.1),
        "ece": interval(-0.01, 0.02),
    }
    gain, others = sentences(
        results(student_minus_control=columns["accuracy"], columns_minus_control=columns)
    )
    assert "+0.00 points of accuracy" in gain
    assert others == (
        "Beyond accuracy the student is, against its control, worse in macro-F1 (-12.00 points "
        "[-15.00, -9.00]); better in NLL (-0.2000 [-0.3000, -0.1000])."
    )


def test_of_an_error_more_is_worse() -> None:
    columns = {"accuracy": interval(0.01, 0.03), "ece": interval(0.1, 0.2)}
    (others,) = sentences(results(columns_minus_control=columns))
    assert "worse in ECE (+0.1500 [+0.1000, +0.2000])" in others
    assert "better" not in others


def test_the_model_card_has_the_metadata_that_the_hub_reads() -> None:
    card = model_card(results(), name="my-student", recipe="mine")
    _, head, text = card.split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert metadata["library_name"] == "transformers"
    (entry,) = metadata["model-index"]
    values = {m["type"]: m["value"] for r in entry["results"] for m in r["metrics"]}
    assert values == {"accuracy": 0.8, "macro_f1": 0.75}
    assert "from_pretrained" in text


def test_the_model_card_says_where_the_student_brings_its_own_code() -> None:
    plain = model_card(results(), name="my-student", recipe="mine")
    assert "trust_remote_code" not in plain
    card = model_card(results() | {"own_code": True}, name="my-student", recipe="mine")
    assert "register_architectures()" in card  # the way that trusts no code of the folder
    assert "`trust_remote_code=True`" in card


def compared(
    student: float, teacher: float = 0.9, *, headline: str = "accuracy", **ratios: Any
) -> str:
    usual = {"kept": student / teacher, "smaller": 5.2, "faster": 7.0, "faster_batched": 17.2}
    found = results(**(usual | ratios))
    found |= {"headline": headline, "higher_is_better": headline != "perplexity"}
    for name, value in (("student", student), ("teacher", teacher)):
        found["rows"][name][headline] = value
    (said,) = sentences(found)
    return said.removeprefix("The student ").removesuffix(".")


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ((5.2, 7.0, 17.2), "is 5.2x smaller and 7.0x faster (17.2x in batches)"),
        ((0.4, 0.5, 0.25), "is 2.5x larger and 2.0x slower (4.0x in batches)"),
        ((1.02, 2.0, 0.5), "is as large as its teacher and 2.0x faster (2.0x slower in batches)"),
        ((0.98, 1.01, 0.99), "is as large as its teacher and as fast (as fast in batches)"),
        ((1.06, 0.8, 1.0), "is 1.1x smaller and 1.2x slower (as fast in batches)"),
    ],
)
def test_size_and_speed_are_said_as_a_person_would(
    ratios: tuple[float, float, float], said: str
) -> None:
    smaller, faster, batched = ratios
    assert compared(0.8, smaller=smaller, faster=faster, faster_batched=batched).endswith(said)


@pytest.mark.parametrize(
    ("student", "teacher", "headline", "said"),
    [
        (0.81, 0.9, "accuracy", "keeps 90.0% of the teacher's accuracy"),
        (
            0.95,
            0.3521,
            "accuracy",
            "does better than its teacher (accuracy 0.9500, the teacher 0.3521)",
        ),
        (0.9, 0.9, "accuracy", "does as well as its teacher (accuracy 0.9000, the teacher 0.9000)"),
        (
            30.0,
            40.0,
            "perplexity",
            "does better than its teacher (perplexity 30.00, the teacher 40.00)",
        ),
        (50.0, 40.0, "perplexity", "has perplexity 50.00 to the teacher's 40.00"),
        (
            -0.1,
            -0.2,
            "pearson",
            "does better than its teacher (Pearson -0.1000, the teacher -0.2000)",
        ),
    ],
)
def test_quality_beside_the_teacher_is_said_as_a_person_would(
    student: float, teacher: float, headline: str, said: str
) -> None:
    kept = None if headline != "accuracy" else student / teacher
    assert compared(student, teacher, headline=headline, kept=kept).startswith(f"{said}, is ")


@pytest.mark.parametrize(
    ("pearson", "rmse", "said"),
    [
        ((0.9, 0.8), (0.3, 0.2), "but is worse in RMSE (0.3000, the teacher 0.2000)"),
        ((0.9, 0.8), (0.2, 0.2), "but is no better in RMSE (0.2000, the teacher 0.2000)"),
        ((0.9, 0.8), (0.1, 0.2), "does better than its teacher (Pearson 0.9000, the teacher 0.8)"),
        ((0.8, 0.8), (0.3, 0.2), "but is worse in RMSE (0.3000, the teacher 0.2000)"),
        ((0.4, 0.8), (0.1, 0.2), "keeps 50.0% of the teacher's Pearson, but is better in RMSE ("),
        ((-0.4, 0.8), (0.1, 0.2), "to the teacher's 0.8000, but is better in RMSE (0.1000, "),
    ],
)
def test_where_correlation_and_error_differ_both_are_said(
    pearson: tuple[float, float], rmse: tuple[float, float], said: str
) -> None:
    found = results(kept=None, smaller=5.2, faster=7.0, faster_batched=17.2)
    found |= {"headline": "pearson", "higher_is_better": True}
    found["comparison"]["kept"] = pearson[0] / pearson[1] if pearson[0] > 0 else None
    for name, *values in (("student", pearson[0], rmse[0]), ("teacher", pearson[1], rmse[1])):
        found["rows"][name] |= {"pearson": values[0], "rmse": values[1]}
    (sentence,) = sentences(found)
    said = said.replace("teacher 0.8)", "teacher 0.8000), is 5.2x smaller")
    assert said in sentence
    assert ("but" in sentence) == ("but" in said)


def test_a_card_names_what_the_student_was_made_of_and_the_command() -> None:
    run = {"teacher": "x", "loss": "ForwardKL (temperature 2.0)", "command": "distillkit train a=1"}
    card = model_card(results() | {"run": run, "higher_is_better": True}, name="s", recipe="")
    assert "Distilled with distillkit.\n" in card
    assert "- loss: ForwardKL (temperature 2.0)\n- command: `distillkit train a=1`\n" in card
    index = yaml.safe_load(card.split("---")[1])["model-index"]
    assert index[0]["results"][0]["dataset"]["name"] == "held-out split"


def test_times_of_a_busy_machine_are_called_so() -> None:
    found = results()
    found["timing"] = {"texts": 200, "warm_up": 3, "tokens": [4, 20, 60], "spread": 0.1}
    quiet = footnote(found)
    assert "models in turn on 200 texts of 4 to 60 tokens (median 20) after 3 warm-up" in quiet
    assert "busy" not in quiet
    found["timing"]["spread"] = 0.8
    assert "the machine was busy: times of one and the same text are 80% apart" in footnote(found)


def test_the_sentence_of_a_busy_machine_says_no_speed() -> None:
    found = results(kept=0.9, smaller=5.2, faster=7.0, faster_batched=17.2)
    assert " faster" in sentences(found)[0]
    found["timing"] = {"texts": 200, "warm_up": 3, "tokens": [4, 20, 60], "spread": 0.8}
    first = sentences(found)[0]
    assert first.endswith("; how much faster cannot be told, the machine was busy.")
    assert "x faster" not in first
