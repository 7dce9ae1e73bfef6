"""About how many ids, and bytes, a position takes before its teacher was asked.

What a position takes hangs on how sure the teacher is. A language model's positions are taken to be
of three kinds, equally frequent, whose probabilities fall with the rank r as r^-s: unsure, middling
and sure. With these s ten measures of SmolLM2-135M on WikiText-2 are met within 10 %: 50 draws have
19.8 ids (19.5 measured), 200 have 54.3 (53.9), a nucleus of mass 0.95 has 70.7, at most 100 (73.0).
"""

import math

import numpy as np

_KINDS = (1.2, 1.5, 2.0)  # s of each


def unique_ids(outputs: int, draws: int, exponent: float) -> float:
    """How many different ids so many draws from p^exponent have."""
    p = _probabilities(outputs, exponent)
    return float(-np.expm1(draws * np.log1p(-p.clip(max=1 - 1e-12))).sum(axis=1).mean())


def nucleus_ids(outputs: int, mass: float, limit: int) -> float:
    """How many of the most probable ids have this mass together; at most `limit`."""
    if mass >= 1:
        return float(min(limit, outputs))
    reached = np.cumsum(_probabilities(outputs, 1.0), axis=1) >= mass
    return float((1 + (~reached).sum(axis=1)).clip(max=min(limit, outputs)).mean())


def id_set_bytes(outputs: int, ids: float) -> float:
    """A set of so many ids: log2 of the number of such sets, and a bit an id at the least."""
    sets = math.lgamma(outputs + 1) - math.lgamma(ids + 1) - math.lgamma(outputs - ids + 1)
    return max(sets / math.log(2), ids) / 8


def _probabilities(outputs: int, exponent: float) -> np.ndarray:
    """[kinds, outputs], the most probable first."""
    logs = -exponent * np.outer(_KINDS, np.log(np.arange(1, outputs + 1)))
    p = np.exp(logs)
    return p / p.sum(axis=1, keepdims=True)
