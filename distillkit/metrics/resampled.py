"""Every quality metric as a function of which texts are counted, quick enough to be resampled.

Each gives what `metrics.task` and its kin give of the same texts.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, log_softmax, softmax
from scipy.stats import rankdata

from distillkit.metrics.counts import precision_recall_f1
from distillkit.metrics.interval import percentiles, resampled
from distillkit.types import Distribution

Column = Callable[[np.ndarray], float]  # row numbers of texts, some of them repeated -> a metric


def class_columns(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]
) -> dict[str, Column]:
    """Accuracy, macro-averaged F1, the least F1 of a class and NLL of one label a text."""
    predicted, classes = logits.argmax(axis=-1), logits.shape[-1]
    right = predicted == labels
    nats = nats_of(logits, labels)

    def macro_f1(rows: np.ndarray) -> float:
        return macro_f1_of(labels[rows], predicted[rows], classes)

    def worst_class(rows: np.ndarray) -> float:
        return worst_class_of(labels[rows], predicted[rows], classes)

    return {
        "accuracy": lambda rows: float(right[rows].mean()),
        "macro_f1": macro_f1,
        "worst_class": worst_class,
        "nll": lambda rows: float(nats[rows].mean()),
    }


def macro_f1_of(
    labels: Int[np.ndarray, " examples"], predicted: Int[np.ndarray, " examples"], classes: int
) -> float:
    """The mean F1 of the classes that occur, as labels or predictions."""
    hits, sizes, _ = _class_counts(labels, predicted, classes)
    occurs = sizes > 0
    return float((2 * hits[occurs] / sizes[occurs]).mean()) if occurs.any() else 0.0


def worst_class_of(
    labels: Int[np.ndarray, " examples"], predicted: Int[np.ndarray, " examples"], classes: int
) -> float:
    """The least F1 of the classes that occur as labels."""
    hits, sizes, support = _class_counts(labels, predicted, classes)
    occurs = support > 0
    return float((2 * hits[occurs] / sizes[occurs]).min()) if occurs.any() else 0.0


def _class_counts(
    labels: np.ndarray, predicted: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often each class is right, is there and is predicted (their sum), and is there."""
    hits = np.bincount(labels[predicted == labels], minlength=classes)
    support = np.bincount(labels, minlength=classes)
    return hits, support + np.bincount(predicted, minlength=classes), support


def fidelity_columns(
    logits: Float[np.ndarray, "positions classes"],
    teacher: Float[np.ndarray, "positions classes"],
    labels: Int[np.ndarray, " positions"],
    offsets: Int[np.ndarray, " texts_and_one"],
) -> dict[str, Column]:
    """How often a model predicts as its teacher: of all positions, where that is right, and wrong.

    Where texts that are counted have no such position it is 0.
    """
    of_teacher = teacher.argmax(axis=-1)
    alike, right = logits.argmax(axis=-1) == of_teacher, of_teacher == labels
    all_positions = np.ones(len(labels), bool)
    parts = {"agreement": all_positions, "agreement_right": right, "agreement_wrong": ~right}

    def share(mask: np.ndarray) -> Column:
        hits, counts = _by_text(alike & mask, offsets), _by_text(mask, offsets)
        return lambda rows: float(hits[rows].sum() / max(1.0, counts[rows].sum()))

    return {name: share(mask) for name, mask in parts.items()}


def label_columns(
    logits: Float[np.ndarray, "examples labels"],
    predicted: Bool[np.ndarray, "examples labels"],
    labels: Int[np.ndarray, "examples labels"],
) -> dict[str, Column]:
    """Micro and macro F1, subset accuracy and NLL of several labels a text."""
    holds = labels.astype(bool)
    true_positives = (predicted & holds).astype(np.int64)
    either = predicted.astype(np.int64) + holds
    whole = (predicted == holds).all(axis=1)
    signs = np.where(holds, -1.0, 1.0)
    nats = np.logaddexp(0.0, signs * logits.astype(np.float64)).sum(axis=1)

    def macro_f1(rows: np.ndarray) -> float:
        hits, counts = true_positives[rows].sum(axis=0), either[rows].sum(axis=0)
        return float(np.where(counts > 0, 2 * hits / np.maximum(counts, 1), 0.0).mean())

    def micro_f1(rows: np.ndarray) -> float:
        count = int(either[rows].sum())
        return 2 * int(true_positives[rows].sum()) / count if count else 0.0

    return {
        "micro_f1": micro_f1,
        "macro_f1": macro_f1,
        "subset_accuracy": lambda rows: float(whole[rows].mean()),
        "nll": lambda rows: float(nats[rows].mean()),
    }


