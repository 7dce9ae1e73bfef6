"""A sweep as one page: leaderboard, seeds folded, the effect of each key, quality against cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from distillkit.artifacts.sweep_records import SweepState
from distillkit.console.wording import brief
from distillkit.metrics.titles import title as title_of
from distillkit.reporting import svg
from distillkit.reporting.html import render
from distillkit.reporting.leaderboard import Run, table_of
from distillkit.reporting.sweep_choice import sentence
from distillkit.reporting.sweeps import Effect, Folded, as_number, effects, folded, fronts, varied

AXES = {
    "megabytes": "size on disk, MB",
    "parameters": "parameters",
    "latency_p50_ms": "p50 latency of one text, ms",
}
MOST_BARS = 30  # runs of a picture


def page(runs: Sequence[Run], *, title: str, sweep: SweepState | None = None) -> str:
    """The page of these runs, the best one first, and of the sweep's jobs that were lost."""
    together, found = (folded(runs), effects(runs)) if runs else ([], [])
    titles, body = table_of([*runs], sweep.lost if sweep else {})
    rows = [[(text, _sortable(text)) for text in row] for row in body]
    results: Mapping[str, Any] = runs[0].results if runs else {"headline": ""}
    sentences = [sweep.sentence() + "." if sweep and sweep.missing else ""]
    sentences += [headline(runs, together), sentence(runs, sweep, varied(runs))] if runs else []
    return render(
        "sweep.html.j2",
        title=title,
        headline=" ".join(filter(None, sentences)),
        table={
            "titles": [title_of(name) for name in titles],
            "rows": rows,
            "student": "1",
        },
        folded=together,
        folded_keys=[*together[0].settings] if together else [],
        level=float(results.get("level", 0.95)),
        effects=found,
        measure=title_of(results["headline"]),
        pictures=[
            *(_effect(it, runs) for it in found if it.key != "seed"),
            *(_costs(runs) if runs else ()),
        ],
        command=results.get("run", {}).get("command", ""),
    )


def headline(runs: Sequence[Run], together: Sequence[Folded]) -> str:
    """The best of a sweep in a sentence or two, and whether the next one is worse for sure."""
    name = title_of(runs[0].results["headline"])
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    if not together:
        best = runs[0]
        settings = ", ".join(f"{k}={best.overrides.get(k, '')}" for k in varied(runs))
        text = f"Of {count} the best student has {name} {best.score:.4f}"
        text += f" ({settings})." if settings else "."
        if len(runs) > 1:
            text += " Each has one training seed; seed=0,1,2 swept with the rest tells the noise."
        return text
    best_of = together[0]
    settings = ", ".join(f"{k}={v}" for k, v in best_of.settings.items())
    text = f"Over {len(best_of.seeds)} seeds the best setting" + (f" ({settings})" * bool(settings))
    text += f" has {name} {best_of.score.text}."
    if best_of.gain is not None and best_of.word:
        against = f"{best_of.gain.mean:+.4f} ± {best_of.gain.mean - (best_of.gain.low or 0.0):.4f}"
        text += f" Against the control it is {best_of.word} ({against})."
    if len(together) > 1 and _overlap(best_of, together[1]):
        text += " The next setting is within its interval: between the two the seeds decide."
    return text


def _overlap(first: Folded, second: Folded) -> bool:
    ends = (first.score.low, first.score.high)
    if ends[0] is None or ends[1] is None:
        return False
    return ends[0] <= second.score.mean <= ends[1]


def _sortable(text: str) -> str:
    number = as_number(text.replace(",", ""))
    return "" if number is None else str(number)


def _effect(effect: Effect, runs: Sequence[Run]) -> svg.Picture:
    """The score of each run at its value of a key, and the means."""
    values = [*effect.means]
    numbers = [as_number(value) for value in values]
    is_scale = None not in numbers and len(set(numbers)) > 1
    places = {
        v: float(n) if is_scale and n is not None else i
        for i, (v, n) in enumerate(zip(values, numbers, strict=True))
    }
    return svg.effect(
        [(places[run.overrides.get(effect.key, "")], run.score) for run in runs],
        [(places[value], mean.mean) for value, mean in effect.means.items()],
        [brief(value, 16) or "(unset)" for value in values],
        title=f"Effect of {brief(effect.key, 40)}",
        y=title_of(runs[0].results["headline"]),
    )


def _costs(runs: Sequence[Run]) -> list[svg.Picture]:
    headline_of = runs[0].results["headline"]
    pictures: list[svg.Picture] = []
    for cost, front in fronts(runs).items():
        if cost == "parameters" and pictures:
            continue
        points = []
        for rank, run in enumerate(runs, start=1):
            row = run.results["rows"]["student"]
            ends = row.get("headline_interval", (run.score, run.score))
            name = str(rank) if rank - 1 in front or len(runs) <= MOST_BARS else ""
            points.append(svg.Point(name, row[cost], run.score, tuple(ends), 1))
        pictures.append(
            svg.quality(
                points,
                front,
                title=f"{title_of(headline_of)} against {AXES[cost].split(',')[0]}, by rank",
                x=AXES[cost],
                y=title_of(headline_of),
                log_y=False,
            )
        )
    return pictures


def summary(together: Sequence[Folded]) -> tuple[list[str], list[list[Any]]]:
    """(titles, rows) of the settings with their seeds folded, for a terminal."""
    titles = [*together[0].settings, "seeds", "mean ± interval", "- control", "verdict"]
    rows = [
        [
            *it.settings.values(),
            str(len(it.seeds)),
            it.score.text,
            f"{it.gain.mean:+.4f}" if it.gain else "",
            it.word,
        ]
        for it in together
    ]
    return titles, rows
