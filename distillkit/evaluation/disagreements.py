"""The held-out examples on which student and teacher differ most, with their text."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from distillkit.console.wording import brief
from distillkit.data.corpus import Split
from distillkit.evaluation.predictions import row_numbers
from distillkit.metrics.fidelity import distances
from distillkit.tasks import HeldOut, SequenceTask

MOST, LONGEST = 20, 400  # examples; characters of a text


def disagreements(
    logits: Mapping[str, np.ndarray], task: SequenceTask, held_out: Mapping[str, HeldOut]
) -> list[dict[str, Any]]:
    """The examples in question, the most different first; none without student and teacher.

    Each has its `row` in its source, its `text`, how far the two are apart (`distance`, as
    `fidelity.distances` says, the mean over an example's positions) and, where an example has one
    answer, its label and what both predict, and how sure they are.
    """
    if not {"student", "teacher"} <= logits.keys() or task.distribution == "choice":
        return []
    held = held_out["student"]
    if held.split is None:
        return []
    apart = distances(task.distribution, logits["student"], logits["teacher"])
    offsets = held.table.position_offsets
    sums = np.diff(np.concatenate([[0.0], np.cumsum(apart)])[offsets])
    mean = sums / np.maximum(1, np.diff(offsets))
    order = np.argsort(-mean, kind="stable")[:MOST]
    numbers = row_numbers(held)
    text_index = (
        np.arange(len(mean)) if held.table.text_index is None else np.asarray(held.table.text_index)
    )
    answers = _answers(logits, task, held) if len(apart) == len(mean) else {}
    return [
        {
            "row": int(numbers[place]),
            "distance": round(float(mean[place]), 4),
            **text_of(held.split, int(text_index[place])),
            **{name: column[place] for name, column in answers.items()},
        }
        for place in order
        if mean[place] > 0
    ]


def text_of(split: Split, place: int) -> dict[str, str]:
    """The text, or the pair, of an example; long ones without their middle."""
    if split.words is not None:
        return {"text": brief(" ".join(split.words[place]), LONGEST)}
    text = {"text": brief(split.texts[place], LONGEST)}
    return text if split.pairs is None else text | {"pair": brief(split.pairs[place], LONGEST)}


def _answers(
    logits: Mapping[str, np.ndarray], task: SequenceTask, held_out: HeldOut
) -> dict[str, list[Any]]:
    """Columns [examples] of the label and of what student and teacher predict."""
    columns: dict[str, list[Any]] = dict(task.references(held_out) or {})
    for row in ("teacher", "student"):
        values = logits[row].astype(np.float64)
        answers = task.answers_as_text(task.predicted(logits[row]), held_out)
        if answers is None:
            return {}
        columns[row] = answers
        if task.distribution == "softmax":
            sure = softmax(values, axis=-1).max(axis=-1)
        elif task.distribution == "bernoulli":
            sure = expit(np.abs(values)).min(axis=-1)  # of the label that is least sure
        else:
            continue
        columns[f"{row}_confidence"] = sure.round(4).tolist()
    return columns


def of_texts(nats: Mapping[str, np.ndarray], text_index: np.ndarray, split: Split) -> list[Any]:
    """The same of language models: texts by how many nats a token the student needs more.

    `nats` are row -> [positions], `text_index` [positions] the texts that these are of.
    """
    if not {"student", "teacher"} <= nats.keys():
        return []
    counts = np.bincount(text_index, minlength=len(split))
    means = {
        row: np.bincount(text_index, weights=nats[row], minlength=len(split))
        / np.maximum(1, counts)
        for row in ("teacher", "student")
    }
    apart = np.where(counts > 0, np.abs(means["student"] - means["teacher"]), 0.0)
    order = np.argsort(-apart, kind="stable")[:MOST]
    numbers = np.arange(len(split)) + 1 if split.numbers is None else np.asarray(split.numbers)
    return [
        {
            "row": int(numbers[place]),
            "distance": round(float(apart[place]), 4),
            "text": brief(_text_of(split, int(place)), LONGEST),
            "tokens": int(counts[place]),
            **{f"{row}_nll": round(float(means[row][place]), 4) for row in means},
        }
        for place in order
        if apart[place] > 0
    ]


def _text_of(split: Split, place: int) -> str:
    """A document, or what was written in a conversation."""
    if split.messages is not None:
        lines = (
            f"{message.get('role', '')}: {message.get('content', '')}"
            for message in split.messages[place]
        )
        return " / ".join(lines)
    parts = [split.texts[place], split.pairs[place] if split.pairs else ""]
    return " / ".join(part for part in parts if part)
