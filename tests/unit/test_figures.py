"""Each figure of the documents is said in one way, and is the one that was measured."""

import re
from decimal import Decimal

import pytest

from distillkit import limits
from tests.readmes import ROOT, read, section

README, RECIPES, BENCH, CONF = (
    "README.md",
    "recipes/README.md",
    "scripts/bench/README.md",
    "conf/README.md",
)
N = r"[+]?([\d,.]*\d)%?"
# what is measured -> where it stands, the measurement first: (file, pattern with the figures)
FIGURES: dict[str, list[tuple[str, str]]] = {
    "bytes a token of 50 draws": [
        (BENCH, rf"\| `sampled`, 50 draws \| {N} \|"),
        (BENCH, rf"contexts of 1,000\) \| {N} bytes"),
        (BENCH, rf"`sampled` takes {N} bytes a token"),
        (README, rf"and {N} bytes a token"),
        (CONF, rf"unbiased, {N} bytes a token"),
        ("conf/targets/sampled.yaml", rf"in {N} bytes"),
    ],
    "bert-tiny: parameters of the teacher, in millions": [
        ("recipes/bert-tiny.yaml", rf"teacher: MiniLM-L6 \({N} M\)"),
        (README, rf"an encoder of {N} M parameters"),
        (CONF, rf"all-MiniLM-L6-v2 \({N} M\)"),
        ("conf/teacher/minilm.yaml", rf"6 layers x 384, {N} M"),
    ],
    "bert-tiny: parameters of the student, in millions": [
        ("recipes/bert-tiny.yaml", rf"student: BERT-tiny \({N} M\)"),
        (README, rf"a BERT-tiny of {N} M"),
    ],
    "bert-tiny: held-out sentences": [
        (RECIPES, rf"^{N} held-out examples; ECE"),
        (RECIPES, rf"on the same {N} held-out sentences and"),
        (README, rf"^{N} held-out sentences"),
        ("recipes/bert-tiny.yaml", rf"on {N} held-out sentences"),
        ("recipes/textcnn.yaml", rf"on {N} held-out sentences"),
    ],
    "bert-tiny: points over the control, seed 0": [
        (RECIPES, rf"Student - control: {N} points of accuracy \[{N}, {N}\]"),
        (RECIPES, rf"\| 0 \|(?:[^|]+\|){{4}} {N} \[{N}, {N}\]"),
        (README, rf"The student is {N} points better than its control, \[{N}, {N}\]"),
    ],
    "bert-tiny: of the teacher's accuracy, per cent": [
        (RECIPES, rf"of the three the student keeps {N} of"),
        (README, rf"keeps {N} of the teacher's accuracy"),
        ("recipes/bert-tiny.yaml", rf"± [\d.]+, {N} of the teacher's"),
    ],
    "textcnn: of the teacher's accuracy, per cent": [
        (RECIPES, rf"convolutions keep {N} of the teacher's accuracy"),
        ("recipes/textcnn.yaml", rf"{N} of the teacher's,"),
    ],
    "textcnn: accuracy": [
        (RECIPES, rf"of the teacher's accuracy: {N} with each"),
        ("recipes/textcnn.yaml", rf"expects: accuracy {N},"),
    ],
    "textcnn: points over the control": [
        (RECIPES, rf"three seeds, {N}, {N} and {N} points more"),
        ("recipes/textcnn.yaml", rf"points {N}, {N}, {N}\)"),
    ],
    "smollm2-mini: nats a token over the control": [
        (RECIPES, rf"a token: {N} ± {N}, a 95% t-interval"),
        (README, rf"gains {N} ± {N} nats a token"),
        ("recipes/smollm2-mini.yaml", rf"{N} \+- {N} nats a token"),
    ],
    "smollm2-mini: perplexity of the teacher": [
        (RECIPES, rf"\| teacher \| {N} \| \| \|"),
        ("recipes/smollm2-mini.yaml", rf"teacher {N}\)"),
    ],
    "smollm2-mini: perplexity of the student, least and most": [
        (RECIPES, rf"\| student \| {N}, {N}, "),
        ("recipes/smollm2-mini.yaml", rf"perplexity {N} to {N} "),
    ],
    "smollm2-mini: perplexity of the initial student": [
        (RECIPES, rf"\| the student before training \| {N} "),
        ("recipes/smollm2-mini.yaml", rf"untrained {N},"),
    ],
    "smollm2-mini: least agreement of the student": [
        (RECIPES, rf"\| student \|[^|]*\| [\d.]+, {N}, "),
        ("recipes/smollm2-mini.yaml", rf"; agreement {N} to "),
    ],
    "classify: teacher on Banking77": [
        (RECIPES, rf"Banking77, 77 intents \| 8,965 \| accuracy \| {N} ± "),
        ("recipes/classify.yaml", rf"the teacher {N},"),
    ],
    "classify: student on Banking77": [
        (RECIPES, rf"Banking77, 77 intents \| 8,965 \| accuracy \|[^|]*\| {N} ± "),
        ("recipes/classify.yaml", rf"on 77 intents accuracy {N},"),
    ],
    "classify: control on Banking77": [
        (RECIPES, rf"Banking77, 77 intents \| 8,965 \| accuracy \|[^|]*\|[^|]*\| {N} ± "),
        ("recipes/classify.yaml", rf"the control {N}$"),
    ],
    "a student's step": [
        (BENCH, rf"\| student step \| 35\.5 ms / 47\.7 ms \| {N} "),
        (BENCH, rf"against a hard-label step \| {N} "),
    ],
    "every loss": [
        (BENCH, rf"\| {N} \(`tinybert_prediction`\) to {N} "),
        (BENCH, rf"19 losses on logits: {N} to {N}\)"),
    ],
    "the teacher's pass": [
        (BENCH, rf"\| 11,761 / 10,846 tokens/s \| {N} "),
        (BENCH, rf"tokens a second \| {N} \|"),
    ],
    "a step on activations": [
        (BENCH, rf"\| attention step \| 315[^|]*\| {N} "),
        (BENCH, rf"teacher in the loop \| {N} \|"),
    ],
    "padding": [
        (BENCH, rf"\| padding \| of 50,000 texts \| {N} \|"),
        (BENCH, rf"the teacher's tokens \| {N} \|"),
    ],
    "a language model's step": [
        (BENCH, rf"\| student step \| 586[^|]*\| {N} "),
        (BENCH, rf"from 50 draws a token \| {N} \|"),
    ],
    "a language model's teacher pass, bfloat16": [
        (BENCH, rf"\| teacher pass, bfloat16 \(`auto`\) \|[^|]*\| {N} "),
        (BENCH, rf"parameters, float32, bfloat16 \| [\d.]+, {N} \|"),
    ],
    "a language model's teacher pass, float32": [
        (BENCH, rf"\| teacher pass, float32 [^|]*\|[^|]*\| {N} "),
        (BENCH, rf"parameters, float32, bfloat16 \| {N},"),
    ],
    "a loss over a head": [
        (BENCH, rf"\| few \| [^|]* = {N} \| {N} "),
        (BENCH, rf"classes \| {N} of the memory, {N} of the time"),
    ],
    "the oldest transformers that reads a student": [
        (CONF, rf"transformers {N} on"),
        (README, rf"in transformers {N} and newer"),
    ],
}  # fmt: skip
TIMES = {
    "bert-tiny": [
        (RECIPES, r"The command took ([\d:]+) minutes"),
        (README, r"in ([\d:]+) minutes, downloads included"),
    ],
    "smollm2-mini": [
        (RECIPES, r"\*\*Time\.\*\* ([\d:]+) minutes"),
        (README, r"`smollm2-mini` takes ([\d:]+) minutes"),
    ],
}