def value_columns(
    predictions: Float[np.ndarray, " examples"], values: Float[np.ndarray, " examples"]
) -> dict[str, Column]:
    """Correlations and root mean squared error of one real value a text."""

    def correlation(first: np.ndarray, second: np.ndarray) -> float:
        if np.ptp(first) == 0 or np.ptp(second) == 0:
            return 0.0
        return float(np.corrcoef(first, second)[0, 1])

    def rmse(rows: np.ndarray) -> float:
        return float(np.sqrt(np.mean((predictions[rows] - values[rows]) ** 2)))

    return {
        "pearson": lambda rows: correlation(predictions[rows], values[rows]),
        "spearman": lambda rows: correlation(rankdata(predictions[rows]), rankdata(values[rows])),
        "rmse": rmse,
    }


def count_columns(counts: Int[np.ndarray, "texts 3"]) -> dict[str, Column]:
    """Precision, recall and F1 of what is right, predicted and there."""
    names = ("precision", "recall", "f1")

    def column(place: int) -> Column:
        return lambda rows: precision_recall_f1(counts[rows])[place]

    return {name: column(place) for place, name in enumerate(names)}


def word_columns(
    logits: Float[np.ndarray, "words classes"],
    labels: Int[np.ndarray, " words"],
    offsets: Int[np.ndarray, " texts_and_one"],
) -> dict[str, Column]:
    """Accuracy and NLL of the words of each text, which begin at `offsets`."""
    lengths = np.diff(offsets)
    right = _by_text(logits.argmax(axis=-1) == labels, offsets)
    nats = _by_text(nats_of(logits, labels), offsets)

    def mean(sums: np.ndarray) -> Column:
        return lambda rows: float(sums[rows].sum() / max(1, lengths[rows].sum()))

    return {"token_accuracy": mean(right), "nll": mean(nats)}


def calibration_column(
    distribution: Distribution,
    logits: np.ndarray,
    labels: np.ndarray,
    offsets: Int[np.ndarray, " texts_and_one"],
    *,
    bins: int,
) -> dict[str, Column]:
    """The expected calibration error; nothing where outputs are no probabilities."""
    if distribution == "real":
        return {}
    if distribution == "bernoulli":
        confidence = expit(np.abs(logits.astype(np.float64)))
        gaps = confidence - ((logits > 0) == labels)
    else:
        confidence = softmax(logits.astype(np.float64), axis=-1).max(axis=-1)[:, None]
        gaps = confidence - (logits.argmax(axis=-1) == labels)[:, None]
    edges = np.linspace(0.0, 1.0, bins + 1)
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    texts = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[:, None]
    sums = np.zeros((len(offsets) - 1, bins))
    np.add.at(sums, (np.broadcast_to(texts, places.shape), places), gaps)
    counts = np.diff(offsets) * confidence.shape[1]
    return {
        "ece": lambda rows: float(np.abs(sums[rows].sum(axis=0)).sum() / max(1, counts[rows].sum()))
    }


Draws = Mapping[str, np.ndarray]  # column -> its score of all texts, then of each resample


def draws(columns: Mapping[str, Column], *, texts: int, resamples: int) -> Draws:
    """The scores of all columns on all texts, and on the same resampled texts for every model."""
    samples = [np.arange(texts), *resampled(texts, resamples)]
    return {name: np.array([score(rows) for rows in samples]) for name, score in columns.items()}


def differences(first: Draws, second: Draws, *, level: float) -> dict[str, dict[str, float]]:
    """first - second and its bootstrap interval, column by column: difference, low, high.

    Paired: both are scored on the same resampled texts, and all columns on the same ones. Columns
    that one of them lacks are left out.
    """
    bounds = {}
    for name in (name for name in first if name in second):
        apart = first[name] - second[name]
        low, high = percentiles(apart[1:].tolist(), level)
        bounds[name] = {"difference": float(apart[0]), "low": low, "high": high}
    return bounds


def nats_of(
    logits: Float[np.ndarray, "positions classes"], labels: Int[np.ndarray, " positions"]
) -> Float[np.ndarray, " positions"]:
    """The negative log-likelihood of each label, in nats."""
    log_p = log_softmax(logits.astype(np.float64), axis=-1)
    nats: np.ndarray = -log_p[np.arange(len(labels)), labels]
    return nats


def _by_text(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return np.diff(sums[offsets])
