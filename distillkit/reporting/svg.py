"""Pictures for a page: SVG elements whose colours are the page's, light or dark.

The same input gives the same bytes. Colours of matplotlib are placeholders, each of which becomes a
CSS variable; text stays text. Every picture has a title and a description for those who do not see
it.
"""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np

from distillkit.console.progress import visible
from distillkit.console.wording import brief
from distillkit.metrics.calibration import Reliability

SVG, LINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
INK, MUTED, LINE, PAPER = "#010101", "#010102", "#010103", "#010104"  # placeholders
SERIES = tuple(f"#0102{n:02x}" for n in range(8))
VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper"} | {
    colour: f"series-{n}" for n, colour in enumerate(SERIES)
}
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SIZE = (4.8, 3.2)  # inches; a phone shows it four fifths as large
LONGEST_TITLE = 60  # characters
FEW = 10  # points that are marked
MOST_TICKS, WIDEST = 8, 40  # names below an axis; characters of one, or of all side by side
SETTINGS: Any = {
    "text.parse_math": False,  # a dollar is a dollar
    "svg.fonttype": "none",
    "svg.hashsalt": "distillkit",
    "font.family": ["DejaVu Sans"],  # measured with it; the page's own font shows it
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 11,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "legend.frameon": False,
    "savefig.transparent": True,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG element, what it is called, and what it shows in words."""

    title: str
    description: str
    svg: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A line: its points in order, and the place of its colour and dashes."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    place: int


@dataclass(frozen=True, slots=True)
class Point:
    """A model: what it costs, how good it is, and its interval (none: the value alone)."""

    name: str
    cost: float
    value: float
    interval: tuple[float, float]
    place: int


def curves(
    lines: Sequence[Curve],
    *,
    title: str,
    y: str,
    level: tuple[str, float] | None = None,
    logarithmic: bool = False,
) -> Picture:
    """Values against the optimizer step, with a horizontal line at `level` (its name, value)."""
    with _style():
        figure, axes = _figure(title, "optimizer step", y)
        for line in lines:
            axes.plot(
                line.x,
                line.y,
                color=SERIES[line.place],
                linestyle=STYLES[line.place % len(STYLES)],
                marker=MARKERS[line.place] if len(line.x) < FEW else None,
                markersize=5,
                label=text(line.name),
            )
        if level:
            axes.axhline(level[1], color=SERIES[0], linewidth=1, linestyle="--", label=level[0])
        if logarithmic:
            _logarithmic(axes)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=9)
        description = "; ".join(
            f"{it.name} from {it.y[0]:.4g} to {it.y[-1]:.4g}" for it in lines if it.y
        )
        description += f"; {level[0]} at {level[1]:.4g}" if level else ""
        return _picture(figure, title, description)


def quality(
    points: Sequence[Point], front: Sequence[int], *, title: str, x: str, y: str, log_y: bool
) -> Picture:
    """What models reach against what they cost, with the `front` (places in `points`) joined."""
    with _style():
        figure, axes = _figure(title, x, y)
        axes.plot(
            [points[i].cost for i in front],
            [points[i].value for i in front],
            color=MUTED,
            linestyle="--",
            linewidth=1,
            drawstyle="steps-post",
            label="Pareto front",
        )
        for it in points:
            low, high = it.interval
            error = [[max(0.0, it.value - low)], [max(0.0, high - it.value)]]
            style: dict[str, Any] = {"color": SERIES[it.place], "fmt": MARKERS[it.place]}
            axes.errorbar(it.cost, it.value, yerr=error, capsize=4, markersize=7, **style)
        axes.set_xscale("log")
        _room_for_names(axes, [it.cost for it in points])
        if log_y:
            _logarithmic(axes)
        _names(axes, points)
        axes.legend(fontsize=9, loc="lower right")
        description = "; ".join(
            f"{it.name}: {it.value:.4g} at {it.cost:.3g}" for it in points if it.name
        )
        names = ", ".join(points[i].name for i in front)
        return _picture(figure, title, f"{description}. On the Pareto front: {names}")


def reliability(name: str, bins: Reliability, place: int) -> Picture:
    """Accuracy against confidence; the diagonal is perfect calibration."""
    error = bins.expected_calibration_error
    title = f"{name}: ECE {error:.4f}"
    with _style():
        figure, axes = _figure(title, "confidence", "accuracy", size=(3.2, 3.2))
        filled = bins.count > 0
        axes.bar(
            bins.edges[:-1][filled],
            bins.accuracy[filled],
            width=np.diff(bins.edges)[filled],
            align="edge",
            color=SERIES[place],
            alpha=0.75,
            edgecolor=PAPER,
        )
        axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        description = ", ".join(
            f"{accuracy:.2f} right at {confidence:.2f}"
            for accuracy, confidence in zip(
                bins.accuracy[filled], bins.confidence[filled], strict=True
            )
        )
        return _picture(figure, title, f"Accuracy by confidence: {description}")


def effect(
    runs: Sequence[tuple[float, float]],
    means: Sequence[tuple[float, float]],
    names: Sequence[str],
    *,
    title: str,
    y: str,
) -> Picture:
    """Each run as (value of a key, score), and the means at the values, named by `names`."""
    with _style():
        figure, axes = _figure(title, "", y)
        axes.scatter(*zip(*runs, strict=True), color=SERIES[1], marker="o", s=28, label="run")
        axes.plot(*zip(*means, strict=True), color=SERIES[2], marker="D", label="mean")
        places = [x for x, _ in means]
        if min(places) > 0 and max(places) >= 8 * min(places):
            axes.set_xscale("log")
        every = math.ceil(len(names) / MOST_TICKS)
        axes.set_xticks(places[::every], [text(name) for name in names[::every]])
        axes.minorticks_off()
        if sum(map(len, names[::every])) > WIDEST:
            axes.tick_params(axis="x", rotation=30)
        axes.legend(fontsize=9)
        description = "; ".join(
            f"{name}: mean {mean:.4f}" for name, (_, mean) in zip(names, means, strict=True)
        )
        return _picture(figure, title, description)


def text(label: str, limit: int = WIDEST) -> str:
    """A label as it is, long ones cut: an underscore hides it from no legend."""
    shown = brief(visible(label), limit)
    return f" {shown}" if shown.startswith("_") else shown


def pareto(costs: Sequence[float], values: Sequence[float], *, rises: bool) -> list[int]:
    """The places of those that none beats at their cost or a lower one, the cheapest first."""
    sign = 1.0 if rises else -1.0
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -sign * values[i]))
    front: list[int] = []
    for i in order:
        if not front or sign * values[i] > sign * values[front[-1]]:
            front.append(i)
    return front


def _style() -> AbstractContextManager[None]:
    """The settings of a page's pictures; matplotlib is loaded by who draws, not by who may."""
    import matplotlib

    found: AbstractContextManager[None] = matplotlib.rc_context(SETTINGS)
    return found


def _figure(title: str, x: str, y: str, size: tuple[float, float] = SIZE) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")  # not pyplot's: it keeps none of them
    axes = figure.subplots()
    axes.set(xlabel=text(x), ylabel=text(y))
    axes.set_title(text(title, LONGEST_TITLE), loc="left")
    return figure, axes


def _logarithmic(axes: Any) -> None:
    """Equal ratios are equally far apart upwards; ticks are numbers as they are read."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _room_for_names(axes: Any, costs: Sequence[float]) -> None:
    """Ticks at the costs themselves, and room for a name on the right."""
    wide = (max(costs) / min(costs)) ** 0.35
    axes.set_xlim(min(costs) / 1.4, max(costs) * max(1.8, wide))
    ticks: list[float] = []
    for cost in sorted(costs):  # those too near to another would overprint it
        if not ticks or cost > ticks[-1] * 1.35:
            ticks.append(cost)
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axes.minorticks_off()


def _names(axes: Any, points: Sequence[Point]) -> None:
    """The name beside each point; those that would overprint another stand below it."""
    places = axes.transData.transform([(it.cost, it.value) for it in points])
    used: list[tuple[float, float]] = []
    for it, (x, y) in sorted(zip(points, places, strict=True), key=lambda pair: -pair[1][1]):
        drop = 0.0
        if not it.name:
            continue
        while any(abs(x - a) < 12 * len(it.name) and abs(y - drop - b) < 16 for a, b in used):
            drop += 4.0
        used.append((x, y - drop))
        offset = (8, 5 - drop * 0.72)  # pixels of 100 an inch, as points
        name = axes.annotate(text(it.name), (it.cost, it.value), offset, textcoords="offset points")
        name.set_in_layout(False)  # it may stand outside: the axes do not shrink for it


def _picture(figure: Any, title: str, description: str) -> Picture:
    file = io.StringIO()
    for axes in figure.axes:
        if legend := axes.get_legend():
            legend.set_in_layout(False)  # the axes do not shrink for a long one
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's fonts have them
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return Picture(visible(title), visible(description), _element(file.getvalue()))


def _element(document: str) -> str:
    """The svg element of a document, without names: colours are variables, ids only where used."""
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(document)
    for parent in root.iter():
        for child in [*parent]:
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    used = {v.removeprefix("#") for it in root.iter() if (v := it.get(LINK))}
    used |= {v[5:-1] for it in root.iter() if (v := it.get("clip-path")) and v.startswith("url(#")}
    for it in root.iter():
        if it.get("id") not in used:
            it.attrib.pop("id", None)
        if link := it.attrib.pop(LINK, None):
            it.set("href", link)
        for name in ("style", "fill", "stroke"):
            if value := it.get(name):
                it.set(name, _themed(value))
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("aria-hidden", "true")  # the figure around it says what it shows
    return ElementTree.tostring(root, encoding="unicode")


def _themed(style: str) -> str:
    for colour, variable in VARIABLES.items():
        style = style.replace(colour, f"var(--{variable})")
    return style.replace("'DejaVu Sans'", "inherit")


def models(names: Sequence[str]) -> Mapping[str, int]:
    """The place of each model's colour: teacher, student and control have their own."""
    fixed = {"teacher": 0, "student": 1, "control": 2, "untrained": 3}
    others = [name for name in names if name not in fixed]
    return fixed | {name: 4 + i % (len(SERIES) - 4) for i, name in enumerate(others)}
