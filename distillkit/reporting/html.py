"""A run's report as one page: no network, no script needed, light and dark, paper and phone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from distillkit.console.progress import clock, visible
from distillkit.console.wording import brief, size
from distillkit.metrics.calibration import Reliability
from distillkit.metrics.titles import title as title_of
from distillkit.reporting import svg
from distillkit.reporting.report import cells, footnote, sentences
from distillkit.reporting.verdicts import RATIOS, gain_of, headline, is_busy, verdicts

TEMPLATES = Path(__file__).parent / "templates"
LOGARITHMIC = ("perplexity",)  # it is the exponential of what is trained
MOST_LINES = len(svg.SERIES) - 1  # of a picture, the teacher's color left out
TERMS = ("step", "lr", "tokens", "loss")  # of a logged row: no terms of the loss


def render(template: str, **content: Any) -> str:
    """A page; whatever text it is given is shown as it is."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = size
    environment.filters["clock"] = clock
    return environment.get_template(template).render(**content)


def _visible(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def page(
    results: Mapping[str, Any], *, title: str, config: str = "", packages: Mapping[str, str]
) -> str:
    """The page of one run; `config` is the whole of it as YAML, `packages` name -> version."""
    compared = results["comparison"]
    return render(
        "report.html.j2",
        title=title,
        headline=headline(results),
        tiles=_tiles(results),
        table=table_of(results),
        footnote=footnote(results),
        sentences=sentences(results),
        verdicts=verdicts(results),
        level=results["level"],
        groups=_pictures(results),
        classes=_classes(compared.get("classes") or {}),
        layer_maps=results.get("layer_maps", {}),
        stages=_stages(results.get("stages", [])),
        store=store_lines(results.get("targets") or {}),
        data=data_lines(results),
        disagreements=example_lines(compared.get("disagreements") or []),
        samples=compared.get("samples", []),
        run=results.get("run", {}),
        phases=results.get("phases", []),
        config=config,
        slices=slice_lines(results),
        published=results.get("published", []),
        environment=dict(results["environment"]),
        packages=packages,
    )


def table_of(results: Mapping[str, Any]) -> dict[str, Any]:
    """Titles, and rows of cells as (text, the number to sort by; "" for none)."""
    titles, body = cells(results)
    rows = [[(text, _number(text)) for text in row] for row in body]
    return {"titles": titles, "rows": rows, "student": "student"}


def _number(text: str) -> str:
    first = text.replace(",", "").split(" ")[0]
    try:
        return str(float(first))
    except ValueError:
        return ""


def _tiles(results: Mapping[str, Any]) -> list[dict[str, str]]:
    """The few figures that a reader looks for first."""
    rows, compared = results["rows"], results["comparison"]
    if "student" not in rows or results.get("reference"):
        return []
    name = results["headline"]
    value = rows["student"][name]
    low, high = rows["student"].get("headline_interval", (value, value))
    tiles = [_tile(f"{value:.4g}", title_of(name), f"{low:.4g} to {high:.4g}")]
    if compared.get("kept") is not None:
        tiles.append(_tile(f"{compared['kept']:.1%}", f"of the teacher's {title_of(name)}", ""))
    gains = [it for it in verdicts(results) if it.other == "control"]
    gains = [it for it in gains if it.column in (name, "nll")][:1]
    tiles += [
        _tile(f"{it.difference:+.4f}", f"{it.title} over the control", it.word) for it in gains
    ]
    for key, more, less, same in RATIOS:
        if compared.get(key) is not None:
            ratio, word = (compared[key], more) if compared[key] >= 1 else (1 / compared[key], less)
            figure = f"{ratio:.1f}x"
            words = f"{same} as the teacher" if figure == "1.0x" else f"{word} than the teacher"
            doubt = "the machine was busy" if key == "faster" and is_busy(results) else ""
            tiles.append(_tile(figure, words, doubt))
    return tiles


def _tile(figure: str, label: str, detail: str) -> dict[str, str]:
    return {"figure": figure, "what": label, "more": detail}


def _pictures(results: Mapping[str, Any]) -> list[tuple[str, str, list[svg.Picture]]]:
    """(heading, what to look for, pictures) of each group that there is."""
    groups = [
        ("Learning curves", CURVES, _curves(results)),
        ("Quality against cost", COSTS, _quality(results)),
        ("Reliability", RELIABLE, _reliability(results)),
    ]
    return [group for group in groups if group[2]]


CURVES = "How the scores on the validation split and the loss change while a model learns."
COSTS = (
    "Up is better, left is cheaper (a falling measure: down is better). No model beats one on the "
    "dashed front in both. Bars are the intervals of the choice of held-out examples."
)
RELIABLE = (
    "A bar on the diagonal: of what a model says with that confidence, so much is right. Below it "
    "the model is too sure."
)


def _curves(results: Mapping[str, Any]) -> list[svg.Picture]:
    runs: Mapping[str, Sequence[Mapping[str, float]]] = results.get("curves", {})
    places, name = svg.models([*runs]), results["headline"]
    key, pictures = f"validation_{name}", []
    scored = [_curve(run, rows, key, places[run]) for run, rows in runs.items()]
    scored = [it for it in scored if it.x]
    if scored:
        best = results.get("teacher_validation")
        pictures.append(
            svg.curves(
                scored,
                title=f"Validation {title_of(name)}",
                y=title_of(name),
                level=("teacher", best) if best is not None else None,
                logarithmic=name in LOGARITHMIC,
            )
        )
    losses = [_curve(run, rows, "loss", places[run]) for run, rows in runs.items()]
    losses = [it for it in losses if it.x]
    if losses:
        pictures.append(svg.curves(losses, title="Training loss, each model its own", y="loss"))
    for run, rows in runs.items():
        terms = dict.fromkeys(k for row in rows for k in row if _is_term(k))
        lines = [_curve(term, rows, term, 1 + n % MOST_LINES) for n, term in enumerate(terms)]
        for begin in range(0, len(lines) if len(lines) > 1 else 0, MOST_LINES):
            part = lines[begin : begin + MOST_LINES]
            pictures.append(svg.curves(part, title=f"Loss of the {run} by term", y="term"))
    return pictures


def _is_term(key: str) -> bool:
    return key not in TERMS and not key.startswith("validation_")


def _curve(name: str, rows: Sequence[Mapping[str, float]], key: str, place: int) -> svg.Curve:
    found = [row for row in rows if key in row]
    return svg.Curve(name, [row["step"] for row in found], [row[key] for row in found], place)


def _quality(results: Mapping[str, Any]) -> list[svg.Picture]:
    name, rows = results["headline"], results["rows"]
    rises = results.get("higher_is_better", True)
    pictures: list[svg.Picture] = []
    places = svg.models([*rows])
    axes = (
        ("megabytes", 1.0, "size on disk, MB"),
        ("parameters", 1e-6, "parameters, millions"),
        ("latency_p50_ms", 1.0, "p50 latency of one text, ms"),
    )
    for column, scale, label in axes:
        usable = {row: it for row, it in rows.items() if it.get(column) and name in it}
        if not usable or (column == "parameters" and pictures):
            continue
        points = [
            svg.Point(
                row,
                it[column] * scale,
                it[name],
                tuple(it.get("headline_interval", (it[name], it[name]))),
                places[row],
            )
            for row, it in usable.items()
        ]
        front = svg.pareto([p.cost for p in points], [p.value for p in points], rises=rises)
        pictures.append(
            svg.quality(
                points,
                front,
                title=f"{title_of(name)} against {label.split(',')[0]}",
                x=label,
                y=title_of(name),
                log_y=name in LOGARITHMIC,
            )
        )
    return pictures


def _reliability(results: Mapping[str, Any]) -> list[svg.Picture]:
    bins = results.get("reliability") or {}
    places = svg.models([*bins])
    return [
        svg.reliability(row, Reliability.of_record(it), places[row]) for row, it in bins.items()
    ]


def _classes(classes: Mapping[str, Any]) -> dict[str, Any]:
    """Each class with its scores, and the confusion matrices, where there are classes."""
    if not classes:
        return {}
    rows = classes["rows"]
    order = [name for name in ("student", "teacher", "control") if name in rows] or [*rows]
    lines = (
        [
            {
                "name": name,
                "support": classes["support"][i],
                "scores": [rows[row]["f1"][i] for row in order],
                "precision": rows[order[0]]["precision"][i],
                "recall": rows[order[0]]["recall"][i],
            }
            for i, name in enumerate(classes["names"])
        ]
        if order
        else []
    )
    matrices = {row: rows[row]["confusion"] for row in order if "confusion" in rows[row]}
    return {
        "total": classes["classes"],
        "rows": order,
        "lines": lines,
        "names": classes["names"],
        "matrices": {row: _shares(matrix) for row, matrix in matrices.items()},
    }


def _shares(matrix: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """Each count of a confusion matrix, and its share of its label."""
    return [[(n, n / max(1, sum(line))) for n in line] for line in matrix]


def _stages(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The stages, those of the same name together, with their share of the time of all."""
    merged: dict[str, dict[str, Any]] = {}
    for it in stages:
        line = merged.setdefault(
            it["stage"], {"stage": it["stage"], "seconds": None, "megabytes": 0.0, "made": False}
        )
        if it["seconds"] is not None:
            line["seconds"] = (line["seconds"] or 0.0) + it["seconds"]
        line["megabytes"] += it["megabytes"]
        line["made"] |= it["made"]
    total = sum(line["seconds"] or 0.0 for line in merged.values())
    for line in merged.values():
        line["share"] = (line["seconds"] or 0.0) / max(total, 1e-9)
    return {"lines": [*merged.values()], "total": total} if merged else {}


def store_lines(store: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of what is known of a target store."""
    if not store:
        return []
    codec = {k: v for k, v in store["codec"].items() if k not in ("name", "codec")}
    name = store["codec"].get("name", store["codec"].get("codec", ""))
    settings = ", ".join(f"{k} {v}" for k, v in codec.items())
    lines = [
        ("codec", brief(f"{name} ({settings})" if settings else str(name), 200)),
        ("examples", f"{store['examples']:,}"),
        ("positions", f"{store['positions']:,} of {store['outputs']:,} outputs"),
        (
            "size",
            f"{size(store['megabytes'] * 1e6)}, {store['bytes_per_position']:.1f} bytes a position",
        ),
    ]
    titles = {
        "kept_mass": "kept mass",
        "kl": "KL (teacher || stored), nats",
        "label_kl": "KL (teacher || stored), nats, all labels",
        "entropy": "entropy of the teacher, nats",
        "ids": "ids kept a position",
        "gradient_bias": "bias of the gradient (L1), at most",
        "gradient_noise": "noise of the gradient (L2)",
    }
    return lines + [
        (title, f"{store['quality'][key]:.4g}")
        for key, title in titles.items()
        if key in store["quality"]
    ]


def slice_lines(results: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of models, and a line a slice: name, value, examples, scores, gain and verdict."""
    found = results["comparison"].get("slices") or []
    if not found:
        return {}
    models = [*found[0]["rows"]]
    lines = []
    for part in found:
        gain = part.get("student_minus_control")
        shown = gain_of(results, results["headline"], "control", gain) if gain else None
        lines.append(
            {
                "slice": part["slice"],
                "value": part["value"],
                "examples": part["examples"],
                "scores": [part["rows"][row] for row in models],
                "gain": shown.text if shown else "",
                "word": shown.word if shown else "",
            }
        )
    return {"models": models, "lines": lines, "has_gain": any(it["gain"] for it in lines)}


def data_lines(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of what is known of the data: rows, what was dropped, unknown tokens, classes.

    Of an evaluation alone it is what the held-out text shows.
    """
    found = results.get("data") or {}
    lines = [(f"rows, {name}", f"{count:,}") for name, count in found.get("rows", {}).items()]
    lines += [
        (f"dropped, {why}", f"{count:,}" if isinstance(count, int) else str(count))
        for why, count in found.get("dropped", {}).items()
    ]
    lines += [
        (f"unknown tokens, {name}", f"{row['unknown_tokens']:.3%} of the held-out text")
        for name, row in results["rows"].items()
        if row.get("unknown_tokens") is not None
    ]
    if "classes" in found:
        counts = ", ".join(f"{name} {n:,}" for name, n in found["class_counts"].items())
        lines.append(("classes", f"{found['classes']}; in the training text: {counts}"))
    return lines


def example_lines(examples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The examples with what each side says as one line."""
    return [
        {
            "row": it["row"],
            "text": it["text"],
            "pair": it.get("pair"),
            "distance": it["distance"],
            "label": it.get("label"),
            "models": [(row, _answer(it, row)) for row in ("teacher", "student")],
        }
        for it in examples
    ]


def _answer(example: Mapping[str, Any], row: str) -> str:
    if f"{row}_nll" in example:
        return f"{example[f'{row}_nll']:.3f} nats a token"
    if row not in example:
        return ""
    sure = example.get(f"{row}_confidence")
    return str(example[row]) + ("" if sure is None else f" ({sure:.0%} sure)")
