"""An evaluation as one table and in sentences: for the terminal, the report and the model card."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from distillkit.console.escaping import markdown, markdown_code
from distillkit.console.wording import listed
from distillkit.evaluation.lm_eval import STDERR
from distillkit.metrics.titles import COLUMNS
from distillkit.reporting.verdicts import FALLING, is_busy
from distillkit.tasks.unknown_tokens import MUCH

QUALITY = tuple(COLUMNS)[: tuple(COLUMNS).index("typos")]  # not of the teacher, nor of costs


def cells(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """(titles, rows) of the table, formatted; a value that a row lacks is a dash."""
    rows = {name: _with_harness(row) for name, row in results["rows"].items()}
    columns_there = _columns(rows, _added(results))
    columns = [c for c in columns_there if any(c in row for row in rows.values())]
    titles = ["", *(columns_there[c][0] for c in columns)]
    body = []
    for name, row in rows.items():
        texts = []
        for column in columns:
            value = row.get(column)
            is_itself = name == results.get("reference", "teacher") and column in (
                "agreement",
                "kl_to_teacher",
                "rmse_to_teacher",
            )
            text = "-" if value is None or is_itself else format(value, columns_there[column][1])
            error = row.get(column + STDERR)
            texts.append(text if error is None else f"{text} ± {error:.4f}")
        body.append([name, *texts])
    return titles, body


def _with_harness(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, **row.get("harness", {})}


def _added(results: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The columns of a config's metrics and of a task's own scores."""
    return {
        name: (str(metric["title"]), str(metric["format"]))
        for name, metric in results.get("metrics", {}).items()
    }


def _column(results: Mapping[str, Any], name: str) -> tuple[str, str]:
    """The title and format of a measure."""
    return (COLUMNS | _added(results))[name]


def _columns(
    rows: Mapping[str, Mapping[str, Any]], added: Mapping[str, tuple[str, str]]
) -> dict[str, tuple[str, str]]:
    """The columns there may be: what is added stands before what models cost."""
    scores = {c: (c, ".4f") for row in rows.values() for c in row.get("harness", {})}
    scores = {c: format for c, format in scores.items() if not c.endswith(STDERR)}
    columns = dict(COLUMNS)
    costs = {c: columns.pop(c) for c in list(columns)[list(columns).index("parameters") :]}
    return columns | dict(added) | scores | costs


def terminal_table(results: Mapping[str, Any], title: str, width: int) -> Table:
    """The table for a terminal; a measure a line where it is too narrow for one a column."""
    titles, body = cells(results)
    if sum(max(map(len, column)) + 3 for column in zip(titles, *body, strict=True)) >= width:
        titles, *body = map(list, zip(titles, *body, strict=True))
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
    row = _any(results)
    bins = f"ECE over {results['ece_bins']} equal-width bins; " if "ece" in row else ""
    text = f"{results['examples']:,} held-out examples; "
    if results.get("protocol"):
        text += f"{results['protocol']}; "
    if "positions" in row:
        text = (
            f"{row['positions']:,} tokens of {results['examples']:,} held-out texts, "
            f"{results.get('protocol', '')}; NLL and KL in nats a token; "
        )
    device, threads = results["device"], int(results["environment"]["threads"])
    if device == "cpu":
        device = f"{threads} cpu thread{'' if threads == 1 else 's'}"
    return (
        f"{text}{bins}latency at batch 1 and throughput at batch {results['batch_size']} in "
        f"float32 on {device}{_formats(results)}, tokenising not counted{_of_timing(results)}"
        f"{_of_work(results)}"
        f"{_of_responses(results)}"
    )


def _of_timing(results: Mapping[str, Any]) -> str:
    """How many texts were timed, how long they are, and whether the machine was busy."""
    timing = results.get("timing")
    if not timing:
        return ""
    least, middle, most = timing["tokens"]
    text = (
        f"; models in turn on {timing['texts']:,} texts of {least} to {most} tokens (median "
        f"{middle}) after {timing['warm_up']} warm-up rounds, "
        "the second pass of each"
    )
    if is_busy(results):
        text += (
            f"; the machine was busy: times of one and the same text are {timing['spread']:.0%} "
            "apart, so that they mean little"
        )
    return text


def _of_work(results: Mapping[str, Any]) -> str:
    """Why memory or operations are a dash, where they are."""
    reasons = results.get("unmeasured", {})
    rows = {why: [row for row in reasons if reasons[row] == why] for why in reasons.values()}
    return "".join(f"; of {listed(rows[why])} {why}" for why in rows)


