"""How well each class is told from the others: counts, precision and recall of every model."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distillkit.tasks import HeldOut, SequenceTask

FEW = 20  # classes of which all pairs are shown; of more, so many of the worst


def by_class(
    logits: Mapping[str, np.ndarray], task: SequenceTask, held_out: Mapping[str, HeldOut]
) -> dict[str, Any]:
    """`names`, `support` and each row's scores of the classes; nothing where labels are no classes.

    Of many classes there are those of the least F1 (the student's, where there is one). A row has
    `precision`, `recall` and `f1` [classes], and where one label holds of a few `confusion`
    [label, predicted] of all classes.
    """
    first = next(iter(held_out.values()))
    names = first.labels.names
    if task.distribution not in ("softmax", "bernoulli") or len(names) < 2:
        return {}
    counts = {row: _counts(logits[row], task, held) for row, held in held_out.items()}
    support = counts[next(iter(counts))][:, 2]
    classes = _shown_classes(counts.get("student", next(iter(counts.values()))), support)
    rows = {row: _scores(counts_of_row[classes]) for row, counts_of_row in counts.items()}
    if task.distribution == "softmax" and len(names) <= FEW:
        for row, held in held_out.items():
            rows[row]["confusion"] = _confusion(logits[row], held).tolist()
    return {
        "classes": len(names),
        "names": [names[i] for i in classes],
        "support": support[classes].tolist(),
        "rows": rows,
    }


def _counts(logits: np.ndarray, task: SequenceTask, held_out: HeldOut) -> np.ndarray:
    """[classes, 3]: how often each is right, predicted and there."""
    labels = np.asarray(held_out.table.labels)
    predicted = task.predicted(logits)
    if task.distribution == "bernoulli":
        support = labels.astype(bool)
        is_predicted = predicted.astype(bool)
        return np.stack(
            [(is_predicted & support).sum(0), is_predicted.sum(0), support.sum(0)], axis=1
        )
    classes = len(held_out.labels.names)
    right = predicted == labels
    label_lists = (labels[right], predicted, labels)
    return np.stack([np.bincount(held, minlength=classes) for held in label_lists], axis=1)


def _confusion(logits: np.ndarray, held_out: HeldOut) -> np.ndarray:
    labels, classes = np.asarray(held_out.table.labels), len(held_out.labels.names)
    places = labels * classes + logits.argmax(axis=-1)
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)


def _shown_classes(counts: np.ndarray, support: np.ndarray) -> np.ndarray:
    """All classes in their order; of many, those that are there and of the least F1."""
    if len(counts) <= FEW:
        return np.arange(len(counts))
    f1 = 2 * counts[:, 0] / np.maximum(1, counts[:, 1] + counts[:, 2])
    order = np.lexsort((-support, f1))
    return order[support[order] > 0][:FEW]


def _scores(counts: np.ndarray) -> dict[str, list[float]]:
    right, predicted, support = counts.T
    return {
        "precision": (right / np.maximum(1, predicted)).round(6).tolist(),
        "recall": (right / np.maximum(1, support)).round(6).tolist(),
        "f1": (2 * right / np.maximum(1, predicted + support)).round(6).tolist(),
    }
