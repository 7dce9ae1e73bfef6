"""Conversations as token ids: the ids that inference would see, with what counts among them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distillkit.chat.conversation import Conversation, Message
from distillkit.chat.templates import ChatTemplate, Range, Turn

Example = tuple[np.ndarray, np.ndarray]  # token ids and which of them are learnt, [tokens] each

LEADING = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a conversation: its examples, each learning its turns in full.

    `oldest_gone` counts the turns that an example has lost, and `too_long` are examples of one
    question and its response that do not fit: (tokens before it, tokens in all, example).
    """

    examples: list[Example]
    oldest_gone: int = 0
    too_long: tuple[tuple[int, int, Example], ...] = ()


class ConversationReader:
    """Reads conversations by one template, in examples of at most `max_length` tokens.

    A conversation is one example where the template only appends; where it rewrites earlier turns
    each assistant turn is an example of its own. What is too long comes apart between questions:
    system text and question stay with each response, whole oldest turns go first.
    """

    def __init__(self, template: ChatTemplate, *, max_length: int) -> None:
        self.template, self.max_length = template, max_length
        self.tokenizer = template.tokenizer
        self._headers: dict[str, list[int]] = {}
        vocabulary = self.tokenizer.get_vocab()
        self._marks = {vocabulary[m]: m for m in template.marks if m in vocabulary}
        self._added = np.asarray([*self._marks], np.int64)

    def read(self, conversation: Conversation) -> Reading:
        """The examples of a conversation. Raises `BadConversation` for one that is refused."""
        messages, tools, turns = conversation.messages, conversation.tools, conversation.turns
        with self.template.guard():
            if not turns:
                return Reading([])
            messages = messages[: turns[-1] + 1]  # what comes after is no part of any example
            whole = self.together(messages, tools, turns)
            if whole is None:
                return self._each_alone(messages, tools, turns)
            if len(whole[0]) <= self.max_length:
                return Reading([whole] if whole[1].any() else [])
            return self._in_parts(messages, tools, turns)

    # one example for all turns, or for one

    def together(
        self, messages: Sequence[Message], tools: Sequence[Any] | None, turns: Sequence[int]
    ) -> Example | None:
        """All turns in one example; None where inference would see other tokens in any of them."""
        whole = self.template.render(messages, tools, prompt=False)
        turns_read: list[Turn] = []
        for place in turns:
            turn = self.template.turn(messages, tools, place)
            if not whole.startswith(turn.prompt + turn.response):
                return None
            turns_read.append(turn)
        last = turns_read[-1]
        text = whole[: len(last.prompt) + len(last.response)]
        ids, begins, ends = self._encoded(text)
        learnt = np.zeros(len(ids), bool)
        for turn in turns_read:
            begin = len(turn.prompt)
            first = self._response_begins(turn.prompt, ids, begins)
            if first is None or (first < len(ids) and ends[first] <= begin):
                return None
            of_turn = _in_ranges(ends, [(low + begin, high + begin) for low, high in turn.ranges])
            of_turn[:first] = False
            learnt |= of_turn
        return ids, learnt

    def alone(
        self, messages: Sequence[Message], tools: Sequence[Any] | None, place: int
    ) -> Example:
        """One turn after all that was said before it, as a prompt and its response."""
        return self.of_turn(self.template.turn(messages, tools, place))

    def of_turn(self, turn: Turn) -> Example:
        """A turn as ids: the prompt's are the same, whatever the response begins with."""
        before = self._encoded(turn.prompt)[0]
        ids, _, ends = self._encoded(turn.prompt + turn.response)
        begin = len(turn.prompt)
        if not np.array_equal(ids[: len(before)], before):
            apart = self._apart(before, ids, turn.response)
            if apart is not None:
                ids, ends, begin = *apart, 0
                learnt = _in_ranges(ends, turn.ranges)
                learnt[: len(before)] = False
                return ids, learnt
            before = before[: int(np.searchsorted(ends, begin, side="right"))]
        learnt = _in_ranges(ends, [(low + begin, high + begin) for low, high in turn.ranges])
        learnt[: len(before)] = False
        return ids, learnt

    def _apart(
        self, before: np.ndarray, whole: np.ndarray, response: str
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """A prompt's ids and then the response's own, where the two would run into one token.

        Returns the ids and where each ends in the response, [tokens] each; None where the text
        would not be the same. Behind some text (an anchor) no tokenizer puts a blank of its own in
        front of the response.
        """
        text = self.tokenizer.decode(whole)
        for anchor in (self.tokenizer.eos_token, "\n", "."):
            if not anchor:
                continue
            skipped = self._encoded(anchor)[0]
            ids_after, _, ends = self._encoded(anchor + response)
            ids = np.concatenate([before, ids_after[len(skipped) :]])
            if np.array_equal(ids_after[: len(skipped)], skipped) and (
                self.tokenizer.decode(ids) == text
            ):
                ends_after = ends[len(skipped) :] - len(anchor)
                return ids, np.concatenate([np.zeros(len(before), np.int64), ends_after])
        return None

    def _encoded(self, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(token ids, where each begins, where it ends), [tokens] each.

        Some added tokens take the blanks beside them; they begin and end where they are written.
        """
        ids, begins, ends = encoded(text, self.tokenizer)
        for place in np.flatnonzero(np.isin(ids, self._added)):
            mark = self._marks[int(ids[place])]
            at = text.find(mark, int(begins[place]), int(ends[place]))
            if at >= 0:
                begins[place], ends[place] = at, at + len(mark)
        return ids, begins, ends

    def _response_begins(self, prompt: str, ids: np.ndarray, begins: np.ndarray) -> int | None:
        """The place of the first token after a prompt, whose own are the same as without it.

        None where they are not. Added tokens keep text apart, so only what follows the last of
        them is looked at.
        """
        begin = max((prompt.rfind(mark) for mark in self.template.breaks), default=-1)
        header = prompt[max(begin, 0) :]
        if header not in self._headers:
            self._headers[header] = self._encoded(header)[0].tolist()
        header_ids = self._headers[header]
        first = int(np.searchsorted(begins, max(begin, 0)))
        last = first + len(header_ids)
        return last if ids[first:last].tolist() == header_ids else None

    # what is too long

    def _each_alone(
        self, messages: Sequence[Message], tools: Sequence[Any] | None, turns: Sequence[int]
    ) -> Reading:
        """Each turn an example of its own, its oldest turns left out where it is too long."""

        def build(part: Sequence[Message]) -> Example:
            return self.alone(part, tools, len(part) - 1)

        return _gathered([self._oldest_first(messages[: at + 1], build)[1] for at in turns])

    def _in_parts(
        self, messages: Sequence[Message], tools: Sequence[Any] | None, turns: Sequence[int]
    ) -> Reading:
        """Consecutive turns in few examples: the last ones first, as many as fit."""
        readings: list[Reading] = []
        remaining = list(turns)
        while remaining:
            last, waiting = remaining[-1], tuple(remaining)

            def build(part: Sequence[Message], waiting: Sequence[int] = waiting) -> Example:
                shift = waiting[-1] + 1 - len(part)
                indices = [at - shift for at in waiting if at - shift >= _head(part)]
                example = self.together(part, tools, indices)
                return self.alone(part, tools, len(part) - 1) if example is None else example

            begin, reading = self._oldest_first(messages[: last + 1], build)
            readings.append(reading)
            remaining = [at for at in remaining if at < begin]
        return _gathered(readings[::-1])

    def _oldest_first(
        self, messages: Sequence[Message], build: Callable[[Sequence[Message]], Example]
    ) -> tuple[int, Reading]:
        """(where the kept turns begin, the example): whole oldest turns go until it fits."""
        head = _head(messages)
        begins = _questions(messages, head)
        examples: dict[int, Example] = {}

        def example(choice: int) -> Example:
            if choice not in examples:
                recent = messages[begins[choice] :]
                examples[choice] = build([*messages[:head], *recent])
            return examples[choice]

        low, high = 0, len(begins) - 1
        while low < high:
            middle = (low + high) // 2
            if len(example(middle)[0]) <= self.max_length:
                high = middle
            else:
                low = middle + 1
        ids, learnt = example(low)
        if not learnt.any():
            return begins[low], Reading([], low)
        if len(ids) <= self.max_length:
            return begins[low], Reading([(ids, learnt)], low)
        before = int(np.flatnonzero(learnt)[0])
        return begins[low], Reading([], low, ((before, len(ids), (ids, learnt)),))


def _head(messages: Sequence[Message]) -> int:
    """How many messages at the front belong to no turn."""
    later = (i for i, message in enumerate(messages) if message["role"] not in LEADING)
    return next(later, len(messages))


def _questions(messages: Sequence[Message], head: int) -> list[int]:
    """Where the turns begin: at each question of the user's."""
    questions = [
        place
        for place in range(head, len(messages))
        if messages[place]["role"] == "user"
        and (place == head or messages[place - 1]["role"] != "user")
    ]
    return questions if questions and questions[0] == head else [head, *questions]


def _gathered(parts: Sequence[Reading]) -> Reading:
    return Reading(
        [example for part in parts for example in part.examples],
        sum(part.oldest_gone for part in parts),
        tuple(long for part in parts for long in part.too_long),
    )


def encoded(text: str, tokenizer: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(token ids, where each begins in the text, where it ends), [tokens] each; none is added."""
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans = np.asarray(encoding["offset_mapping"], np.int64).reshape(-1, 2)
    return np.asarray(encoding["input_ids"], np.int32), spans[:, 0], spans[:, 1]


def _in_ranges(ends: np.ndarray, ranges: Sequence[Range]) -> np.ndarray:
    """Which tokens end inside one of the ranges, [tokens].

    Where it begins says little: many tokenizers give a token the blank before it, and that may
    stand in the prompt.
    """
    learnt = np.zeros(len(ends), bool)
    for begin, end in ranges:
        learnt |= (ends > begin) & (ends <= end)
    return learnt
