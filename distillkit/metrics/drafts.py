"""What a small model is worth as the draft model of a large one (speculative decoding).

Leviathan, Kalman, Matias 2023, https://arxiv.org/abs/2211.17192. At a position the draft's token is
accepted with probability sum_x min(p(x), q(x)) = 1 - TV(p, q) (theorem 3.5 and corollary 3.6), p of
the large model and q of the small. Its mean is alpha; of k tokens drafted at once, each accepted
with alpha by itself, a run of the large model gives (1 - alpha^(k+1)) / (1 - alpha) tokens on
average (equation 1), its own included.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float


def tokens_per_run(alpha: float, length: int) -> float:
    """Tokens that a run of the large model gives with `length` drafted ones, from 1 to length + 1.

    As a sum of powers, which is exact at alpha = 1 too.
    """
    return float(sum(alpha**power for power in range(length + 1)))


def draft_scores(
    acceptance: Float[np.ndarray, " positions"], lengths: Sequence[int]
) -> dict[str, float]:
    """The mean acceptance, and the tokens a run at each draft length."""
    alpha = float(np.clip(acceptance.astype(np.float64).mean(), 0.0, 1.0))
    runs = {column(length): tokens_per_run(alpha, length) for length in lengths}
    return {"acceptance": alpha, **runs}


def column(length: int) -> str:
    """The name of the column of a draft length."""
    return f"tokens_per_run_{length}"


def titles(lengths: Sequence[int]) -> dict[str, dict[str, Any]]:
    """The columns with their titles and formats; none without draft lengths."""
    columns = {"acceptance": ("acceptance", ".4f")} if lengths else {}
    columns |= {column(length): (f"tokens/run, k={length}", ".3f") for length in lengths}
    return {n: {"title": t, "format": style, "falls": False} for n, (t, style) in columns.items()}
