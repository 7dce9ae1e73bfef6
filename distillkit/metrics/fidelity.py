"""How close the student stays to its teacher."""

import numpy as np
from jaxtyping import Float
from scipy.special import log_expit, log_softmax

from distillkit.types import Distribution


def closeness(
    distribution: Distribution,
    student: Float[np.ndarray, "positions classes"],
    teacher: Float[np.ndarray, "positions classes"] | None,
) -> dict[str, float]:
    """How close outputs of this meaning are to the teacher's, by metric; nothing without one."""
    if teacher is None:
        return {}
    if distribution == "real":
        return {"rmse_to_teacher": float(np.sqrt(np.mean((student - teacher) ** 2)))}
    if distribution == "bernoulli":
        alike = float(np.mean((student > 0) == (teacher > 0)))
        return {"agreement": alike, "kl_to_teacher": mean_bernoulli_kl(student, teacher)}
    return {"agreement": agreement(student, teacher), "kl_to_teacher": mean_kl(student, teacher)}


def agreement(
    student: Float[np.ndarray, "examples classes"], teacher: Float[np.ndarray, "examples classes"]
) -> float:
    """The share of examples on which both put the same class first.

    Stanton et al. 2021, https://arxiv.org/abs/2106.05945, section 3 (top-1 agreement).
    """
    return float(np.mean(student.argmax(axis=-1) == teacher.argmax(axis=-1)))


def mean_kl(
    student: Float[np.ndarray, "examples classes"], teacher: Float[np.ndarray, "examples classes"]
) -> float:
    """Mean KL(teacher || student) at temperature 1, in nats.

    Stanton et al. 2021, https://arxiv.org/abs/2106.05945, section 3 (average predictive KL).
    """
    return float(_kl(student, teacher).mean())


def _kl(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    log_p = log_softmax(teacher.astype(np.float64), axis=-1)
    log_q = log_softmax(student.astype(np.float64), axis=-1)
    p = np.exp(log_p)
    # 0 log 0 = 0: a class that the teacher rules out adds nothing
    ratio = np.where(p > 0, log_p, 0.0) - np.where(p > 0, log_q, 0.0)
    values: np.ndarray = (p * ratio).sum(axis=-1)
    return values


def mean_bernoulli_kl(
    student: Float[np.ndarray, "examples labels"], teacher: Float[np.ndarray, "examples labels"]
) -> float:
    """Mean KL(teacher || student) in nats of labels that hold or not by themselves.

    It is that of all labels of a text together: the sum over them.
    """
    return float(_bernoulli_kl(student, teacher).mean())


def _bernoulli_kl(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    p, q = teacher.astype(np.float64), student.astype(np.float64)
    sides = (np.exp(log_expit(s * p)) * (log_expit(s * p) - log_expit(s * q)) for s in (1, -1))
    values: np.ndarray = sum(sides).sum(axis=-1)
    return values


def distances(
    distribution: Distribution,
    student: Float[np.ndarray, "positions classes"],
    teacher: Float[np.ndarray, "positions classes"],
) -> Float[np.ndarray, " positions"]:
    """How far outputs are from the teacher's at each position.

    KL(teacher || student) in nats, of real values the difference, without its sign.
    """
    if distribution == "real":
        return np.asarray(np.abs(student - teacher)[:, 0], np.float64)
    return (_bernoulli_kl if distribution == "bernoulli" else _kl)(student, teacher)
