"""Rows of models that read no text: what a score is worth is seen beside them."""

import math
from typing import Any

import numpy as np

from distillkit.evaluation.columns import quality
from distillkit.metrics import EvaluationSettings
from distillkit.metrics.answers import answer_scores
from distillkit.metrics.calibration import calibrated
from distillkit.metrics.fidelity import closeness
from distillkit.tasks import HeldOut, QuestionAnswering, SequenceTask

# row -> what such a model does, in a sentence
BASELINES = {
    "majority": "only knows how often classes are",
    "mean": "always says the mean of the training labels",
    "no answer": "never finds an answer",
    "unigram": "only knows how often tokens are",
}
NAMES = {"softmax": "majority", "bernoulli": "majority", "real": "mean"}


def baseline(
    task: SequenceTask,
    train_labels: np.ndarray | None,
    held_out: HeldOut,
    teacher: np.ndarray | None,
    settings: EvaluationSettings,
) -> dict[str, dict[str, Any]]:
    """name -> the row of a model that knows the labels of the training text, and no text.

    Nothing where these are not at hand, where there is but one class, and where an answer is a
    place in a text that always has one.
    """
    if isinstance(task, QuestionAnswering):
        return _no_answer(held_out) if task.impossible else {}
    if train_labels is None or task.distribution not in NAMES:
        return {}
    constant = constant_logits(task.distribution, train_labels, len(held_out.labels.names))
    if task.distribution == "softmax" and len(constant) < 2:
        return {}
    logits = np.tile(constant.astype(np.float32), (len(held_out.table.labels), 1))
    row = quality(task, logits, task.outcomes(logits, held_out), held_out, settings)
    row |= closeness(task.distribution, logits, teacher)
    calibration = calibrated(
        task.distribution, logits, held_out.table.labels, bins=settings.ece_bins
    )
    if calibration is not None:
        row |= {"ece": calibration.expected_calibration_error}
    return {NAMES[task.distribution]: row}


def constant_logits(distribution: str, labels: np.ndarray, classes: int) -> np.ndarray:
    """What to say of every text, [outputs]: labels' frequencies as logits, or their mean."""
    if distribution == "real":
        return np.array([labels.mean()])
    if distribution == "bernoulli":
        share = (labels.sum(axis=0) + 0.5) / (len(labels) + 1.0)
        return np.asarray(np.log(share / (1.0 - share)))
    counts = np.bincount(labels.astype(np.int64), minlength=classes) + 1.0
    return np.asarray(np.log(counts / counts.sum()))


def _no_answer(held_out: HeldOut) -> dict[str, dict[str, Any]]:
    """The scores of saying of every question that its passage has no answer."""
    references = [[text for text, _ in answers] for answers in held_out.split.answers]
    exact, f1 = np.array([answer_scores("", texts) for texts in references]).mean(axis=0)
    return {"no answer": {"f1": float(f1), "exact_match": float(exact)}}


def unigram(counts: np.ndarray, labels: np.ndarray) -> dict[str, dict[str, Any]]:
    """The row of a model that knows how often each token of the vocabulary is, [vocabulary].

    One is added to each count, so that no token is impossible. `labels` are the tokens to predict.
    """
    shares = np.log((counts + 1.0) / (counts + 1.0).sum())
    nll = -float(shares[labels].mean())
    return {"unigram": {"perplexity": math.exp(nll), "nll": nll, "positions": len(labels)}}
