"""Whether a model keeps examples apart that share a row."""

from typing import Any

import torch
from torch import Tensor

from distillkit.console.progress import say
from distillkit.models.configs import usable_positions
from distillkit.models.lm_head import takes_positions
from distillkit.models.modes import evaluating

_TOKENS = 24  # of the row
_CLOSE = 0.05  # of what the row says as one text
_ROUNDING = 8  # units in the last place of the largest logit
_EXACT = 1e-4  # of the largest logit, where the model computes in float32


def keeps_packed_apart(model: Any) -> bool:
    """Whether a model says the same of an example alone and of one in a shared row.

    Position ids that begin again tell transformers where an example begins. Most architectures
    then mask attention by example; those that carry a state from token to token, or that take no
    position ids, do not, and must not be packed. So it is tried on one short row: what the second
    example says there is what it says alone, and stays when the first example is another. A state
    that leaks may be faint in weights that are new, and is none the less there.
    """
    apart = takes_positions(model) and _says_the_same(model)
    if not apart:
        say(
            f"{type(model).__name__}: does not keep examples apart that share a row; "
            "each has a row of its own"
        )
    return apart


def _says_the_same(model: Any) -> bool:
    vocabulary = model.config.get_text_config().vocab_size
    tokens = min(_TOKENS, usable_positions(model) or _TOKENS)
    begin = tokens * 3 // 8  # of the second example
    ids = torch.arange(1, tokens + 1, device=model.device)[None] % vocabulary
    other_ids = torch.cat([(ids[:, :begin] + _TOKENS) % vocabulary, ids[:, begin:]], dim=1)
    places = torch.cat([torch.arange(begin), torch.arange(tokens - begin)])[None].to(model.device)

    def second(row: Tensor, **options: Tensor) -> Tensor:
        logits: Tensor = model(input_ids=row, use_cache=False, **options).logits
        return logits[:, begin - tokens :]

    try:
        with evaluating(model), torch.inference_mode():
            alone, mixed = second(ids[:, begin:]), second(ids)
            shared, after_other = (second(row, position_ids=places) for row in (ids, other_ids))
    except TypeError:  # no position ids
        return False
    eps, size = torch.finfo(alone.dtype).eps, alone.abs().max()
    gap, leak = (shared - alone).abs().max(), (shared - after_other).abs().max()
    is_close = gap <= _CLOSE * (mixed - alone).abs().max()
    is_exact = gap <= max(_EXACT, _ROUNDING * eps) * size
    return bool(is_close and is_exact and leak <= _ROUNDING * eps * size)
