"""Conversations and instructions as examples of which only the responses count."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from distillkit.chat.conversation import (
    ASSISTANT,
    LEARNT,
    PLAIN,
    BadConversation,
    ChatFormat,
    Conversation,
)
from distillkit.chat.templates import ChatTemplate
from distillkit.chat.unused_fields import UnusedFields
from distillkit.console.progress import say, track
from distillkit.errors import DataError
from distillkit.tasks.tokenize.conversations import ConversationReader, Example, Reading, encoded
from distillkit.tasks.tokenize.documents import Examples, around, in_front
from distillkit.tasks.tokenize.words import check_offsets
from distillkit.token_table import TokenTable

LongResponses = Literal["refuse", "cut", "drop"]


@dataclass(slots=True)
class _Collected:
    """Examples as they come in, and what has to be told of those that do not."""

    max_length: int
    long_responses: LongResponses
    label: str
    bad_rows: str = "refuse"
    examples: Examples = field(default_factory=Examples)
    truncated: int = 0
    silent: list[str] = field(default_factory=list)
    long: list[tuple[str, int, int]] = field(default_factory=list)
    cramped: list[tuple[str, int]] = field(default_factory=list)
    faulty_rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, reading: Reading, owner: int) -> None:
        """The examples of one conversation, whose place from 0 is `owner`."""
        if not reading.examples and not reading.too_long:
            self.silent.append(name)
        self.truncated += bool(reading.oldest_gone or reading.too_long)
        for ids, learnt in reading.examples:
            self.examples.add(ids, learnt, owner)
        for before, total, (ids, learnt) in reading.too_long:
            if before >= self.max_length:
                self.cramped.append((name, before))
                continue
            self.long.append((name, before, total - before))
            if self.long_responses == "cut":
                self.examples.add(ids[: self.max_length], learnt[: self.max_length], owner)

    def refuse(self, name: str, error: BadConversation) -> None:
        """Stop at a bad conversation, or leave it out."""
        if self.bad_rows == "refuse":
            raise DataError(f"data: {name}: {error}; mend it, or set data.bad_rows=drop") from error
        self.faulty_rows.append((name, str(error)))

    def tell(self, count: int) -> None:
        """Say what was left out; raises `DataError` for what is too long, unless told otherwise."""
        if self.faulty_rows:
            name, reason = self.faulty_rows[0]
            say(
                f"data: {len(self.faulty_rows):,} of {count:,} conversations of {self.label} are "
                f"left out, by data.bad_rows=drop (the first is {name}: {reason})"
            )
        if self.silent:
            say(
                f"data: {len(self.silent):,} of {count:,} examples of {self.label} have no "
                f"response to learn and are left out (the first is {self.silent[0]})"
            )
        self._tell_long()

    def _tell_long(self) -> None:
        key = f"task.max_length = {self.max_length}"
        refused = self.long_responses == "refuse"
        if self.cramped:
            name, before = max(self.cramped, key=lambda pair: pair[1])
            text = (
                f"{key}: {len(self.cramped):,} questions of {self.label} leave no room for a "
                f"response (the longest is of {name}: {before:,} tokens with its system text)"
            )
            if refused:
                raise DataError(f"{text}; raise it, or set task.long_responses=drop")
            say(f"{text}; left out, by task.long_responses={self.long_responses}")
        if self.long:
            name, before, tokens = self.long[0]
            text = (
                f"{key}: {len(self.long):,} responses of {self.label} do not fit behind their "
                f"question (the first is of {name}: {before:,} tokens before it, {tokens:,} of its "
                "own)"
            )
            if refused:
                raise DataError(
                    f"{text}; raise it, or set task.long_responses=cut (its end goes) or drop"
                )
            effect = "lose their end" if self.long_responses == "cut" else "left out"
            say(f"{text}; {effect}, by task.long_responses={self.long_responses}")


def conversation_examples(
    conversations: Sequence[Conversation],
    tokenizer: Any,
    *,
    max_length: int,
    long_responses: LongResponses,
    label: str,
    chat: ChatFormat = PLAIN,
) -> tuple[TokenTable, int]:
    """Conversations by the chat template, of which only what the assistant says counts.

    Returns the table, and how many conversations lost turns or the end of a response. Raises
    `DataError` for a conversation that the template refuses, unless those are dropped.
    """
    check_offsets(tokenizer)
    template = ChatTemplate(tokenizer, chat)
    reader = ConversationReader(template, max_length=max_length)
    unused = UnusedFields(template)
    collected = _Collected(max_length, long_responses, label, chat.bad_rows)
    with track(f"tokens of {label}", len(conversations)) as progress:
        for number, conversation in enumerate(conversations, start=1):
            name = conversation.name(number)
            try:
                reading = reader.read(conversation)
            except BadConversation as error:
                collected.refuse(name, error)
                progress.advance(1)
                continue
            collected.add(name, reading, number - 1)
            unused.look(conversation)
            progress.advance(1, sum(len(ids) for ids, _ in reading.examples))
    collected.tell(len(conversations))
    unused.tell(label)
    marked = sum(map(_marked_others, conversations))
    if marked:
        say(
            f"data: {marked:,} messages of other roles are marked to be learnt in {label}; only "
            "what the assistant says is"
        )
    if not template.closes:
        say(
            "data: the chat template closes what the assistant says with no token; a student of "
            "it does not learn where to stop"
        )
    if template.asks_for_date:
        say(f"data: the chat template asks for the date; it is told {chat.date} (template_date)")
    return collected.examples.table(), collected.truncated


def _marked_others(conversation: Conversation) -> int:
    """How many messages of others than the assistant bear a mark that asks to learn them."""
    return sum(
        message["role"] != ASSISTANT and any(message.get(mark) for mark in LEARNT)
        for message in conversation.messages
    )


def instruction_examples(
    prompts: Sequence[str],
    responses: Sequence[str],
    tokenizer: Any,
    *,
    max_length: int,
    long_responses: LongResponses,
    label: str,
    names: Sequence[str] | None = None,
) -> tuple[TokenTable, int]:
    """Prompts and responses as plain text, of which only the responses and their end count."""
    check_offsets(tokenizer)
    collected = _Collected(max_length, long_responses, label)
    with track(f"tokens of {label}", len(prompts)) as progress:
        rows = instructions(prompts, responses, tokenizer)
        for number, (ids, learnt) in enumerate(rows, start=1):
            name = names[number - 1] if names else f"number {number}"
            collected.add(name, _fitted(ids, learnt, max_length), number - 1)
            progress.advance(1, len(ids))
    collected.tell(len(prompts))
    return collected.examples.table(), collected.truncated


def _fitted(ids: np.ndarray, learnt: np.ndarray, max_length: int) -> Reading:
    if not learnt.any():
        return Reading([])
    if len(ids) <= max_length:
        return Reading([(ids, learnt)])
    before = int(np.flatnonzero(learnt)[0])
    return Reading([], too_long=((before, len(ids), (ids, learnt)),))


def instructions(
    prompts: Sequence[str], responses: Sequence[str], tokenizer: Any
) -> Iterator[Example]:
    """(token ids, which of them are the response's and its end), [tokens] each, as plain text.

    In front stands what the tokenizer puts there; the end-of-text token closes the response.
    """
    front, _ = around(tokenizer)
    end = tokenizer.eos_token_id
    for prompt, response in zip(prompts, responses, strict=True):
        ids, _, ends = encoded(prompt + response, tokenizer)
        learnt = ends > len(prompt)
        if end is not None:
            ids, learnt = np.append(ids, np.int32(end)), np.append(learnt, True)
        yield in_front(front, ids, learnt)


def chat(
    conversations: Iterable[Sequence[dict[str, Any]]], tokenizer: Any, format: ChatFormat = PLAIN
) -> Iterator[Example]:
    """The examples of conversations, whatever their length."""
    reader = ConversationReader(ChatTemplate(tokenizer, format), max_length=2**40)
    for messages in conversations:
        yield from reader.read(Conversation(messages)).examples
