"""What the losses should be: NumPy in float64, and nothing shared.

From log-probabilities, so that saturated logits keep their digits; a class that is ruled out has
-inf. Nothing is divided by a mass of 0, and what has a weight of 0 is not there.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np

Array = np.ndarray


def log_sum(logs: Array) -> Array:
    """Over the last axis, kept; -inf of nothing."""
    largest = logs.max(axis=-1, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        total: Array = np.log(np.exp(logs - largest).sum(axis=-1, keepdims=True)) + largest
    return total


def log_softmax(logits: Array) -> Array:
    below = logits - logits.max(axis=-1, keepdims=True)  # first, or the sum takes its digits
    return below - log_sum(below)


def over_classes(values: Array, reduction: str) -> Array:
    return values.sum(axis=-1) if reduction == "batchmean" else values.mean(axis=-1)


def of_softmax(by_class: Callable[..., Array]) -> Callable[..., Array]:
    """A divergence of the student's softmax q and the teacher's p, from its terms of their logs."""

    def reference(
        student: Array,
        teacher: Array,
        *,
        temperature: float = 1.0,
        scale_by_t2: bool = True,
        reduction: str = "batchmean",
        **own: float,
    ) -> Array:
        log_p, log_q = log_softmax(teacher / temperature), log_softmax(student / temperature)
        values = over_classes(by_class(log_p, log_q, **own), reduction)
        return values * (temperature**2 if scale_by_t2 else 1)

    return reference


def log_ratio(log_p: Array, log_q: Array) -> Array:
    """p log(p / q), 0 where p is."""
    p = np.exp(log_p)
    return p * (np.where(p > 0, log_p, 0.0) - np.where(p > 0, log_q, 0.0))


def cross_entropy(log_p: Array, log_q: Array) -> Array:
    p = np.exp(log_p)
    return -p * np.where(p > 0, log_q, 0.0)


def log_mixture(log_p: Array, log_q: Array, share: float) -> Array:
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(share) + log_p, np.log(1 - share) + log_q)


def jensen_shannon(log_p: Array, log_q: Array, beta: float = 0.5) -> Array:
    if beta in (0, 1):
        return log_ratio(log_q, log_p) if beta else log_ratio(log_p, log_q)
    log_m = log_mixture(log_p, log_q, beta)
    return beta * log_ratio(log_p, log_m) + (1 - beta) * log_ratio(log_q, log_m)


def skewed(log_p: Array, log_q: Array, skew: float = 0.1) -> Array:
    return log_ratio(log_p, log_mixture(log_p, log_q, skew))


def of_sides(
    student: Array,
    teacher: Array,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: str = "mean",
) -> Array:
    """KL of each label that holds or not by itself."""
    values = np.zeros(student.shape)
    for side in (1, -1):
        log_p, log_q = (log_sigmoid(side * it / temperature) for it in (teacher, student))
        values += log_ratio(log_p, log_q)
    return over_classes(values, reduction) * (temperature**2 if scale_by_t2 else 1)


def log_sigmoid(values: Array) -> Array:
    return -np.logaddexp(0.0, -values)


def squared_error(student: Array, teacher: Array, *, reduction: str = "mean") -> Array:
    nowhere = np.isneginf(student) & np.isneginf(teacher)
    mine, theirs = (np.where(nowhere, 0.0, it) for it in (student, teacher))
    return over_classes((mine - theirs) ** 2, reduction)


def negative_log_likelihood(student: Array, labels: Array) -> Array:
    return -np.take_along_axis(log_softmax(student), labels[..., None], axis=-1)[..., 0]


def alpha_beta(log_p: Array, log_q: Array, alpha: float = 0.2, beta: float = 0.7) -> Array:
    s = alpha + beta
    if not alpha:
        log_p, log_q = log_q, log_p
    p_s, q_s = np.exp(s * log_p), np.exp(s * log_q)
    if not (alpha and beta):
        return (log_ratio(s * log_p, s * log_q) - p_s + q_s) / s**2
    both = np.exp(alpha * log_p + beta * log_q)
    return (alpha / s * p_s + beta / s * q_s - both) / (alpha * beta)


def rows(
    by_row: Callable[..., float],
) -> Callable[..., Array]:
    """A loss of one position's logits, over all positions."""

    def reference(student: Array, teacher: Array, *rest: Array, **settings: object) -> Array:
        of_rows = [np.asarray(r).reshape(-1) for r in rest]
        held = settings.pop("held", None)
        values = []
        for i, (s, t) in enumerate(zip(flat(student), flat(teacher), strict=True)):
            fixed = {} if held is None else {"held": flat(np.asarray(held))[i]}
            values.append(by_row(s, t, *(r[i] for r in of_rows), **settings, **fixed))
        return np.array(values).reshape(student.shape[:-1])

    return reference


