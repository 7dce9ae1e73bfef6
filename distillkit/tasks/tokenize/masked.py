"""Documents with masked tokens; the one place of the masks.

Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1 and appendix A.1: of the tokens
that are to be guessed, 80 % become the mask token, 10 % any token, and 10 % stay as they are.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from distillkit.console.progress import track
from distillkit.token_table import TokenTable, example_key
from distillkit.types import KEY_BYTES

MASKED, REPLACED = 0.8, 0.1  # shares of the chosen tokens; the rest stays
_TEXTS = 64  # documents a call of the tokenizer


def masked_examples(
    texts: Sequence[str],
    tokenizer: Any,
    *,
    max_length: int,
    probability: float,
    patterns: int,
    seed: int,
    label: str,
) -> tuple[TokenTable, int]:
    """Documents cut into windows of `max_length` tokens, each masked in `patterns` ways.

    Each is an example of its own, whose counted positions are the tokens to be guessed. Returns
    the table, and how many documents needed several windows.
    """
    vocabulary = _ordinary(tokenizer)
    rows: list[np.ndarray] = []
    keys: list[bytes] = []
    labels: list[np.ndarray] = []
    loss_mask: list[np.ndarray] = []
    text_index: list[int] = []
    several = 0
    with track(f"tokens of {label}", len(texts)) as progress:
        for begin in range(0, len(texts), _TEXTS):
            part = list(texts[begin : begin + _TEXTS])
            windows = list(_windows(part, tokenizer, max_length))
            several += len(np.unique([of for of, _, again in windows if again]))
            for of, (ids, special), _ in windows:
                for pattern in range(patterns):
                    example = masked(
                        ids,
                        special,
                        probability=probability,
                        mask=tokenizer.mask_token_id,
                        vocabulary=vocabulary,
                        seed=(seed, pattern),
                    )
                    if example is None:  # nothing but special tokens
                        break
                    row, mask = example
                    rows.append(row)
                    loss_mask.append(mask)
                    labels.append(ids[mask].astype(np.int64))
                    keys.append(example_key(row, mask))
                    text_index.append(begin + of)
            progress.advance(len(part), sum(len(ids) for _, (ids, _), _ in windows))
    filed = np.array(keys, f"S{KEY_BYTES}")
    numbers = np.array(text_index, np.int64)
    return TokenTable.of_rows(rows, filed, labels, loss_mask=loss_mask, text_index=numbers), several


def masked(
    ids: np.ndarray,
    special: np.ndarray,
    *,
    probability: float,
    mask: int,
    vocabulary: np.ndarray,
    seed: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray] | None:
    """(the ids with some masked, which are to be guessed), [tokens] each; None if there are none.

    The window's own tokens and the seed decide it, so the same text has the same masks whatever
    stands around it, whoever asks and however often.
    """
    places = np.flatnonzero(~special)
    if not len(places):
        return None
    own = hashlib.blake2b(ids.astype(np.int64).tobytes(), digest_size=8).digest()
    rng = np.random.default_rng([*seed, int.from_bytes(own, "big")])
    count = max(1, round(probability * len(places)))
    indices = rng.choice(places, count, replace=False)
    kind = rng.random(count)
    row = ids.copy()
    row[indices[kind < MASKED]] = mask
    random_indices = indices[(kind >= MASKED) & (kind < MASKED + REPLACED)]
    row[random_indices] = rng.choice(vocabulary, len(random_indices))
    loss_mask = np.zeros(len(ids), bool)
    loss_mask[indices] = True
    return row, loss_mask


def _windows(
    texts: list[str], tokenizer: Any, max_length: int
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray], bool]]:
    """(number of the text, (ids, which are special), whether it is a further window) of each."""
    encoded = tokenizer(
        texts,
        truncation=True,
        max_length=max_length,
        return_overflowing_tokens=True,
        return_special_tokens_mask=True,
        return_attention_mask=False,
    )
    before = -1
    parts = (encoded["overflow_to_sample_mapping"], encoded["input_ids"])
    for of, ids, special in zip(*parts, encoded["special_tokens_mask"], strict=True):
        yield of, (np.asarray(ids, np.int32), np.asarray(special, bool)), of == before
        before = of


def _ordinary(tokenizer: Any) -> np.ndarray:
    """The ids of all tokens that mean text, in order."""
    return np.array(sorted({*tokenizer.get_vocab().values()} - {*tokenizer.all_special_ids}))
