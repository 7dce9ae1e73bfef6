"""Fast paths: shorter ways to the same results, each with its measured gain and a switch.

All are taken where they apply. `DISTILLKIT_DISABLE_FAST_PATHS=first_token_layer,cached_casts` takes
the plain ways instead, and `all` takes none of them: to measure what a path brings, or to tell
whether it is at fault. It is a variable of the environment and no setting, as results are the same
up to rounding (draws have the same distribution): as between two machines, no artifact's name
depends on it.

On a floor below losses, which take one of them.
"""

import os
from difflib import get_close_matches
from enum import StrEnum

from distillkit.errors import ConfigError

VARIABLE = "DISTILLKIT_DISABLE_FAST_PATHS"
ALL = "all"


class FastPath(StrEnum):
    """A fast path, and what it brings; tables and machines: scripts/bench/README.md."""

    REJECTION_SAMPLING = "rejection_sampling"
    """Draws proposed by logits rounded to bfloat16 and accepted by exact ones, on processors.

    In `targets/codecs/rejection_sampling.py`, of a language model in bfloat16 with
    `targets=sampled`. Head and draws of 935 positions of a vocabulary of 49,152 take 258 ms instead
    of 336. The teacher's pass had 0.86 to 0.89 of the bare forward's tokens a second without it,
    and 0.904 [0.871, 0.923] and 0.971 [0.969, 0.999] in two measurements with it
    (`scripts/bench/language_speed.py`, 2 cores with AVX512 and bfloat16, torch 2.13.0). Of the
    processor time, without it a pass of 2,048 tokens takes 1.005 [1.001, 1.016]
    (`scripts/bench/fast_paths.py`, 3 rounds, one thread, busy). A GPU has products of bfloat16
    factors with float32 sums, and does without it.
    """

    BFLOAT16_PRODUCTS = "bfloat16_products"
    """oneDNN's bfloat16 products of a teacher's hidden states with its head, on processors.

    In `losses/heads.py`, of hidden states that come in bfloat16. Without it the pass of a language
    model with `targets=top_k` takes 1.228 [1.170, 1.259] of the processor time
    (`scripts/bench/fast_paths.py`, 3 rounds of 2,048 tokens, one thread of the same processor,
    busy).
    """

    CACHED_CASTS = "cached_casts"
    """Autocast converts each weight once a pass over the data, and not once a batch.

    In `models/precision.py`, wherever a model only answers. Without it a teacher's pass of 6 layers
    takes 1.068 [1.043, 1.084] of the processor time, and that of a language model 0.976
    [0.842, 1.023], that is nothing that could be measured (`scripts/bench/fast_paths.py`, 3 rounds,
    one thread of the same processor, busy). A GPU was not measured.
    """

    FIRST_TOKEN_LAYER = "first_token_layer"
    """The last layer of an encoder that classifies texts runs for the first token alone.

    In `models/first_token.py`, training included. Without it a step of BERT-tiny (2 layers) takes
    1.481 [1.481, 1.515] of the processor time, and a teacher's pass of 6 layers 1.141
    [1.134, 1.154] (`scripts/bench/fast_paths.py`, 3 rounds, one thread of the same
    processor, busy).
    """

    @property
    def is_enabled(self) -> bool:
        """Whether it may be taken. Raises `ConfigError` where the variable names none."""
        return self not in disabled()


def disabled() -> frozenset[FastPath]:
    """The paths that the environment disables. Raises `ConfigError` where it names none."""
    words = [word.strip() for word in os.environ.get(VARIABLE, "").split(",")]
    words = [word for word in words if word]
    if ALL in words:
        return frozenset(FastPath)
    for word in words:
        if word not in {*FastPath}:
            near = get_close_matches(word, [*FastPath, ALL], n=1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(FastPath)}, {ALL}"
            raise ConfigError(f"{VARIABLE}: no fast path is called {word!r}; {hint}")
    return frozenset(map(FastPath, words))
