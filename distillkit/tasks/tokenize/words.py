"""Words as token ids; the one place where a word's label meets its first sub-word."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from distillkit.console.progress import track
from distillkit.errors import ModelError
from distillkit.token_table import TokenTable
from distillkit.types import KEY_BYTES

CHUNK = 1000  # sentences a call of the tokenizer


def word_examples(
    sentences: Sequence[Sequence[str]],
    labels: np.ndarray,
    tokenizer: Any,
    *,
    max_length: int,
    label: str,
) -> tuple[TokenTable, int]:
    """(the table of sentences of words with `labels` [words], how many sentences were cut).

    A word counts where its first sub-word stands. Words beyond `max_length` tokens are left out,
    and so are those that the tokenizer has no token for: `words` of the table tells which are left.
    """
    check_offsets(tokenizer)
    ids: list[np.ndarray] = []
    loss_mask: list[np.ndarray] = []
    token_rows: list[np.ndarray] = []
    keys: list[bytes] = []
    text_index: list[int] = []
    places: list[np.ndarray] = []
    truncated = 0
    begins = np.concatenate([[0], np.cumsum([len(words) for words in sentences], dtype=np.int64)])
    with track(f"tokens of {label}", len(sentences)) as progress:
        for begin in range(0, len(sentences), CHUNK):
            part = sentences[begin : begin + CHUNK]
            encoded = tokenizer(
                [" ".join(words) for words in part],
                truncation=True,
                max_length=max_length,
                return_attention_mask=False,
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
            )
            rows = (encoded["input_ids"], encoded["offset_mapping"], encoded["special_tokens_mask"])
            for of_part, (words, row, spans, special) in enumerate(zip(part, *rows, strict=True)):
                first, of = first_tokens(words, np.asarray(spans), np.asarray(special, bool))
                truncated += len(of) < len(words)
                if not len(of):
                    continue
                ids.append(np.asarray(row, np.int32))
                loss_mask.append(first)
                token_rows.append(labels[begins[begin + of_part] + of])
                keys.append(_key(words))
                text_index.append(begin + of_part)
                places.append(of.astype(np.int32))
            progress.advance(len(part), sum(map(len, rows[0])))
    table = TokenTable.of_rows(
        ids,
        np.array(keys, f"S{KEY_BYTES}"),
        token_rows,
        loss_mask=loss_mask,
        text_index=np.array(text_index, np.int64),
        word_index=places,
    )
    return table, truncated


def _key(words: Sequence[str]) -> bytes:
    """What a sentence's soft targets are filed under: all its words, whichever of them count."""
    return hashlib.blake2b("\x1f".join(words).encode(), digest_size=KEY_BYTES).digest()


def first_tokens(
    words: Sequence[str], spans: np.ndarray, special: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(which tokens are the first of a word [tokens], the words that have one, in order).

    `spans` [tokens, 2] are characters of the words joined by blanks. A token belongs to the word
    that its last character stands in: some tokenizers give a token the blank before it.
    """
    ends = np.cumsum([len(word) + 1 for word in words])
    of = np.searchsorted(ends, spans[:, 1] - 1, side="right")
    real = ~special & (spans[:, 1] > spans[:, 0]) & (of < len(words))
    places = np.flatnonzero(real)
    _, firsts = np.unique(of[places], return_index=True)
    first = np.zeros(len(spans), bool)
    first[places[firsts]] = True
    return first, of[first]


def check_offsets(tokenizer: Any) -> None:
    """Raise `ModelError` for a tokenizer that cannot say which characters a token stands for."""
    if not tokenizer.is_fast:
        raise ModelError(
            f"{type(tokenizer).__name__}: it does not say which characters a token stands for; "
            "the model needs a tokenizer.json (a fast tokenizer)"
        )
