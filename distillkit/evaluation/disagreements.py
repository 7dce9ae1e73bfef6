"""The held-out examples on which student and teacher differ most, with their text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from distillkit.console.wording import brief
from distillkit.data.corpus import Split
from distillkit.metrics.fidelity import distances
from distillkit.tasks import HeldOut, SequenceTask

MOST, LONGEST = 20, 400  # examples; characters of a text
BOTH = ("teacher", "student")
NO_ANSWER = "(no answer)"


def disagreements(
    logits: Mapping[str, np.ndarray], task: SequenceTask, held_out: Mapping[str, HeldOut]
) -> list[dict[str, Any]]:
    """The texts in question, the most different first; none without student and teacher.

    Each has its `row` in its source, its `text`, how far the two are apart (`distance`, as
    `fidelity.distances` says, the mean over all positions of a text), its label and what both
    predict; of one label a text also how sure they are.
    """
    if not {"student", "teacher"} <= logits.keys():
        return []
    held = held_out["student"]
    if held.split is None:
        return []
    apart = distances(task.distribution, logits["student"], logits["teacher"])
    texts = _texts_of(held)
    count = len(held.split)
    counts = np.maximum(1, np.bincount(texts, minlength=count))
    mean = np.bincount(texts, weights=apart, minlength=count) / counts
    order = [int(place) for place in np.argsort(-mean, kind="stable")[:MOST] if mean[place] > 0]
    answers = _answers(logits, task, held, order, texts)
    numbers = _numbers_of(held.split)
    return [
        {
            "row": int(numbers[place]),
            "distance": round(float(mean[place]), 4),
            **text_of(held.split, place),
            **{name: column[i] for name, column in answers.items()},
        }
        for i, place in enumerate(order)
    ]


def _numbers_of(split: Split) -> np.ndarray:
    """The number in its source of each text, [texts]."""
    return np.arange(len(split)) + 1 if split.numbers is None else np.asarray(split.numbers)


def _texts_of(held_out: HeldOut) -> np.ndarray:
    """The text that each position [positions] is of; several examples may be of one."""
    table = held_out.table
    examples = np.arange(len(table)) if table.text_index is None else np.asarray(table.text_index)
    return np.repeat(examples, np.diff(table.position_offsets))


def text_of(split: Split, place: int) -> dict[str, str]:
    """The text, or the pair, of an example; long ones without their middle."""
    if split.words is not None:
        return {"text": brief(" ".join(split.words[place]), LONGEST)}
    text = {"text": brief(split.texts[place], LONGEST)}
    return text if split.pairs is None else text | {"pair": brief(split.pairs[place], LONGEST)}


def _answers(
    logits: Mapping[str, np.ndarray],
    task: SequenceTask,
    held_out: HeldOut,
    order: Sequence[int],
    texts: np.ndarray,
) -> dict[str, list[Any]]:
    """Columns of the label, and of what student and teacher predict, of these texts in order."""
    if task.distribution == "choice":
        return _of_questions(logits, task, held_out, order)
    if held_out.table.word_index is not None:
        return _of_words(logits, task, held_out, order, texts)
    if len(texts) != len(held_out.split):  # of a task from outside, with several positions a text
        return {}
    columns: dict[str, list[Any]] = dict(task.references(held_out) or {})
    for row in BOTH:
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
    return {name: [column[place] for place in order] for name, column in columns.items()}


def _of_questions(
    logits: Mapping[str, np.ndarray], task: SequenceTask, held_out: HeldOut, order: Sequence[int]
) -> dict[str, list[Any]]:
    """The right answers of questions, and the passages' stretches that both take for them."""
    right = held_out.split.answers
    columns = {"label": [" / ".join(dict.fromkeys(text for text, _ in right[i])) for i in order]}
    for row in BOTH:
        answers = task.predictions(logits[row], held_out)[""]
        columns[row] = [brief(answers[i], LONGEST) for i in order]
    return {name: [text or NO_ANSWER for text in column] for name, column in columns.items()}


def _of_words(
    logits: Mapping[str, np.ndarray],
    task: SequenceTask,
    held_out: HeldOut,
    order: Sequence[int],
    texts: np.ndarray,
) -> dict[str, list[Any]]:
    """Words with their tags where the two tag otherwise; where they never do, where least alike."""
    table, names = held_out.table, held_out.labels.names
    assert table.word_index is not None
    tags = {row: task.predicted(logits[row]) for row in BOTH}
    apart = distances(task.distribution, logits["student"], logits["teacher"])
    columns: dict[str, list[Any]] = {"label": [], **{row: [] for row in BOTH}}
    for place in order:
        positions = np.flatnonzero(texts == place)
        other = positions[tags["student"][positions] != tags["teacher"][positions]]
        shown = other if len(other) else positions[[int(apart[positions].argmax())]]
        words = [held_out.split.words[place][int(table.word_index[i])] for i in shown]
        for column, ids in (("label", np.asarray(table.labels)), *tags.items()):
            pairs = (f"{word}/{names[ids[i]]}" for word, i in zip(words, shown, strict=True))
            columns[column].append(brief(" ".join(pairs), LONGEST))
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
    numbers = _numbers_of(split)
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
