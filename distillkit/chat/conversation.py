"""Conversations whole: messages with all that they hold, and how they are to be written out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Message = dict[str, Any]
BadRows = Literal["refuse", "drop"]

ASSISTANT = "assistant"
LEARNT = ("weight", "train")  # marks of a message, not of the template's concern
FIXED_DATE = "2025-01-01"


class BadConversation(ValueError):
    """What is wrong with one conversation, said without naming it."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """`messages` have a role and whatever else; `tools` may be called.

    `row` is the conversation's number in its source `source`, from 1; 0 where it has none.
    """

    messages: Sequence[Message]
    tools: Sequence[Any] | None = None
    row: int = 0
    source: str = ""

    @property
    def turns(self) -> list[int]:
        """The places of the messages that are to be learnt: the assistant's, unless marked."""
        return [i for i, m in enumerate(self.messages) if m["role"] == ASSISTANT and is_learnt(m)]

    def name(self, number: int) -> str:
        """How a message to the user calls it; `number` is its place among others."""
        return f"row {self.row} of {self.source}" if self.row else f"conversation {number}"


def is_learnt(message: Message) -> bool:
    """Whether a message is marked as one to learn, or not marked at all."""
    return all(bool(message.get(mark, True)) for mark in LEARNT)


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How conversations become text.

    `template` is a Jinja template (or several, by name), None: the tokenizer's own. `arguments` are
    further variables of it, `date` (ISO) is what it takes for today. `bad_rows` says what becomes
    of a conversation that it refuses.
    """

    template: str | dict[str, str] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    date: str = FIXED_DATE
    bad_rows: BadRows = "refuse"


PLAIN = ChatFormat()
