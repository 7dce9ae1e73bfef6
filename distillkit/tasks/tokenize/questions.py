"""Questions with their contexts as token ids: where an answer may stand, and where it does."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from distillkit.console.progress import track
from distillkit.errors import DataError
from distillkit.tasks.tokenize.words import check_offsets
from distillkit.token_table import TokenTable
from distillkit.types import KEY_BYTES

CHUNK = 500  # questions a call of the tokenizer


def answer_examples(
    questions: Sequence[str],
    contexts: Sequence[str],
    answers: Sequence[Sequence[tuple[str, int]]],
    tokenizer: Any,
    *,
    max_length: int,
    stride: int,
    label: str,
) -> tuple[TokenTable, int]:
    """Windows of `max_length` tokens over each context, the question before each of them.

    Windows share `stride` tokens. An example has two positions, the answer's first token and its
    last; both are the [CLS] token where the answer is not wholly in the window. `answer_mask` is
    True for the tokens that may be either: the context's, and [CLS]. Returns the table, and how
    many contexts needed several windows.
    """
    check_offsets(tokenizer)
    _check_room(questions, tokenizer, max_length, stride)
    parts: dict[str, list[Any]] = {
        n: [] for n in ("ids", "segments", "answer_mask", "char_spans", "labels")
    }
    text_index: list[int] = []
    with track(f"tokens of {label}", len(questions)) as progress:
        for begin in range(0, len(questions), CHUNK):
            end = min(begin + CHUNK, len(questions))
            encoded = tokenizer(
                list(questions[begin:end]),
                list(contexts[begin:end]),
                truncation="only_second",
                max_length=max_length,
                stride=stride,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                return_attention_mask=False,
            )
            for window, of in enumerate(encoded["overflow_to_sample_mapping"]):
                ids = np.asarray(encoded["input_ids"][window], np.int32)
                is_context = np.array([s == 1 for s in encoded.sequence_ids(window)])
                spans = np.asarray(encoded["offset_mapping"][window], np.int32)
                nowhere = _cls(ids, tokenizer)
                answer_mask = is_context.copy()
                answer_mask[nowhere] = True
                answers_of_text = answers[begin + of]
                place = _place(answers_of_text[0], spans, is_context) if answers_of_text else None
                parts["ids"].append(ids)
                parts["answer_mask"].append(answer_mask)
                parts["char_spans"].append(np.where(is_context[:, None], spans, 0))
                parts["labels"].append(np.array(place or (nowhere, nowhere), np.int64))
                if "token_type_ids" in encoded:
                    kinds = np.asarray(encoded["token_type_ids"][window], np.int8)
                    parts["segments"].append(kinds)
                text_index.append(begin + of)
            progress.advance(end - begin, sum(map(len, encoded["input_ids"])))
    keys = [hashlib.blake2b(row.tobytes(), digest_size=KEY_BYTES).digest() for row in parts["ids"]]
    table = TokenTable.of_rows(
        parts["ids"],
        np.array(keys, f"S{KEY_BYTES}"),
        parts["labels"],
        segments=parts["segments"] or None,
        answer_mask=parts["answer_mask"],
        char_spans=parts["char_spans"],
        text_index=np.array(text_index, np.int64),
    )
    several = np.bincount(np.array(text_index, np.int64)) > 1
    return table, int(several.sum())


def _check_room(questions: Sequence[str], tokenizer: Any, max_length: int, stride: int) -> None:
    """Raise `DataError` where a question leaves no room for more context than windows share."""
    rows = tokenizer(list(questions), add_special_tokens=False, verbose=False)["input_ids"]
    lengths = [len(row) for row in rows]
    longest = int(np.argmax(lengths)) if lengths else 0
    length = (lengths[longest] if lengths else 0) + tokenizer.num_special_tokens_to_add(pair=True)
    if length + stride >= max_length:
        raise DataError(
            f"task.max_length = {max_length}: question {longest + 1} takes {length} tokens of it, "
            f"and windows share task.stride = {stride}, which leaves no room; raise it, or lower "
            "task.stride"
        )


def _cls(ids: np.ndarray, tokenizer: Any) -> int:
    """Where the token stands that means no answer."""
    indices = np.flatnonzero(ids == tokenizer.cls_token_id)
    return int(indices[0]) if len(indices) else 0


def _place(answer: tuple[str, int], spans: np.ndarray, context: np.ndarray) -> Any:
    """(first token, last token) of an answer; None where it is not wholly in the window."""
    text, start = answer
    end = start + len(text)
    tokens = np.flatnonzero(context)
    if not len(tokens) or start < spans[tokens[0], 0] or end > spans[tokens[-1], 1]:
        return None
    first = tokens[np.searchsorted(spans[tokens, 1], start, side="right")]
    last = tokens[np.searchsorted(spans[tokens, 1], end, side="left")]
    return int(first), int(max(first, last))
