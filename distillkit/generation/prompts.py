"""Held-out texts as prompts: what a model is given to continue, and where its answer ends."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distillkit.chat.conversation import ASSISTANT, BadConversation, Conversation
from distillkit.chat.templates import ChatTemplate
from distillkit.chat.turns import text_of
from distillkit.data.corpus import Split
from distillkit.errors import DataError
from distillkit.tasks.tokenize.conversations import ConversationReader, encoded
from distillkit.tasks.tokenize.responses import instructions

DOCUMENT_TOKENS = 32  # of a document that is to be continued

Asked = str | list[dict[str, Any]]  # text, or messages for the chat template


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids to be continued.

    `end` is the token that follows the response in training (the template's end of turn), where
    there is one; `said` are the tokens of the response itself, among which an end may not be.
    """

    ids: list[int]
    end: int | None = None
    response_ids: frozenset[int] = frozenset()


class Prompts:
    """Reads the held-out examples of a split as prompts, with one tokenizer."""

    def __init__(self, test: Split, tokenizer: Any) -> None:
        self.test, self.tokenizer = test, tokenizer
        self._reader: ConversationReader | None = None

    def __call__(self, place: int) -> Prompt | None:
        """What is to be continued: a document's beginning, or all before the last response.

        None of a conversation that the chat template refuses, where those are dropped; else
        raises `DataError`.
        """
        if self.test.messages is not None:
            return self._of_messages(place)
        if self.test.pairs is not None:
            return self._of_text(self.test.texts[place], self.test.pairs[place])
        ids = self.tokenizer(self.test.texts[place], verbose=False)["input_ids"]
        return Prompt(list(ids[:DOCUMENT_TOKENS]))

    @property
    def reader(self) -> ConversationReader:
        """How conversations are read, by the split's chat template."""
        if self._reader is None:
            template = ChatTemplate(self.tokenizer, self.test.chat)
            self._reader = ConversationReader(template, max_length=2**40)
        return self._reader

    def _of_text(self, question: str, response: str) -> Prompt:
        """Prompt and response are made into tokens together and cut apart.

        Made alone, the space that ends "Answer: " would be a token that never stood before a
        response.
        """
        ((ids, learnt),) = instructions([question], [response], self.tokenizer)
        end = self.tokenizer.eos_token_id
        response_ids = ids[learnt].tolist()
        response_ids = response_ids[:-1] if end is not None else response_ids
        return Prompt(ids[: int(np.argmax(learnt))].tolist(), end, frozenset(response_ids))

    def _of_messages(self, place: int) -> Prompt | None:
        talk = self.test.conversation(place)
        turn = last_turn(talk)
        try:
            with self.reader.template.guard():
                if turn is not None:
                    return self._of_turn(talk, turn)
                text = self.reader.template.render(talk.messages, talk.tools, prompt=True)
        except BadConversation as error:
            if self.test.chat.bad_rows == "drop":
                return None
            raise DataError(f"data: {talk.name(place + 1)}: {error}") from error
        return Prompt(encoded(text, self.tokenizer)[0].tolist())

    def _of_turn(self, talk: Conversation, place: int) -> Prompt:
        turn = self.reader.template.turn(talk.messages, talk.tools, place)
        whole = replace(turn, ranges=((0, len(turn.response)),))
        ids, learnt = self.reader.of_turn(whole)
        first = int(np.argmax(learnt))
        end = int(ids[-1])
        marks = self.reader.template.marks
        if self.tokenizer.convert_ids_to_tokens(end) in marks:
            return Prompt(ids[:first].tolist(), end, frozenset(ids[first:-1].tolist()))
        content = text_of(talk.messages[place]).strip()
        position = turn.response.rfind(content)  # templates may strip it, or leave it out
        close = len(turn.prompt) + (
            position + len(content) if position >= 0 else len(turn.response)
        )
        _, begins, _ = encoded(turn.prompt + turn.response, self.tokenizer)
        closing = int(np.searchsorted(begins, close)) - len(begins)  # counted from the end
        ordinary = int(ids[closing]) if closing < 0 else None
        return Prompt(
            ids[:first].tolist(), ordinary, frozenset(ids[first : len(ids) + closing].tolist())
        )


def has_responses(test: Split) -> bool:
    """Whether a split holds prompts and responses; documents have none."""
    return test.messages is not None or test.pairs is not None


def last_turn(talk: Conversation) -> int | None:
    """The place of the last thing that the assistant says in words, if it was asked anything."""
    for place in range(len(talk.messages) - 1, 0, -1):
        message = talk.messages[place]
        if message["role"] == ASSISTANT and text_of(message).strip():
            return place
    return None


def exchange(test: Split, place: int) -> tuple[Asked, str]:
    """(prompt, response) of a held-out example; the response is "" where nobody answers.

    Of a conversation, the response is the last one, and the prompt all that is said before it.
    """
    if test.messages is None:
        assert test.pairs is not None
        return test.texts[place], test.pairs[place]
    messages = test.messages[place]
    turn = last_turn(test.conversation(place))
    return (messages, "") if turn is None else (messages[:turn], text_of(messages[turn]))