def _formats(results: Mapping[str, Any]) -> str:
    """What ran the models that are no plain ones of PyTorch."""
    runtimes = results.get("runtimes", {})
    if runtimes:
        names = dict.fromkeys(runtimes.values())
        rows = {name: [row for row in runtimes if runtimes[row] == name] for name in names}
        return "".join(f", {listed(rows[name])} in {name}" for name in names)
    compressed = any(row.startswith("student ") for row in results["rows"])
    return ", other formats of the student in their own runtime" if compressed else ""


def _of_responses(results: Mapping[str, Any]) -> str:
    """How ROUGE-L and the tasks of lm-eval were measured, where they were."""
    text = ""
    rouge = results["comparison"].get("rouge_l")
    if rouge:
        way = "greedy responses"
        if rouge["seeds"]:
            way = f"responses drawn at temperature 1, mean of {len(rouge['seeds'])} decoding seed"
            way += "s" if len(rouge["seeds"]) > 1 else ""
        spread = [row["rouge_l_sd"] for row in results["rows"].values() if "rouge_l_sd" in row]
        way += f" (sd up to {max(spread):.2f})" if spread else ""
        text += f"; ROUGE-L (F1, stemmed, x100) on {rouge['prompts']:,} prompts, {way}"
    harness = results["comparison"].get("harness")
    if harness:
        limit = f", {harness['limit']:,} examples a task at most" if harness["limit"] else ""
        text += f"; tasks of lm-eval {harness['lm_eval']} ± one standard error{limit}"
    return text


def sentences(results: Mapping[str, Any]) -> list[str]:
    """What the comparison says, a sentence a line."""
    lines = []
    compared = results["comparison"]
    if compared.get("smaller") is not None:
        speed = f" and {_how_much_faster(compared['faster'], compared['faster_batched'])}."
        if is_busy(results):
            speed = "; how much faster cannot be told, the machine was busy."
        size = how_much_smaller(compared["smaller"])
        lines.append(f"The student {_quality(results)}, is {size}{speed}")
    for row in ("control", "untrained"):
        if gain := compared.get(f"student_minus_{row}"):
            lines.append(_gain(results, gain, row))
    lines += _other_columns(results)
    for row, gains in compared.get("over_reference", {}).items():
        lines.append(_over(results, row, gains[results["headline"]]))
    rouge = compared.get("rouge_l", {}).get("student_minus_control")
    if rouge:
        text = f"{rouge['difference']:+.2f} ROUGE-L [{rouge['low']:+.2f}, {rouge['high']:+.2f}]"
        verdict = _verdict(rouge, rises=True)
        lines.append(f"Student - control: {text} ({_level(results)}): {verdict}.")
    return [*lines, *_unknown(results)]


def _unknown(results: Mapping[str, Any]) -> list[str]:
    """A sentence where a tokenizer does not know much of the held-out text."""
    shares = {name: row.get("unknown_tokens") or 0.0 for name, row in results["rows"].items()}
    much = [f"{share:.1%} ({name})" for name, share in shares.items() if share > MUCH]
    if not much:
        return []
    return [f"Of the held-out text's tokens many are unknown to the tokenizer: {', '.join(much)}."]


def how_much_smaller(ratio: float) -> str:
    """The student's size beside the teacher's; `ratio` is the teacher's over the student's."""
    return _times(ratio, "smaller", "larger") or "as large as its teacher"


def _how_much_faster(ratio: float, batched: float) -> str:
    """Its speed on one text, and in batches, where the word may be another."""
    alone, many = (_times(ratios, "faster", "slower") for ratios in (ratio, batched))
    if not alone or not many:
        return f"{alone or 'as fast'} ({many or 'as fast'} in batches)"
    is_same = alone.split()[1] == many.split()[1]
    return f"{alone} ({many.split()[0] if is_same else many} in batches)"


def _times(ratio: float, faster: str, less: str) -> str:
    """ "5.2x smaller", or "2.5x larger" for 0.4; empty where there is no difference to speak of."""
    if ratio >= 1:
        number, word = f"{ratio:.1f}", faster
    else:
        number, word = f"{1 / ratio:.1f}", less
    return f"{number}x {word}" if number != "1.0" else ""


def _quality(results: Mapping[str, Any]) -> str:
    share = results["comparison"].get("kept")
    title, style = _column(results, results["headline"])
    student, teacher = (results["rows"][row][results["headline"]] for row in ("student", "teacher"))
    figures = f"({title} {student:{style}}, the teacher {teacher:{style}})"
    rises = results.get("higher_is_better", True)
    if f"{student:{style}}" == f"{teacher:{style}}":
        return f"does as well as its teacher {figures}{_error(results, 0)}"
    if (student > teacher) == rises:
        return f"does better than its teacher {figures}{_error(results, 1)}"
    if share is not None:
        return f"keeps {share:.1%} of the teacher's {title}{_error(results, -1)}"
    # what is better low has no share, nor has what is nothing or less
    return f"has {title} {student:{style}} to the teacher's {teacher:{style}}{_error(results, -1)}"


