"""Pictures of a run and of a sweep: PNG, drawn without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from distillkit.console.progress import visible
from distillkit.metrics.calibration import Reliability
from distillkit.metrics.titles import title

matplotlib.use("Agg")

from matplotlib import pyplot as plt

COLOURS = {
    "teacher": "#4c566a",
    "student": "#0b7285",
    "control": "#e67700",
    "untrained": "#868e96",
}
FEW = 10  # points that are marked
LOGARITHMIC = ("perplexity",)  # it is the exponential of what is trained


def learning_curves(
    runs: Mapping[str, Sequence[Mapping[str, float]]],
    teacher: float | None,
    headline: str,
    path: Path,
) -> None:
    """Validation score and training loss against the optimizer step, a line a run."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    key = f"validation_{headline}"
    for name, rows in runs.items():
        scored = [row for row in rows if key in row]
        colour = COLOURS.get(name)
        for axes, points, label in ((left, scored, key), (right, rows, "loss")):
            axes.plot(
                [r["step"] for r in points],
                [r[label] for r in points],
                label=_text(name),
                color=colour,
                marker="o" if len(points) < FEW else None,  # a line of one point is not to be seen
            )
    if teacher is not None:
        left.axhline(
            teacher, color=COLOURS["teacher"], linestyle="--", linewidth=1, label="teacher"
        )
    if headline in LOGARITHMIC:
        left.set_yscale("log")
    left.set(xlabel="optimizer step", ylabel=f"validation {_named(headline)}")
    right.set(xlabel="optimizer step", ylabel="training loss (each its own)")
    left.legend(frameon=False)
    right.legend(frameon=False)
    _save(figure, (left, right), path)


def quality_against_size(rows: Mapping[str, Mapping[str, Any]], headline: str, path: Path) -> None:
    """The headline metric, with its bootstrap interval, against the number of parameters."""
    rows = {name: row for name, row in rows.items() if row.get("parameters")}
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    for name, row in rows.items():
        low, high = row["headline_interval"]
        value = row[headline]
        axes.errorbar(
            row["parameters"] / 1e6,
            value,
            yerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
            fmt="o",
            capsize=4,
            color=COLOURS.get(name),
        )
        axes.annotate(
            _text(name), (row["parameters"] / 1e6, value), (8, 3), textcoords="offset points"
        )
    axes.set_xscale("log")
    if headline in LOGARITHMIC:
        axes.set_yscale("log")
    sizes = [row["parameters"] / 1e6 for row in rows.values()]
    axes.set_xlim(min(sizes) / 1.6, max(sizes) * 2.2)
    ticks = sorted({float(f"{s:.3g}") for s in sizes})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="parameters, millions", ylabel=_named(headline))
    _save(figure, (axes,), path)


def reliability_diagram(bins: Mapping[str, Reliability], path: Path) -> None:
    """Accuracy against confidence, a panel a model; the diagonal is perfect calibration."""
    figure, panels = plt.subplots(
        1,
        len(bins),
        figsize=(3.2 * len(bins), 3.4),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    for axes, (name, bins_of_row) in zip(panels[0], bins.items(), strict=True):
        filled = bins_of_row.count > 0
        widths = np.diff(bins_of_row.edges)[filled]
        axes.bar(
            bins_of_row.edges[:-1][filled],
            bins_of_row.accuracy[filled],
            width=widths,
            align="edge",
            color=COLOURS.get(name),
            alpha=0.75,
            edgecolor="white",
        )
        axes.plot([0, 1], [0, 1], color="#868e96", linestyle="--", linewidth=1)
        axes.set(
            title=f"{_text(name)}: ECE {bins_of_row.expected_calibration_error:.3f}",
            xlabel="confidence",
            xlim=(0, 1),
            ylim=(0, 1),
        )
    panels[0][0].set_ylabel("accuracy")
    _save(figure, tuple(panels[0]), path)


def leaderboard_plot(
    labels: Sequence[str], scores: Sequence[float], headline: str, path: Path
) -> None:
    """A bar for each run of a sweep, the best on top; the axis begins near the worst."""
    figure, axes = plt.subplots(
        figsize=(8, 0.45 * sum(label.count("\n") + 1 for label in labels) + 1.4),
        layout="constrained",
    )
    places = np.arange(len(labels))[::-1]
    axes.barh(places, scores, color=COLOURS["student"], alpha=0.85)
    axes.set_yticks(places, [*map(_text, labels)])
    spread = max(scores) - min(scores)
    margin = max(spread * 0.5, 0.005)
    axes.set_xlim(max(0.0, min(scores) - margin), min(1.0, max(scores) + margin))
    for place, score in zip(places, scores, strict=True):
        axes.annotate(f"{score:.4f}", (score, place), (4, -3), textcoords="offset points")
    axes.set_xlabel(f"student {_named(headline)} (the axis does not begin at 0)")
    _save(figure, (axes,), path)


def _text(label: str) -> str:
    """A label as it is: dollars begin no formula, an underscore hides it from no legend."""
    text = visible(label).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _named(headline: str) -> str:
    return _text(title(headline))


def _save(figure: Any, panels: Sequence[Any], path: Path) -> None:
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=130, format="png")
    plt.close(figure)
