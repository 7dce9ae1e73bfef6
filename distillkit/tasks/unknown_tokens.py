"""How much of a text a tokenizer cannot read: what it writes as its one unknown token."""

from typing import Any

import numpy as np

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
    of_text = ~np.isin(ids, sorted(special))
    return float((ids == unknown).sum() / max(1, of_text.sum()))