def flat(logits: Array) -> Array:
    return logits.reshape(-1, logits.shape[-1])


def scale(temperature: float, scale_by_t2: bool, reduction: str, parts: int) -> float:
    return (temperature**2 if scale_by_t2 else 1) / (parts if reduction == "mean" else 1)


def weighed(*parts: tuple[float, float]) -> float:
    """The sum of weight * value; what has no weight may be infinite."""
    return float(sum(weight * value for weight, value in parts if weight))


@rows
def decoupled(
    student: Array,
    teacher: Array,
    label: int,
    *,
    alpha: float = 1.0,
    beta: float = 0.5,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: str = "batchmean",
) -> float:
    target = int(teacher.argmax()) if label < 0 else int(label)
    pairs, others = [], []
    for logits in (teacher, student):
        log_p = log_softmax(logits / temperature)
        rest = np.delete(log_p, target)
        whole = log_sum(rest)[0] if len(rest) else -np.inf
        pairs.append(np.array([log_p[target], whole]))
        others.append(rest - whole if np.isfinite(whole) else rest)
    value = weighed((alpha, log_ratio(*pairs).sum()), (beta, log_ratio(*others).sum()))
    return value * scale(temperature, scale_by_t2, reduction, len(teacher))


@rows
def adaptive(
    student: Array,
    teacher: Array,
    *,
    head_mass: float = 0.5,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: str = "batchmean",
    held: Array | None = None,
) -> float:
    log_p, log_q = log_softmax(teacher / temperature), log_softmax(student / temperature)
    p, q = (
        np.exp(log_softmax(it / temperature)) for it in (teacher, student if held is None else held)
    )
    gaps = np.abs(p - q)
    mass, head = 0.0, 0.0
    for place, i in enumerate(np.argsort(-p, kind="stable")):
        mass += p[i]
        if place == 0 or mass <= head_mass:
            head += gaps[i]
    whole = gaps.sum()
    h = 1.0 if head_mass == 1 else head / whole if whole else 0.5
    value = weighed((h, log_ratio(log_p, log_q).sum()), (1 - h, log_ratio(log_q, log_p).sum()))
    return value * scale(temperature, scale_by_t2, reduction, len(p))


def interpolated(
    student: Array,
    teacher: Array,
    *,
    t: float = 1.0,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: str = "batchmean",
    held: Array | None = None,
) -> Array:
    parts = ((1 - t, student if held is None else held), (t, teacher))
    between = sum(weight * logits for weight, logits in parts if weight)
    apart = np.isneginf(between).all(axis=-1, keepdims=True)
    between = np.where(apart, teacher, between)  # nothing is between them
    log_p, log_q = log_softmax(between / temperature), log_softmax(student / temperature)
    values = over_classes(log_ratio(log_p, log_q), reduction)
    return values * (temperature**2 if scale_by_t2 else 1)


def standardised(student: Array, teacher: Array, **settings: object) -> Array:
    return of_softmax(log_ratio)(z_scores(student), z_scores(teacher), **settings)


def z_scores(logits: Array) -> Array:
    """Of the classes that are not ruled out."""
    found = np.full(logits.shape, -np.inf)
    for row, scores in zip(flat(logits), flat(found), strict=True):
        there = np.isfinite(row)
        values = row[there] - row[there].max()
        values = values - values.mean()
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        scores[there] = values / spread if values.any() and spread else 0.0
    return found


@rows
def of_pairs(
    student: Array,
    teacher: Array,
    *,
    top: int = 10,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: str = "batchmean",
) -> float:
    pairs = list(combinations(np.argsort(-teacher, kind="stable")[:top], 2))
    value = 0.0
    for pair in map(list, pairs):
        if np.isfinite(teacher[pair]).all() and not np.isneginf(student[pair]).all():
            log_p, log_q = (log_softmax(it[pair] / temperature) for it in (teacher, student))
            value += float(log_ratio(log_p, log_q).sum())
    return value * scale(temperature, scale_by_t2, reduction, max(1, len(pairs)))


@rows
def of_order(
    student: Array, teacher: Array, *, top: int = 10, reduction: str = "batchmean"
) -> float:
    ranked = np.argsort(-teacher, kind="stable")
    places = min(top, len(ranked))
    value = 0.0
    for i in range(places):
        left = student[ranked[i:]]
        if np.isfinite(teacher[ranked[i]]) and not np.isneginf(left).all():
            value -= float(log_softmax(left)[0])
    return value * scale(1.0, False, reduction, places)
