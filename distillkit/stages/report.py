"""Stage: an evaluation -> one table: terminal, results.json, report.md, model card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from distillkit.artifacts import write_json

# column -> (title, format, how it reads); a column stands in the table where a row has it
COLUMNS: dict[str, tuple[str, str]] = {
    "accuracy": ("accuracy", ".4f"),
    "pearson": ("Pearson", ".4f"),
    "spearman": ("Spearman", ".4f"),
    "rmse": ("RMSE", ".4f"),
    "macro_f1": ("macro-F1", ".4f"),
    "agreement": ("agreement", ".4f"),
    "kl_to_teacher": ("KL to teacher", ".4f"),
    "rmse_to_teacher": ("RMSE to teacher", ".4f"),
    "ece": ("ECE", ".4f"),
    "nll": ("NLL", ".4f"),
    "parameters": ("parameters", ",d"),
    "megabytes": ("MB", ".1f"),
    "latency_p50_ms": ("p50 ms", ".2f"),
    "latency_p95_ms": ("p95 ms", ".2f"),
    "sentences_per_second": ("sent./s", ",.0f"),
}


def cells(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """(titles, rows) of the table, formatted; a value that a row lacks is a dash."""
    rows: Mapping[str, Mapping[str, Any]] = results["rows"]
    columns = [c for c in COLUMNS if any(c in row for row in rows.values())]
    titles = ["", *(COLUMNS[c][0] for c in columns)]
    body = []
    for name, row in rows.items():
        shown = []
        for column in columns:
            value = row.get(column)
            is_itself = name == "teacher" and column in (
                "agreement",
                "kl_to_teacher",
                "rmse_to_teacher",
            )
            shown.append("-" if value is None or is_itself else format(value, COLUMNS[column][1]))
        body.append([name, *shown])
    return titles, body


def terminal_table(results: Mapping[str, Any], title: str) -> Table:
    """The table for a terminal."""
    titles, body = cells(results)
    table = Table(
        title=title, title_justify="left", caption=footnote(results), caption_justify="left"
    )
    for i, name in enumerate(titles):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in body:
        table.add_row(*row, style="bold" if row[0] == "student" else None)
    return table


def footnote(results: Mapping[str, Any]) -> str:
    """How the table was measured, in one or two sentences."""
    bins = f"ECE over {results['ece_bins']} equal-width bins; " if "ece" in _any(results) else ""
    return (
        f"{results['examples']:,} held-out examples; {bins}latency at batch 1 and throughput at "
        f"batch {results['batch_size']} in float32 on {results['environment']['threads']} "
        f"{results['device']} threads, tokenising not counted"
    )


def sentences(results: Mapping[str, Any]) -> list[str]:
    """What the comparison says, a sentence a line."""
    said = []
    compared = results["comparison"]
    if compared.get("kept") is not None:
        said.append(
            f"The student keeps {compared['kept']:.1%} of the teacher's {results['headline']}, is "
            f"{compared['smaller']:.1f}x smaller and {compared['faster']:.1f}x faster "
            f"({compared['faster_batched']:.1f}x in batches)."
        )
    gain = compared.get("student_minus_control")
    if gain:
        verdict = (
            "more than the choice of test examples explains"
            if gain["low"] > 0
            else "less than the choice of test examples explains"
            if gain["high"] < 0
            else "within what the choice of test examples explains"
        )
        said.append(
            f"Student - control: {gain['difference'] * 100:+.2f} points of {results['headline']} "
            f"[{gain['low'] * 100:+.2f}, {gain['high'] * 100:+.2f}] "
            f"({results['level']:.0%} bootstrap interval, one training seed): {verdict}."
        )
    return said


def write_report(
    results: Mapping[str, Any],
    *,
    title: str,
    metrics: Mapping[str, list[dict[str, float]]],
    predictions: Path,
    teacher_validation: float | None,
    out: Path,
) -> None:
    """Write results.json, report.md and the plots under `out`."""
    from distillkit.metrics.calibration import reliability
    from distillkit.stages import plots

    write_json(out / "results.json", results)
    pictures = []
    headline = results["headline"]
    if metrics:
        plots.learning_curves(metrics, teacher_validation, headline, out / "learning_curves.png")
        pictures.append(("Learning curves", "learning_curves.png"))
    plots.quality_against_size(results["rows"], headline, out / "quality_size.png")
    pictures.append(("Quality against size", "quality_size.png"))
    if "ece" in _any(results):
        with np.load(predictions) as stored:
            bins = {
                row: reliability(stored[row], stored["labels"], bins=results["ece_bins"])
                for row in results["rows"]
            }
        plots.reliability_diagram(bins, out / "reliability.png")
        pictures.append(("Reliability", "reliability.png"))
    lines = [f"# {title}", "", *markdown_table(results), "", footnote(results) + ".", ""]
    lines += [*sentences(results), ""]
    lines += ["## The run", "", *_run_lines(results), ""]
    for caption, file in pictures:
        lines += [f"## {caption}", "", f"![{caption}]({file})", ""]
    (out / "report.md").write_text("\n".join(lines), encoding="utf-8")


def markdown_table(results: Mapping[str, Any]) -> list[str]:
    """The table in Markdown."""
    titles, body = cells(results)
    rule = ["---", *("---:" for _ in titles[1:])]
    return [f"| {' | '.join(row)} |" for row in (titles, rule, *body)]


def model_card(results: Mapping[str, Any], *, name: str, recipe: str) -> str:
    """The student's README.md with the metadata that the hub reads, made from the results."""
    from huggingface_hub import EvalResult, ModelCardData

    regression = results["headline"] == "pearson"
    row = results["rows"]["student"]
    data = ModelCardData(
        library_name="transformers",
        tags=["distillkit", "knowledge-distillation"],
        pipeline_tag="text-classification",
        model_name=name,
        eval_results=[
            EvalResult(
                task_type="text-scoring" if regression else "text-classification",
                dataset_type="held-out",
                dataset_name=f"held-out split of {recipe}",
                metric_type=metric,
                metric_value=round(row[metric], 4),
            )
            for metric in ("accuracy", "macro_f1", "pearson", "spearman")
            if metric in row
        ],
    )
    use = [
        "```python",
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
        "",
        'model = AutoModelForSequenceClassification.from_pretrained("PATH")',
        'tokenizer = AutoTokenizer.from_pretrained("PATH")',
        "```",
    ]
    lines = ["---", data.to_yaml(), "---", f"# {name}", ""]
    lines += [f"Distilled with distillkit, recipe `{recipe}`.", "", *sentences(results), ""]
    lines += [*markdown_table(results), "", footnote(results) + ".", "", "## Use", "", *use, ""]
    return "\n".join(lines)


def _any(results: Mapping[str, Any]) -> Mapping[str, Any]:
    row: Mapping[str, Any] = next(iter(results["rows"].values()))
    return row


def _run_lines(results: Mapping[str, Any]) -> list[str]:
    environment = results["environment"]
    shown = ", ".join(f"{key} {value}" for key, value in environment.items())
    lines = [f"- measured with {shown}"]
    for name, value in results.get("run", {}).items():
        lines.append(f"- {name}: {value}")
    return lines
