"""Whether the student is better or worse than another row, column by column, or neither."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distillkit.evaluation.baseline import BASELINES
from distillkit.metrics.titles import COLUMNS

FALLING = ("rmse", "ece", "nll", "perplexity", "kl_to_teacher")  # of which less is better
NEUTRAL = ("agreement_wrong",)  # to say what a wrong teacher says is neither good nor bad
NOISE = "within the noise"
MOST_MODELS = 4  # that a headline holds against the reference
# the spread of equal work's times, by their median, from which on they mean little: 0.17 on two
# idle cores, 2.9 with one other process on them
BUSY = 0.3
RATIOS = (  # of the teacher's costs to the student's: their key, and what they are called
    ("smaller", "smaller", "larger", "as large"),
    ("faster", "faster", "slower", "as fast"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One column: the student's value less another row's, its interval, and what that says.

    `word` is better, worse or "within the noise": the interval has 0 in it. Of a column where more
    is neither it is higher or lower.
    """

    column: str
    title: str
    other: str
    difference: float
    low: float
    high: float
    word: str
    style: str

    @property
    def text(self) -> str:
        """ "+0.0479 [+0.0263, +0.0701]"."""
        parts = (format(it, f"+{self.style}") for it in (self.difference, self.low, self.high))
        return "{} [{}, {}]".format(*parts)


def verdicts(results: Mapping[str, Any]) -> list[Verdict]:
    """The student against control and teacher in every column that was compared."""
    found = []
    for other in ("control", "teacher"):
        gains = results["comparison"].get(f"columns_minus_{other}")
        single = results["comparison"].get(f"student_minus_{other}")
        if gains is None and single:  # of language models nats a token alone are compared
            gains = {"nll" if results["headline"] == "perplexity" else results["headline"]: single}
        found += [gain_of(results, name, other, gain) for name, gain in (gains or {}).items()]
    return found


def gain_of(
    results: Mapping[str, Any], name: str, other: str, gain: Mapping[str, float]
) -> Verdict:
    """What a difference of a column and its interval say."""
    added = results.get("metrics", {}).get(name, {})
    title, style = COLUMNS.get(name) or (str(added.get("title", name)), added.get("format", ".4f"))
    falls = name in FALLING or bool(added.get("falls"))
    low, high = gain["low"], gain["high"]
    word = NOISE
    if low > 0 or high < 0:
        word = "better" if (low > 0) != falls else "worse"
        if name in NEUTRAL:
            word = "higher" if low > 0 else "lower"
    style = style.replace(",", "") if style[-1] == "f" else ".4f"
    return Verdict(name, title, other, gain["difference"], low, high, word, style)


def headline(results: Mapping[str, Any]) -> str:
    """What was distilled, how good it is against teacher and control, how much smaller and faster.

    With the intervals of the differences; one that has 0 in it is called noise.
    """
    rows, compared = results["rows"], results["comparison"]
    if results.get("reference"):
        return _of_models(results)
    if "student" not in rows:
        return ""
    name, rises = results["headline"], results.get("higher_is_better", True)
    title, style = _titled(results, name)
    student = rows["student"]
    parts = [f"The student{_size(student)} has {title} {student[name]:{style}}"]
    if "teacher" in rows:
        teacher = rows["teacher"]
        share = compared.get("kept")
        parts.append(
            f" to the {teacher[name]:{style}} of its teacher{_size(teacher)}"
            + (f" ({share:.1%} of it)" if share is not None and rises else "")
        )
    text = "".join(parts) + _cheaper(compared) + "."
    if is_busy(results) and compared.get("faster") is not None:
        text += " The machine was busy while they were timed: how much faster means little."
    found = [it for it in verdicts(results) if it.column in (name, "nll" if not rises else name)]
    for it in found:
        text += f" {_against(it)}"
    return text + "".join(_against_baseline(results, row) for row in BASELINES)


def _of_models(results: Mapping[str, Any]) -> str:
    """Which of several models is the best, and how the others stand to the one of reference."""
    name, rises = results["headline"], results.get("higher_is_better", True)
    rows = {n: it for n, it in results["rows"].items() if name in it and n not in BASELINES}
    best = (max if rises else min)(rows, key=lambda row: float(rows[row][name]))
    title, style = _titled(results, name)
    text = f"{best}{_size(rows[best])} has {title} {rows[best][name]:{style}}"
    text += f", the best of {len(rows)} models." if len(rows) > 1 else "."
    for row, gains in [*results["comparison"].get("over_reference", {}).items()][:MOST_MODELS]:
        gain = gains.get(name)
        if gain is None or row in BASELINES:
            continue
        verdict = gain_of(results, name if rises else "nll", row, gain)
        word = "differs within the noise from" if verdict.word == NOISE else f"{verdict.word} than"
        verb = "" if verdict.word == NOISE else "is "
        reference = results["reference"]
        text += f" {row} {verb}{word} {reference}: {verdict.text} of {verdict.title}."
    return text


def _against_baseline(results: Mapping[str, Any], row: str) -> str:
    """What a model that reads no text has, and whether the student is no better."""
    rows, name = results["rows"], results["headline"]
    if name not in rows.get(row, {}):
        return ""
    own, constant = rows["student"][name], rows[row][name]
    behind = own <= constant if results.get("higher_is_better", True) else own >= constant
    value = format(constant, _titled(results, name)[1])
    if behind:
        return f" It is no better than a model that {BASELINES[row]}, which has {value}."
    return f" A model that {BASELINES[row]} has {value}."


def is_busy(results: Mapping[str, Any]) -> bool:
    """Whether equal work took so unequal time that the times mean little."""
    return bool(results.get("timing", {}).get("spread", 0.0) > BUSY)


def _titled(results: Mapping[str, Any], name: str) -> tuple[str, str]:
    added = results.get("metrics", {}).get(name, {})
    return COLUMNS.get(name) or (str(added.get("title", name)), str(added.get("format", ".4f")))


def _size(row: Mapping[str, Any]) -> str:
    count = row.get("parameters")
    if not count:
        return ""
    return f" of {count / 1e6:.3g} M parameters" if count >= 1e5 else f" of {count:,} parameters"


def _cheaper(compared: Mapping[str, Any]) -> str:
    """ ", 5.2x smaller and 8.1x faster"; what is not is called as it is."""
    ratios = []
    for key, more, less, same in RATIOS:
        ratio = compared.get(key)
        if ratio is None:
            continue
        text, word = (ratio, more) if ratio >= 1 else (1 / ratio, less)
        ratios.append(same if f"{text:.1f}" == "1.0" else f"{text:.1f}x {word}")
    return f"; it is {' and '.join(ratios)}" if ratios else ""


def _against(verdict: Verdict) -> str:
    other = {
        "control": "the same model trained on hard labels alone",
        "teacher": "its teacher",
    }[verdict.other]
    points = verdict.column not in FALLING and verdict.style.endswith("4f")
    scale, unit = (100, " points") if points else (1, "")
    digits = 2 if points else 4
    text, low, high = (
        f"{scale * v:+.{digits}f}" for v in (verdict.difference, verdict.low, verdict.high)
    )
    figures = f"{text}{unit} of {verdict.title} [{low}, {high}]"
    if verdict.word == NOISE:
        return f"Against {other} the difference is within the noise: {figures}."
    return f"Against {other} it is {verdict.word}: {figures}."
