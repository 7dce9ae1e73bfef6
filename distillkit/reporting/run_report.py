"""The report of a run or an evaluation: results.json, report.md, report.html and the plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.artifacts.workspace import read_json, write_json
from distillkit.console.escaping import markdown
from distillkit.console.progress import clock, visible
from distillkit.console.wording import size
from distillkit.reporting import html
from distillkit.reporting.report import footnote, markdown_table, sentences, setting
from distillkit.reporting.verdicts import headline, verdicts

SCHEMA = 1  # of results.json: raised when a key changes its meaning or goes
MOST_ROWS = 300  # of a model's learning curve
PAGE = "report.html"


def write_report(
    results: Mapping[str, Any],
    *,
    title: str,
    metrics: Mapping[str, list[dict[str, float]]],
    teacher_validation: float | None,
    out: Path,
) -> None:
    """Write results.json, report.md, report.html and the plots under `out`.

    The page shows config.yaml and environment.json, where they are there.
    """
    curves = {name: thinned(rows) for name, rows in metrics.items()}
    results = {"schema": SCHEMA, **results, "curves": curves}
    if teacher_validation is not None:
        results["teacher_validation"] = teacher_validation
    write_json(out / "results.json", results)
    pictures = _plots(results, metrics, teacher_validation, out)
    (out / "report.md").write_text(_markdown(results, title, pictures), encoding="utf-8")
    config, environment = out / "config.yaml", out / "environment.json"
    page = html.page(
        results,
        title=title,
        config=config.read_text(encoding="utf-8") if config.exists() else "",
        packages=read_json(environment)["packages"] if environment.exists() else {},
    )
    (out / PAGE).write_text(page, encoding="utf-8")


def thinned(rows: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """At most `MOST_ROWS` of the logged rows, evenly spread, and all that were validated."""
    chosen = {*np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(int).tolist()}
    chosen |= {i for i, row in enumerate(rows) if any(k.startswith("validation_") for k in row)}
    return [rows[i] for i in sorted(chosen)]


def _plots(
    results: Mapping[str, Any],
    metrics: Mapping[str, list[dict[str, float]]],
    teacher_validation: float | None,
    out: Path,
) -> list[tuple[str, str]]:
    """(caption, file) of the plots as PNG, for report.md."""
    from distillkit.metrics.calibration import Reliability
    from distillkit.reporting import plots

    pictures, name = [], results["headline"]
    if metrics:
        plots.learning_curves(metrics, teacher_validation, name, out / "learning_curves.png")
        pictures.append(("Learning curves", "learning_curves.png"))
    plots.quality_against_size(results["rows"], name, out / "quality_size.png")
    pictures.append(("Quality against size", "quality_size.png"))
    if results.get("reliability"):
        bins = {row: Reliability.of_record(r) for row, r in results["reliability"].items()}
        plots.reliability_diagram(bins, out / "reliability.png")
        pictures.append(("Reliability", "reliability.png"))
    return pictures


def _markdown(results: Mapping[str, Any], title: str, pictures: list[tuple[str, str]]) -> str:
    lines = [f"# {markdown(title)}", "", markdown(headline(results)), ""]
    lines += [*markdown_table(results), ""]
    lines += [markdown(footnote(results)) + ".", "", *map(markdown, sentences(results)), ""]
    lines += _differences(results)
    lines += _slices(results)
    for block in results.get("published") or []:
        lines += _figures("Published beside measured", [*block.items()])
    lines += ["## The run", "", *_run_lines(results), ""]
    for caption, file in pictures:
        lines += [f"## {caption}", "", f"![{caption}]({file})", ""]
    lines += _classes(results["comparison"].get("classes") or {})
    lines += _disagreements(results["comparison"].get("disagreements") or [])
    lines += _stages(results.get("stages") or [])
    lines += _figures("The stored targets", html.store_lines(results.get("targets") or {}))
    lines += _figures("Data", html.data_lines(results))
    return "\n".join(lines + _samples(results["comparison"].get("samples", [])))


def _table(heading: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A section with a table; nothing without rows."""
    if not rows:
        return []
    lines = [f"| {' | '.join(markdown(cell) for cell in row)} |" for row in (titles, *rows)]
    rule = f"| {' | '.join('---' for _ in titles)} |"
    return [f"## {heading}", "", lines[0], rule, *lines[1:], ""]


def _figures(heading: str, lines: Sequence[tuple[str, str]]) -> list[str]:
    return _table(heading, ("what", "value"), lines)


def _differences(results: Mapping[str, Any]) -> list[str]:
    rows = [(it.title, it.other, it.text, it.word) for it in verdicts(results)]
    return _table("Is the difference real?", ("measure", "against", "difference", "verdict"), rows)


def _slices(results: Mapping[str, Any]) -> list[str]:
    found = html.slice_lines(results)
    if not found:
        return []
    titles = ["slice", "value", "examples", *found["models"]]
    titles += ["gain over control", "verdict"] if found["has_gain"] else []
    rows = [
        [
            it["slice"],
            it["value"],
            f"{it['examples']:,}",
            *(f"{score:.4f}" for score in it["scores"]),
            *((it["gain"], it["word"]) if found["has_gain"] else ()),
        ]
        for it in found["lines"]
    ]
    return _table("Slices", titles, rows)


def _classes(classes: Mapping[str, Any]) -> list[str]:
    if not classes:
        return []
    rows = classes["rows"]
    titles = ["class", "held-out", *(f"F1, {row}" for row in rows)]
    body = [
        [name, f"{classes['support'][i]:,}", *(f"{it['f1'][i]:.4f}" for it in rows.values())]
        for i, name in enumerate(classes["names"])
    ]
    is_whole = len(classes["names"]) == classes["classes"]
    return _table("Classes" if is_whole else "The worst classes", titles, body)


def _disagreements(examples: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["## Where student and teacher differ most", ""] if examples else []
    for it in html.example_lines(examples):
        details = "; ".join(f"{row}: {answer}" for row, answer in it["models"] if answer)
        label = "" if it["label"] is None else f"label: {it['label']}; "
        text = " / ".join(part for part in (it["text"], it["pair"]) if part)
        lines.append(f"- {markdown(text)} ({markdown(label + details)})")
    return [*lines, ""] if lines else []


def _stages(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            it["stage"],
            "-" if it["seconds"] is None else clock(it["seconds"]),
            size(it["megabytes"] * 1e6),
            "made" if it["made"] else "found",
        )
        for it in stages
    ]
    return _table("Where the time went", ("stage", "time", "on disk", "in this run"), rows)


def _samples(samples: list[dict[str, str]]) -> list[str]:
    lines = ["## What they write", ""] if samples else []
    for sample in samples:
        for name, text in sample.items():
            lines += [f"- **{markdown(name)}**: {markdown(text)}"]
        lines.append("")
    return lines


def _run_lines(results: Mapping[str, Any]) -> list[str]:
    environment = results["environment"]
    shown = ", ".join(f"{key} {value}" for key, value in environment.items())
    lines = [f"- measured with {markdown(shown)}"]
    for name, value in results.get("run", {}).items():
        lines.append(f"- {markdown(name)}: {setting(name, value)}")
    for phase in results.get("phases", []):
        details = ", ".join(f"{name} {value}" for name, value in phase.items() if name != "name")
        lines.append(f"- phase {markdown(phase['name'])}: {markdown(details)}")
    for term, drawn in results.get("layer_maps", {}).items():
        lines += ["", f"Layers of the student that learn from the teacher's ({markdown(term)}):"]
        lines += ["", "```", visible(drawn), "```"]
    return lines
