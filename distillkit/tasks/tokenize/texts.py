"""Texts and pairs as token ids, one counted position an example."""

from typing import Any

import numpy as np

from distillkit.console.progress import track
from distillkit.token_table import TokenTable

CHUNK = 2000  # examples a call of the tokenizer


def tokenise(split: Any, tokenizer: Any, *, max_length: int, label: str) -> tuple[TokenTable, int]:
    """Tokenise a split; return the table and how many examples were cut at `max_length`."""
    ids: list[np.ndarray] = []
    segments: list[np.ndarray] = []
    lengths: list[int] = []
    truncated = 0
    with track(f"tokens of {label}", len(split)) as progress:
        for begin in range(0, len(split), CHUNK):
            texts = split.texts[begin : begin + CHUNK]
            pairs = None if split.pairs is None else split.pairs[begin : begin + CHUNK]
            encoded = tokenizer(
                texts, pairs, truncation=True, max_length=max_length, return_attention_mask=False
            )
            lengths += [len(row) for row in encoded["input_ids"]]
            ids.append(np.concatenate([np.asarray(row, np.int32) for row in encoded["input_ids"]]))
            if pairs is not None and "token_type_ids" in encoded:
                rows = encoded["token_type_ids"]
                segments.append(np.concatenate([np.asarray(row, np.int8) for row in rows]))
            truncated += sum(len(overflow) == max_length for overflow in encoded["input_ids"])
            progress.advance(len(texts), len(ids[-1]))
    count = len(split)
    labels = split.labels if split.labels is not None else np.zeros(count, np.int64)
    table = TokenTable(
        ids=np.concatenate(ids) if ids else np.zeros(0, np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        segments=np.concatenate(segments) if segments else None,
        keys=split.keys,
        labels=np.asarray(labels),
        label_mask=np.full(count, split.labels is not None),
    )
    return table, truncated
