"""Token tables of made-up tokens, for what looks at labels and positions only."""

from collections.abc import Sequence

import numpy as np

from distillkit.token_table import TokenTable


def one_position_each(labels: Sequence[float] | np.ndarray) -> TokenTable:
    """Examples of one token with a label each, or several."""
    return _table(np.asarray(labels), np.ones(len(labels), np.int64), None)


def of_words(labels: Sequence[Sequence[int]]) -> TokenTable:
    """Sentences of as many counted tokens as they have labels."""
    lengths = np.array([len(row) for row in labels])
    flat = np.concatenate([np.asarray(row, np.int64) for row in labels])
    return _table(flat, lengths, np.ones(len(flat), bool))


def _table(labels: np.ndarray, lengths: np.ndarray, counted: np.ndarray | None) -> TokenTable:
    return TokenTable(
        ids=np.zeros(int(lengths.sum()), np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        segments=None,
        keys=np.arange(len(lengths)).astype("S16"),
        labels=labels,
        label_mask=np.ones(len(labels), bool),
        loss_mask=counted,
    )
