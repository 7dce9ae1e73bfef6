"""What the losses should be: NumPy in float64, and nothing shared."""

from collections.abc import Callable
from itertools import combinations

import numpy as np

Array = np.ndarray


def softmax(logits: Array) -> Array:
    weights: Array = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def over_classes(values: Array, reduction: str) -> Array:
    return values.sum(axis=-1) if reduction == "batchmean" else values.mean(axis=-1)


def of_softmax(by_class: Callable[..., Array]) -> Callable[..., Array]:
    """A divergence of the student's softmax q and the teacher's p, from its terms of (p, q)."""

    def reference(
        student: Array,
        teacher: Array,
        *,
        temperature: float = 1.0,
        scale_by_t2: bool = True,
        reduction: str = "batchmean",
        **own: float,
    ) -> Array:
        p, q = softmax(teacher / temperature), softmax(student / temperature)
        values = over_classes(by_class(p, q, **own), reduction)
        return values * (temperature**2 if scale_by_t2 else 1)

    return reference


def log_ratio(p: Array, q: Array) -> Array:
    """p log(p / q), 0 where p is."""
    with np.errstate(divide="ignore"):
        return p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, q, 1))


def cross_entropy(p: Array, q: Array) -> Array:
    return -p * np.log(q)


def jensen_shannon(p: Array, q: Array, beta: float = 0.5) -> Array:
    m = beta * p + (1 - beta) * q
    return beta * log_ratio(p, m) + (1 - beta) * log_ratio(q, m)


def skewed(p: Array, q: Array, skew: float = 0.1) -> Array:
    return log_ratio(p, skew * p + (1 - skew) * q)


def of_sides(
    student: Array,
    teacher: Array,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: str = "mean",
) -> Array:
    """KL of each label that holds or not by itself."""
    p, q = (1 / (1 + np.exp(-logits / temperature)) for logits in (teacher, student))
    values = over_classes(log_ratio(p, q) + log_ratio(1 - p, 1 - q), reduction)
    return values * (temperature**2 if scale_by_t2 else 1)


def squared_error(student: Array, teacher: Array, *, reduction: str = "mean") -> Array:
    return over_classes((student - teacher) ** 2, reduction)


def negative_log_likelihood(student: Array, labels: Array) -> Array:
    return -np.log(np.take_along_axis(softmax(student), labels[..., None], axis=-1)[..., 0])


def alpha_beta(p: Array, q: Array, alpha: float = 0.2, beta: float = 0.7) -> Array:
    whole = alpha + beta
    powers = alpha / whole * p**whole + beta / whole * q**whole - p**alpha * q**beta
    return powers / (alpha * beta)


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
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    pair = [np.array([r[target], np.delete(r, target).sum()]) for r in (p, q)]
    others = [np.delete(r, target) / np.delete(r, target).sum() for r in (p, q)]
    value = alpha * log_ratio(*pair).sum() + beta * log_ratio(*others).sum()
    return float(value * scale(temperature, scale_by_t2, reduction, len(p)))


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
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    gaps = np.abs(p - (q if held is None else softmax(held / temperature)))
    mass, head = 0.0, 0.0
    for place, i in enumerate(np.argsort(-p)):
        mass += p[i]
        if place == 0 or mass <= head_mass:
            head += gaps[i]
    h = head / gaps.sum()
    value = h * log_ratio(p, q).sum() + (1 - h) * log_ratio(q, p).sum()
    return float(value * scale(temperature, scale_by_t2, reduction, len(p)))


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
    between = (1 - t) * (student if held is None else held) + t * teacher
    p, q = softmax(between / temperature), softmax(student / temperature)
    return over_classes(log_ratio(p, q), reduction) * (temperature**2 if scale_by_t2 else 1)


def standardised(student: Array, teacher: Array, **settings: object) -> Array:
    scores = [
        (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, ddof=1, keepdims=True)
        for x in (student, teacher)
    ]
    return of_softmax(log_ratio)(*scores, **settings)


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
    pairs = list(combinations(np.argsort(-teacher)[:top], 2))
    value = 0.0
    for pair in map(list, pairs):
        p, q = softmax(teacher[pair] / temperature), softmax(student[pair] / temperature)
        value += log_ratio(p, q).sum()
    return float(value * scale(temperature, scale_by_t2, reduction, len(pairs)))


@rows
def of_order(
    student: Array, teacher: Array, *, top: int = 10, reduction: str = "batchmean"
) -> float:
    ranked = np.argsort(-teacher)
    places = min(top, len(ranked))
    value = -sum(np.log(softmax(student[ranked[i:]])[0]) for i in range(places))
    return float(value * scale(1.0, False, reduction, places))
