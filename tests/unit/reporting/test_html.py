"""The page of a run: all of it is there, text of others stays text, nothing is fetched."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distillkit.console.masking import masked
from distillkit.console.progress import visible
from distillkit.reporting import html, svg
from distillkit.reporting.run_report import MOST_ROWS, SCHEMA, thinned, write_report
from tests.pages import EVIL, Page, results, row

USUAL = html.page(results(), title="a run", config="seed: 0\n", packages={"torch": "2.9.0"})
HEADINGS = (
    "Models beside one another",
    "Is the difference real?",
    "Slices",
    "Learning curves",
    "Quality against cost",
    "Reliability",
    "Classes",
    "Where student and teacher differ most",
    "Layers",
    "Where the time went",
    "The stored targets",
    "Data",
    "The run, and how to repeat it",
)


def test_a_page_has_all_that_a_run_found_out() -> None:
    page = Page(USUAL)
    assert page.unbalanced == []
    assert page.open == []
    positions = [page.text.index(heading) for heading in HEADINGS]
    assert positions == sorted(positions)
    for figure in ("88.9%", "5.2x", "4.5x", "1,293", "6,387", "1.5e-08", "1:15", "90% sure"):
        assert figure in page.text, figure
    assert "distillkit train data.train=x.csv" in page.text
    assert "seed: 0" in page.text
    assert page.text.count("within the noise") >= 3


def test_nothing_is_fetched_and_no_script_is_needed() -> None:
    page = Page(USUAL)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base")
        for name in ("src", "href", "action", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert page.count("script") == 1
    assert "@import" not in USUAL
    assert set(re.findall(r"https?://[^\s\"'<>]+", USUAL)) == {"http://www.w3.org/2000/svg"}


def test_text_of_others_is_shown_and_obeyed_in_nothing() -> None:
    found = results(EVIL)
    found["curves"] = {EVIL[0]: found["curves"]["student"], **found["curves"]}
    found["rows"][EVIL[4]] = row(accuracy=0.7)
    found["run"]["command"] = f"distillkit train run_name='{EVIL[3]}'"
    page_text = html.page(found, title=EVIL[0], config=f"a: '{EVIL[1]}'", packages={EVIL[7]: "1"})
    page = Page(page_text)
    assert page.unbalanced == []
    assert page.count("script") == 1
    assert page.count("img") == 0
    assert page.count("style") == 1
    assert "\x1b" not in page_text
    assert "\u202e" not in page_text
    for text in EVIL:
        assert " ".join(visible(text).split()) in page.text, text
    assert page.text.count("{{ 7 * 7 }}") > 3


def test_every_picture_says_in_words_what_it_shows() -> None:
    page = Page(USUAL)
    figures = [attributes for tag, attributes in page.elements if tag == "figure"]
    assert len(figures) == page.count("svg") >= 8
    labels = [attributes["aria-label"] or "" for attributes in figures]
    assert all(attributes["role"] == "img" for attributes in figures)
    assert all(len(label) > 30 for label in labels)
    (cost,) = [label for label in labels if label.startswith("accuracy against p50")]
    assert "teacher: 0.9 at 9" in cost
    assert cost.endswith("On the Pareto front: student, teacher")


def test_the_same_results_give_the_same_bytes() -> None:
    again = html.page(results(), title="a run", config="seed: 0\n", packages={"torch": "2.9.0"})
    assert again == USUAL


@pytest.mark.parametrize(
    ("ratio", "figure", "words"),
    [
        (5.18, "5.2x", "faster than the teacher"),
        (0.0072, "138.9x", "slower than the teacher"),
        (1.02, "1.0x", "as fast as the teacher"),
        (0.97, "1.0x", "as fast as the teacher"),
    ],
)
def test_a_tile_says_faster_or_slower(ratio: float, figure: str, words: str) -> None:
    found = results()
    found["comparison"]["faster"] = ratio
    (tile,) = [it for it in html._tiles(found) if "fast" in it["what"] or "slower" in it["what"]]
    assert (tile["figure"], tile["what"]) == (figure, words)


def test_what_others_published_stands_beside() -> None:
    found = results() | {"published": [{"paper": "A <b>", "metric": "accuracy", "number": "0.9"}]}
    page = Page(html.page(found, title="t", packages={}))
    assert "Published beside measured paper A <b> metric accuracy number 0.9" in page.text


def test_an_evaluation_of_a_student_alone_has_a_page() -> None:
    found = {"rows": {"student": row()}, "comparison": {}, "headline": "accuracy", "examples": 9}
    found |= {"ece_bins": 5, "batch_size": 2, "level": 0.9, "device": "cpu"}
    found |= {"environment": {"threads": "1"}}
    page = Page(html.page(found, title="alone", packages={}))
    assert page.unbalanced == []
    assert "Is the difference real?" not in page.text
    assert "The student of 4.39 M parameters has accuracy 0.8000." in page.text


def test_the_files_of_a_report_have_the_same_figures(tmp_path: Path) -> None:
    found = results()
    curves = found.pop("curves")
    found.pop("schema")
    validation = found.pop("teacher_validation")
    (tmp_path / "config.yaml").write_text("seed: 41\n")
    write_report(found, title="t", metrics=curves, teacher_validation=validation, out=tmp_path)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["schema"] == SCHEMA
    assert written["curves"] == curves
    page, text = (
        Page((tmp_path / "report.html").read_text()).text,
        (tmp_path / "report.md").read_text(),
    )
    assert "seed: 41" in page
    for figure in ("+0.0100 [-0.0100, +0.0300]", "88.9%", "0.3333", "1.5e-08", "6,387", "1:15"):
        assert figure in page, figure
        assert figure in text, figure


def test_long_curves_are_thinned_and_lose_no_validation() -> None:
    rows = [{"step": float(n), "loss": 1.0} for n in range(5000)]
    rows[123]["validation_accuracy"] = 0.5
    few = thinned(rows)
    assert len(few) <= MOST_ROWS + 1
    assert rows[123] in few
    assert few[0] is rows[0]
    assert few[-1] is rows[-1]
    assert thinned([]) == []


def test_a_secret_is_named_however_a_page_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "a<b&\"c'd")
    text = html.page(results(), title="a<b&\"c'd", config="x: a<b&\"c'd", packages={})
    hidden = masked(text)
    assert "c&#39;d" in text
    assert "c&#39;d" not in hidden
    assert hidden.count("${oc.env:MY_TOKEN}") == text.count("c&#39;d") == 3


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_colors_can_be_told_from_the_paper(scheme: int) -> None:
    """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for lines and marks."""
    style = (html.TEMPLATES / "style.css").read_text()
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for ground in ("paper", "card"):
        for name in ("ink", "muted", "better", "worse"):
            assert contrast(colors[name], colors[ground]) >= 4.5, (name, ground)
    for place in range(len(svg.SERIES)):
        assert contrast(colors[f"series-{place}"], colors["paper"]) >= 3, place


def many_terms(found: dict[str, Any]) -> None:
    for point in found["curves"]["student"]:
        point |= {f"term{i}": float(i) for i in range(20)}


def other_scripts(found: dict[str, Any]) -> None:
    found["rows"]["مدل 学生 👩\u200d💻"] = row(megabytes=3.0)


def many_models(found: dict[str, Any]) -> None:
    found["rows"] |= {f"student form {i}": row(megabytes=5.0 + i) for i in range(40)}


def no_numbers(found: dict[str, Any]) -> None:
    for of_row in found["rows"].values():
        of_row |= {"accuracy": math.nan, "headline_interval": [math.nan, math.nan]}
        of_row |= {"latency_p50_ms": 0.0, "megabytes": None}
    for point in found["curves"]["student"]:
        point["loss"] = math.nan


def no_curves(found: dict[str, Any]) -> None:
    found["curves"] = {"student": [], "control": found["curves"]["control"][:1]}


@pytest.mark.parametrize("change", [many_terms, other_scripts, many_models, no_numbers, no_curves])
def test_odd_results_have_a_page(change: Callable[[dict[str, Any]], None]) -> None:
    found = results()
    change(found)
    page = Page(html.page(found, title="odd", packages={}))
    assert page.unbalanced == []
    for name in found["rows"]:
        assert name in page.text


def test_ticks_of_a_logarithmic_axis_are_numbers() -> None:
    found = results() | {"headline": "perplexity", "higher_is_better": False}
    for place, name in enumerate(found["rows"]):
        value = 36.5 + 4 * place
        found["rows"][name] |= {"perplexity": value, "headline_interval": [value - 1, value + 1]}
    for point in found["curves"]["student"]:
        point["validation_perplexity"] = 50.0 - point["step"]
    page = Page(html.page(found, title="t", packages={}))
    assert "mathdefault" not in page.text
    assert "$" not in page.text
    pictures = [it for _, _, group in html._pictures(found) for it in group]
    shown = [it.svg for it in pictures if "perplexity against" in it.title]
    assert len(shown) == 2
    assert all(">40</" in svg_of for svg_of in shown)
    assert "p50 latency of one text" in shown[1]


def test_the_front_is_of_those_that_nothing_beats() -> None:
    costs, values = [1.0, 2.0, 2.0, 4.0, 5.0], [0.5, 0.7, 0.6, 0.7, 0.9]
    assert svg.pareto(costs, values, rises=True) == [0, 1, 4]
    assert svg.pareto(costs, values, rises=False) == [0]
    assert svg.pareto([3.0], [0.1], rises=True) == [0]
