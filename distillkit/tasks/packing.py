"""Whether a model keeps examples apart that share a row."""

from typing import Any

import torch

from distillkit.progress import say
from distillkit.tasks.language_heads import takes_positions

_CLOSE = 0.05


def keeps_packed_apart(model: Any) -> bool:
    """Whether a model says the same of an example alone and of one in a shared row.

    Position ids that begin again tell transformers where an example begins. Most architectures
    then mask attention by example; those that carry a state from token to token, or that take no
    position ids, do not, and must not be packed. So it is tried on one short row, and held against
    what the same row gives as one text.
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
    ids = torch.arange(1, 13, device=model.device)[None] % vocabulary
    places = torch.cat([torch.arange(5), torch.arange(7)])[None].to(model.device)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            alone = model(input_ids=ids[:, 5:], use_cache=False).logits
            mixed = model(input_ids=ids, use_cache=False).logits[:, 5:]
            shared = model(input_ids=ids, position_ids=places, use_cache=False).logits[:, 5:]
    except TypeError:  # no position ids
        return False
    finally:
        model.train(was_training)
    return bool((shared - alone).abs().max() <= _CLOSE * (mixed - alone).abs().max())
