"""Held-out text for a language model whose vocabulary was pruned: other models' tokens in pieces.

All models are held to the same tokens. One that is gone from a vocabulary is spelt by those that
remain, and its negative log-likelihood is the sum of theirs: that of the same stretch of text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distillkit.errors import ModelError
from distillkit.models.vocabularies import real_vocabulary
from distillkit.token_table import TokenTable


def respelling(whole: Any, pruned: Any, ids: np.ndarray, *, at: str) -> list[np.ndarray]:
    """The ids of a pruned tokenizer that spell each token of the whole one, by its id.

    Raises `ModelError` where one of the tokens `ids` cannot be spelt.
    """
    vocabulary, splitting = pruned.get_vocab(), pruned.backend_tokenizer.model
    tokens = {i: token for token, i in whole.get_vocab().items()}
    pieces = [np.zeros(0, np.int32)] * real_vocabulary(whole)
    for i in np.unique(ids).tolist():
        token = tokens.get(i, "")
        if token in vocabulary:
            pieces[i] = np.array([vocabulary[token]], np.int32)
            continue
        split = splitting.tokenize(token) if token else []
        pieces[i] = np.array([piece.id for piece in split], np.int32)
        if not split or pruned.unk_token_id in pieces[i]:
            raise ModelError(
                f"{at}: its vocabulary was pruned and cannot spell {token!r}, which the held-out "
                "text has; it cannot be held against models of other tokens"
            )
    return pieces


def respelt(table: TokenTable, pieces: Sequence[np.ndarray]) -> tuple[TokenTable, np.ndarray]:
    """(a language model's table in pieces, into how many each counted position went).

    A position says the token after it: where that is in pieces, each of them is said in turn.
    """
    assert table.loss_mask is not None
    lengths = np.array([len(of_token) for of_token in pieces])
    counts = lengths[table.ids]
    ids = np.concatenate([np.zeros(0, np.int32), *(pieces[i] for i in table.ids)])
    ends = np.cumsum(counts)
    learnt = np.roll(table.loss_mask, 1)  # the tokens that are said, whatever was before them
    learnt[:1] = False
    mask = np.zeros(len(ids), bool)
    mask[:-1] = np.repeat(learnt, counts)[1:]
    new = TokenTable(
        ids=ids,
        offsets=np.concatenate([[0], ends])[table.offsets],
        segments=None,
        keys=table.keys,
        labels=np.roll(ids, -1)[mask].astype(np.int64),
        label_mask=np.ones(int(mask.sum()), bool),
        loss_mask=mask,
        text_index=table.text_index,
    )
    return new, counts[learnt]


def together(figures: Mapping[str, np.ndarray], counts: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of pieces [pieces] as those of the tokens that they spell [positions].

    A token is right where all its pieces are, with the product of their confidences.
    """
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    return {
        "nll": np.add.reduceat(figures["nll"], begins),
        "confidence": np.multiply.reduceat(figures["confidence"], begins),
        "correct": np.minimum.reduceat(figures["correct"], begins),
    }