def figures(file: str, pattern: str) -> list[str]:
    """What a pattern's groups hold where it is found in a file; it is found once."""
    found = [*re.finditer(pattern, read(ROOT / file), re.MULTILINE)]
    assert len(found) == 1, f"{file}: {pattern} is found {len(found)} times"
    return [*found[0].groups()]


def half_unit(figure: str) -> Decimal:
    """Half of a figure's last digit."""
    return Decimal(5).scaleb(-len(figure.partition(".")[2]) - 1)


@pytest.mark.parametrize("what", FIGURES)
def test_a_figure_is_the_one_that_was_measured(what: str) -> None:
    (file, pattern), *mentions = FIGURES[what]
    measured = figures(file, pattern)
    for place, wording in mentions:
        mentioned = figures(place, wording)
        for figure, of in zip(mentioned, measured, strict=True):
            left, right = (Decimal(it.replace(",", "")) for it in (figure, of))
            assert abs(left - right) <= half_unit(figure), f"{place}: {figure} for {of}"


@pytest.mark.parametrize("what", TIMES)
def test_a_time_is_said_in_one_way(what: str) -> None:
    assert len({*(tuple(figures(*place)) for place in TIMES[what])}) == 1


def test_the_table_of_the_readme_is_the_printed_one() -> None:
    printed = {
        row.split()[1]: row for row in read(ROOT / RECIPES).splitlines() if row.startswith("│ ")
    }
    table = section(ROOT / README, "The first run")
    for model in ("teacher", "student", "control"):
        (row,) = re.findall(rf"^\| {model} \|(.*)\|$", table, re.MULTILINE)
        cells = [cell.strip() for cell in row.split("|")]
        there = re.findall(r"[\d.,]*\d", printed[model])
        assert [cell for cell in cells if cell and cell not in there] == []


def test_the_means_are_those_of_the_seeds() -> None:
    rows = re.findall(
        r"^\| [012] \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+)% \| \+([\d.]+) ",
        section(ROOT / RECIPES, "bert-tiny"),
        re.MULTILINE,
    )
    teachers, students, _, ratios, points = (
        list(map(float, column)) for column in zip(*rows, strict=True)
    )
    for teacher, student, ratio in zip(teachers, students, ratios, strict=True):
        assert abs(100 * student / teacher - ratio) < 0.06
    (kept,) = figures(README, rf"keeps {N} of the teacher's accuracy")
    expects = figures(
        "recipes/bert-tiny.yaml",
        rf"expects: accuracy {N} ± [\d.]+, {N} of the teacher's, {N} points",
    )
    assert [float(kept), *map(float, expects)] == [
        round(sum(ratios) / 3, 1),
        round(sum(students) / 3, 3),
        round(sum(ratios) / 3, 1),
        round(sum(points) / 3, 1),
    ]


def test_the_limit_of_packed_files_is_the_codes() -> None:
    gigabytes = [str(limits.DEFAULT_UNPACKED // 10**9)]
    assert figures(CONF, r"`DISTILLKIT_MAX_UNPACKED` \| (\d+) GB") == gigabytes
    assert figures("SECURITY.md", r"unpacks to (\d+) GB at most") == gigabytes
