"""Figures over seeds: their interval, a verdict beside what was published, a table of them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

LEVEL = 0.95
PERCENT = ("accuracy", "f1", "macro_f1", "micro_f1", "exact_match", "pearson", "spearman")
POINTS = ("rouge_l",)  # in results, too
FALLS = ("perplexity", "nll", "rmse")  # the lower the better


def interval(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half the width of its t-interval); of one value the second is not a number."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    spread = float(stats.tstd(values)) / math.sqrt(len(values))
    return mean, float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * spread


def shown(values: Sequence[float], digits: int = 2) -> str:
    """mean ± half the interval."""
    mean, half = interval(values)
    return f"{mean:.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")


def scaled(score: str, values: Sequence[float]) -> list[float]:
    """Shares as papers print them, in per cent."""
    return [100 * value if score in PERCENT else value for value in values]


def verdict(values: Sequence[float], published: Mapping[str, Any], *, same: bool) -> str:
    """What measured values (of `published.score`, in its unit) say of a published figure.

    reproduced: the mean is at least as good; within noise: it is worse, but its interval reaches
    the figure; below: the interval does not. `same` is whether data and scale are the figure's.
    """
    score, number = published.get("score"), float(published["number"])
    if not same or not score or "server" in str(published.get("split", "")):
        return "not comparable"
    mean, half = interval(values)
    sign = -1 if score in FALLS else 1
    short = sign * (number - mean)
    alone = ", of one seed" if math.isnan(half) else ""
    if short <= 0:
        return f"reproduced{alone}"
    return "within noise" if not alone and short <= half else f"below{alone}"


def write_rows(
    path: Path, mark: str, titles: Sequence[str], rows: Sequence[Sequence[str]], *, keys: int
) -> None:
    """Put rows into the table between `<!-- mark -->` and `<!-- /mark -->` of a file.

    Rows whose first `keys` cells are there already take their place; others stay.
    """
    text = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{path}: needs the marks {begin.strip()} and {end}, each once")
    head, _, rest = text.partition(begin)
    old, _, tail = rest.partition(end)
    kept = [_cells(line) for line in old.splitlines() if line.startswith("|")][2:]
    found = {tuple(cells[:keys]): cells for cells in kept if len(cells) == len(titles)}
    found |= {tuple(row[:keys]): list(row) for row in rows}
    lines = [list(titles), ["---"] * len(titles), *found.values()]
    table = "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
    path.write_text(head + begin + table + end + tail, encoding="utf-8")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
