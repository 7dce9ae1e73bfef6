"""How much of a text a tokenizer cannot read: what it writes as its one unknown token."""

from typing import Any

import numpy as np

from distillkit.ragged import stretches

PART = 2**20  # tokens that are looked at at a time
MUCH = 0.05  # of the tokens; English prose under its own vocabulary has less than 0.001


def unknown_share(ids: np.ndarray, tokenizer: Any) -> float | None:
    """The share of unknown tokens among those that stand for text, ids [tokens].

    None where there are none by construction: byte-level tokenizers have no unknown token, or give
    the name to one that ends a text.
    """
    unknown = tokenizer.unk_token_id
    special = {
        tokenizer.convert_tokens_to_ids(text)
        for name, text in tokenizer.special_tokens_map.items()
        # some models pad with their unknown token, and no pad is among the ids
        if name not in ("unk_token", "pad_token") and isinstance(text, str)
    }
    if unknown is None or unknown in special:
        return None
    unknown_tokens = of_text = 0
    for part in stretches(len(ids), PART):  # ids may be those of a large file
        unknown_tokens += int((ids[part] == unknown).sum())
        of_text += int((~np.isin(ids[part], sorted(special))).sum())
    return float(np.int64(unknown_tokens) / max(1, of_text))