def _error(results: Mapping[str, Any], better: int) -> str:
    """The error of values, where it does not say what their correlation says.

    A correlation does not see that all are off, or too close together. `better` is 1 where the
    student's is the better one, 0 where they are alike, -1 where it is the worse one.
    """
    title, style = COLUMNS["rmse"]
    student, teacher = (results["rows"][row].get("rmse") for row in ("student", "teacher"))
    if results["headline"] != "pearson" or student is None or teacher is None:
        return ""
    is_same = f"{student:{style}}" == f"{teacher:{style}}"
    less = 0 if is_same else 1 if student < teacher else -1
    if less == better:
        return ""
    word = {1: "better in", 0: "no better in" if better > 0 else "no worse in", -1: "worse in"}[
        less
    ]
    return f", but is {word} {title} ({student:{style}}, the teacher {teacher:{style}})"


def _gain(results: Mapping[str, Any], gain: Mapping[str, float], row: str) -> str:
    rises = results.get("higher_is_better", True)
    if not rises:
        text = f"{gain['difference']:+.4f} nats a token [{gain['low']:+.4f}, {gain['high']:+.4f}]"
    else:
        text = (
            f"{gain['difference'] * 100:+.2f} points of {_column(results, results['headline'])[0]} "
            f"[{gain['low'] * 100:+.2f}, {gain['high'] * 100:+.2f}]"
        )
    name = "the same student untrained" if row == "untrained" else row
    return f"Student - {name}: {text} ({_level(results)}): {_verdict(gain, rises=rises)}."


def _other_columns(results: Mapping[str, Any]) -> list[str]:
    """Where else the student and its control differ by more than chance; a line, or none."""
    columns_by_word: dict[str, list[str]] = {"worse": [], "better": []}
    for column, gain in results["comparison"].get("columns_minus_control", {}).items():
        is_sure = gain["low"] > 0 or gain["high"] < 0
        if column == results["headline"] or not is_sure or column.startswith("agreement"):
            continue
        falls = column in FALLING or results.get("metrics", {}).get(column, {}).get("falls", False)
        scale, unit, digits = (1, "", 4) if falls else (100, " points", 2)
        low, high = (f"{scale * gain[end]:+.{digits}f}" for end in ("low", "high"))
        text = f"{scale * gain['difference']:+.{digits}f}{unit} [{low}, {high}]"
        word = "better" if (gain["low"] > 0) != falls else "worse"
        columns_by_word[word].append(f"{_column(results, column)[0]} ({text})")
    parts = [
        f"{word} in {', '.join(columns)}" for word, columns in columns_by_word.items() if columns
    ]
    if not parts:
        return []
    headline = _column(results, results["headline"])[0]
    return [f"Beyond {headline} the student is, against its control, {'; '.join(parts)}."]


def _over(results: Mapping[str, Any], row: str, gain: Mapping[str, float]) -> str:
    """How a row stands to the reference, in the headline."""
    rises = results.get("higher_is_better", True)
    scale, unit, digits = (100, " points", 2) if rises else (1, " nats a token", 4)
    name = _column(results, results["headline"])[0] if rises else "NLL"
    shown, low, high = (f"{scale * gain[k]:+.{digits}f}" for k in ("difference", "low", "high"))
    return (
        f"{row} - {results['reference']}: {shown}{unit} of {name} [{low}, {high}] "
        f"({_level(results)}): {_verdict(gain, rises=rises)}."
    )


def _level(results: Mapping[str, Any]) -> str:
    return f"{results['level']:.0%} bootstrap interval, one training seed"


def _verdict(gain: Mapping[str, float], *, rises: bool) -> str:
    better = gain["low"] > 0 if rises else gain["high"] < 0
    worse = gain["high"] < 0 if rises else gain["low"] > 0
    if better or worse:
        word = "better" if better else "worse"
        return f"{word} by more than the choice of test examples explains"
    return "within what the choice of test examples explains"


def markdown_table(results: Mapping[str, Any]) -> list[str]:
    """The table in Markdown."""
    titles, body = cells(results)
    rule = ["---", *("---:" for _ in titles[1:])]
    rows = [[*map(markdown, row)] for row in (titles, *body)]
    return [f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:])]


def setting(name: str, value: Any) -> str:
    """A fact of a run as Markdown: its command is code."""
    return markdown_code(value) if name == "command" else markdown(value)


def _any(results: Mapping[str, Any]) -> Mapping[str, Any]:
    row: Mapping[str, Any] = next(iter(results["rows"].values()))
    return row
