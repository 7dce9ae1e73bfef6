"""Stage: a model and the validation split -> its answers; and whether a teacher is worth asking.

A teacher is held against two that need none: always naming what is commonest, and the control,
the same student trained on hard labels alone. Who is no better has nothing to teach.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.artifacts.versions import VERSIONS
from distillkit.data.corpus import Split
from distillkit.metrics.interval import bootstrap_difference
from distillkit.models.precision import Precision
from distillkit.models.saved import SavedMembers
from distillkit.stages.evaluation import predict
from distillkit.tasks import HeldOut, SequenceTask, identity_of
from distillkit.types import LabelSpace

ANSWERS = "answers.npz"
RESAMPLES, LEVEL = 1000, 0.95


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's logits [positions, classes] on the validation split, and whose they are.

    `keys` [examples] and, of tagged text, `words` [positions]: the places of words in a sentence.
    """

    logits: np.ndarray
    keys: np.ndarray
    words: np.ndarray

    @classmethod
    def open(cls, folder: Path) -> "Answers":
        """Read what `answer` wrote."""
        with np.load(folder / ANSWERS, allow_pickle=False) as arrays:
            return cls(arrays["logits"], arrays["keys"], arrays["words"])

    def has_positions_of(self, keys: np.ndarray, words: np.ndarray | None) -> bool:
        """Whether they are about the same positions; two tokenizers may cut texts elsewhere."""
        same_keys = np.array_equal(self.keys, keys)
        return same_keys and (words is None or np.array_equal(self.words, words))


@dataclass(frozen=True, slots=True)
class Worth:
    """A teacher's validation figure beside another's; more is better in both.

    `low` and `high` are the bootstrap interval of their difference, and `is_worse` says that the
    teacher is behind by more than the choice of examples explains, `is_no_better` that it is not
    ahead at all.
    """

    metric: str
    teacher: float
    baseline: float
    low: float
    high: float
    examples: int

    @property
    def is_no_better(self) -> bool:
        """Whether the teacher is not ahead."""
        return self.teacher <= self.baseline

    @property
    def is_worse(self) -> bool:
        """Whether the teacher is behind, beyond chance."""
        return self.high < 0


def fingerprint_fields(
    model: str, task: SequenceTask, *, labelled: str, precision: Precision
) -> dict[str, Any]:
    """What decides a model's answers on the validation split."""
    return {
        "version": VERSIONS["answers"],
        "model": model,
        "precision": precision,
        "data": labelled,
        **identity_of(task),
        **task.feature_fields(held_out=True),
    }


def answer(
    saved: SavedMembers,
    task: SequenceTask,
    space: LabelSpace,
    validation: Split,
    *,
    precision: Precision,
    out: Path,
) -> dict[str, Any]:
    """Write a model's answers on the validation split under `out`.

    `precision` is that of its training, so that its figure here is the one told there.
    """
    logits, table = predict(saved, task, space, validation, precision=precision)
    words = np.zeros(0, np.int32) if table.word_index is None else np.asarray(table.word_index)
    keys = np.asarray(table.keys)
    np.savez(out / ANSWERS, allow_pickle=False, logits=logits, keys=keys, words=words)
    return {"examples": len(table), "positions": len(logits)}


def commonest(task: SequenceTask, held_out: HeldOut) -> np.ndarray | None:
    """The best that one can answer who reads no text, [positions, classes]: label frequencies.

    Those of the very texts that are answered, so that nobody is ahead of it by luck alone. None
    where an answer is a place in its text.
    """
    labels = np.asarray(held_out.table.labels)
    if task.distribution == "choice":
        return None
    if task.distribution == "real":
        mean = np.array([labels.mean()])
    elif task.distribution == "bernoulli":
        share = (labels.sum(axis=0) + 0.5) / (len(labels) + 1)
        mean = np.log(share / (1 - share))
    else:
        counts = np.bincount(labels, minlength=held_out.labels.outputs)
        mean = np.log((counts + 1e-6) / counts.sum())
    return np.repeat(mean[None].astype(np.float32), len(labels), axis=0)


def compare(
    task: SequenceTask, teacher: np.ndarray, baseline: np.ndarray, held_out: HeldOut
) -> Worth:
    """A teacher's logits against another's, by the headline metric, paired by text.

    A regression's are held to their squared error: a correlation does not see that all are off.
    """
    score: Callable[[np.ndarray], float] = task.headline_score
    metric = task.headline
    if task.distribution == "real":
        metric, score = "squared error", _negative_squared_error
    first, second = (task.outcomes(logits, held_out) for logits in (teacher, baseline))
    difference, low, high = bootstrap_difference(
        lambda rows, _: score(rows), first, second, first, resamples=RESAMPLES, level=LEVEL
    )
    own = score(first)
    return Worth(metric, own, own - difference, low, high, len(first))


def informs(
    task: SequenceTask, teacher: np.ndarray, baseline: np.ndarray, held_out: HeldOut
) -> bool:
    """Whether the teacher's probabilities tell more of the labels, beyond chance.

    Where nearly all have one label, a good teacher may get no more right than who always names it,
    and yet know where it is unsure.
    """
    labels = torch.from_numpy(np.array(held_out.table.labels))
    first, second = (
        task.per_example(torch.from_numpy(logits), labels).numpy() for logits in (teacher, baseline)
    )
    _, _, high = bootstrap_difference(
        lambda rows, _: float(rows.mean()),
        first,
        second,
        first,
        resamples=RESAMPLES,
        level=LEVEL,
    )
    return high < 0


def _negative_squared_error(outcomes: np.ndarray) -> float:
    return -float(np.mean((outcomes[:, 0] - outcomes[:, 1]) ** 2))
