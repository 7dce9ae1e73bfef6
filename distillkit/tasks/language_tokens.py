"""Documents and conversations as token ids; the one place of the causal shift and the loss mask.

Position t of an example says the distribution of token t + 1, so t counts where token t + 1 is to
be learnt, and its label is that token.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from distillkit.errors import DataError
from distillkit.examples import TokenTable
from distillkit.progress import say, track
from distillkit.records import KEY_BYTES

Message = dict[str, str]
LongResponses = Literal["refuse", "cut", "drop"]
_TEXTS = 64  # documents a call of the tokenizer


@dataclass(slots=True)
class _Examples:
    """Examples while they are being gathered."""

    ids: list[np.ndarray] = field(default_factory=list)
    counted: list[np.ndarray] = field(default_factory=list)

    def add(self, ids: np.ndarray, learnt: np.ndarray) -> None:
        """Add an example: `learnt` [tokens] marks the tokens whose prediction counts."""
        counted = np.zeros(len(ids), bool)
        counted[:-1] = learnt[1:]
        if counted.any():
            self.ids.append(ids.astype(np.int32))
            self.counted.append(counted)

    def table(self) -> TokenTable:
        """The table of all examples."""
        ids = np.concatenate(self.ids) if self.ids else np.zeros(0, np.int32)
        counted = np.concatenate(self.counted) if self.counted else np.zeros(0, bool)
        lengths = [len(row) for row in self.ids]
        labels = np.roll(ids, -1)[counted].astype(np.int64)  # the last token never counts
        return TokenTable(
            ids=ids,
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
            segments=None,
            keys=np.array(
                [_key(row, mask) for row, mask in zip(self.ids, self.counted, strict=True)],
                dtype=f"S{KEY_BYTES}",
            ),
            labels=labels,
            labelled=np.ones(len(labels), bool),
            counted=counted,
        )


def _key(ids: np.ndarray, counted: np.ndarray) -> bytes:
    """What an example's soft targets are filed under: its tokens and which of them count."""
    digest = hashlib.blake2b(ids.tobytes(), digest_size=KEY_BYTES)
    digest.update(np.packbits(counted).tobytes())
    return digest.digest()


def document_examples(
    texts: Sequence[str], tokenizer: Any, *, max_length: int, stride: int, label: str
) -> tuple[TokenTable, int]:
    """Documents cut into windows of `max_length` tokens, each token predicted exactly once.

    A window begins `stride` tokens after the one before; what it shares with that one is context
    that does not count again. Windows of one document are examples of their own. An end-of-text
    token closes each document. Returns the table, and how many documents needed several windows.
    """
    found = _Examples()
    several = 0
    with track(f"tokens of {label}", len(texts)) as progress:
        for begin in range(0, len(texts), _TEXTS):
            part = list(texts[begin : begin + _TEXTS])
            rows = tokenizer(part, return_attention_mask=False, verbose=False)["input_ids"]
            for row in rows:
                ids = np.asarray(_closed(row, tokenizer), np.int32)
                several += len(ids) > max_length
                for window, learnt in _windows(ids, max_length, stride):
                    found.add(window, learnt)
            progress.advance(len(part), sum(map(len, rows)))
    return found.table(), several


def _closed(ids: list[int], tokenizer: Any) -> list[int]:
    end = tokenizer.eos_token_id
    return ids if end is None or (ids and ids[-1] == end) else [*ids, end]


def _windows(
    ids: np.ndarray, max_length: int, stride: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    predicted = 1  # the first token has nothing before it
    for begin in range(0, max(1, len(ids)), stride):
        window = ids[begin : begin + max_length]
        learnt = begin + np.arange(len(window)) >= predicted
        yield window, learnt
        predicted = begin + len(window)
        if predicted >= len(ids):
            return


def response_examples(
    rendered: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    count: int,
    max_length: int,
    long_responses: LongResponses,
    label: str,
) -> tuple[TokenTable, int]:
    """Conversations (`chat` or `instructions`) of which only what is answered counts.

    What is too long loses the oldest tokens before its first response; a response that is longer
    than the context on its own is refused, cut or dropped. Returns the table, and how many of the
    `count` conversations were cut.
    """
    found = _Examples()
    cut, silent, long = 0, [], []
    with track(f"tokens of {label}", count) as progress:
        for number, (ids, learnt) in enumerate(rendered, start=1):
            progress.advance(1, len(ids))
            if not learnt[1:].any():
                silent.append(number)
                continue
            if len(ids) > max_length:
                first = int(np.flatnonzero(learnt[1:])[0])  # the token that says the first one
                if len(ids) - first > max_length:
                    long.append((number, len(ids) - first - 1))
                    if long_responses == "drop":
                        continue
                begin = min(len(ids) - max_length, first)
                ids, learnt = ids[begin : begin + max_length], learnt[begin : begin + max_length]
                cut += 1
            found.add(ids, learnt)
    if silent:
        say(
            f"data: {len(silent):,} of {count:,} examples of {label} have no response to learn "
            f"and are left out (the first is number {silent[0]})"
        )
    if long and long_responses == "refuse":
        raise DataError(
            f"task.max_length = {max_length}: {len(long):,} of {count:,} responses of {label} are "
            f"longer on their own (the first is number {long[0][0]}, {long[0][1]:,} tokens); "
            "raise it, or set task.long_responses=cut or drop"
        )
    return found.table(), cut


def chat(
    conversations: Sequence[Sequence[Message]], tokenizer: Any
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(token ids, which of them the assistant says), [tokens] each, by the chat template."""
    if not tokenizer.chat_template:
        raise DataError(
            "data: the teacher's tokenizer has no chat template; set data.template, as in "
            "'Question: {prompt}\nAnswer: ', or take a tokenizer that has one"
        )
    for number, messages in enumerate(conversations, start=1):
        yield _rendered(messages, tokenizer, number)


def instructions(
    prompts: Sequence[str], responses: Sequence[str], tokenizer: Any
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(token ids, which of them are the response's and its end), [tokens] each, as plain text."""
    for prompt, response in zip(prompts, responses, strict=True):
        closed = response + (tokenizer.eos_token or "")
        yield encode_spans(prompt + closed, [(len(prompt), len(prompt) + len(closed))], tokenizer)


def _rendered(
    messages: Sequence[Message], tokenizer: Any, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """One conversation. The template is rendered up to each turn of the assistant and after it.

    What is added is what the assistant says: that needs no generation markers in the template,
    but one that only appends.
    """
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    whole = _render(messages, tokenizer, prompt=False)
    spans = []
    for turn in turns:
        before = _render(messages[:turn], tokenizer, prompt=True)
        after = _render(messages[: turn + 1], tokenizer, prompt=False)
        if not (whole.startswith(after) and after.startswith(before)):
            raise DataError(
                f"data: the tokenizer's chat template rewrites earlier turns (conversation "
                f"{number}), so what the assistant says cannot be told apart; end the "
                "conversations with their first response, or set data.template"
            )
        spans.append((len(before), len(after)))
    return encode_spans(whole, spans, tokenizer)


def _render(messages: Sequence[Message], tokenizer: Any, *, prompt: bool) -> str:
    return str(
        tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt)
    )


def encode_spans(
    text: str, spans: Sequence[tuple[int, int]], tokenizer: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(token ids, which of them begin inside one of the character spans), [tokens] each."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    begins = np.asarray([begin for begin, _ in encoded["offset_mapping"]], np.int64)
    learnt = np.zeros(len(begins), bool)
    for begin, end in spans:
        learnt |= (begins >= begin) & (begins < end)
    return np.asarray(encoded["input_ids"], np.int32), learnt
