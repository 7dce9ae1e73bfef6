"""Held-out texts as prompts: what a model is given to continue, and where its answer ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distillkit.data.corpus import Split

DOCUMENT_TOKENS = 32  # of a document that is to be continued

Asked = str | list[dict[str, str]]  # text, or messages for the chat template


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids to be continued.

    `end` is the token that follows the response in training (the template's end of turn), where
    there is one; `said` are the tokens of the response itself, among which an end may not be.
    """

    ids: list[int]
    end: int | None = None
    said: frozenset[int] = frozenset()


def has_responses(test: Split) -> bool:
    """Whether a split holds prompts and responses; documents have none."""
    return test.messages is not None or test.pairs is not None


def exchange(test: Split, place: int) -> tuple[Asked, str]:
    """(prompt, response) of a held-out example; the response is "" where nobody answers.

    Of a conversation, the response is the last one, and the prompt all that is said before it.
    """
    if test.messages is None:
        assert test.pairs is not None
        return test.texts[place], test.pairs[place]
    messages = test.messages[place]
    for turn in range(len(messages) - 1, 0, -1):
        if messages[turn]["role"] == "assistant" and messages[turn]["content"].strip():
            return messages[:turn], messages[turn]["content"]
    return messages, ""


def prompt(test: Split, place: int, tokenizer: Any) -> Prompt:
    """What is to be continued: a document's beginning, or all before the last response."""
    if has_responses(test):
        return response_prompt(*exchange(test, place), tokenizer)
    return Prompt(list(tokenizer(test.texts[place], verbose=False)["input_ids"][:DOCUMENT_TOKENS]))


def response_prompt(asked: Asked, response: str, tokenizer: Any) -> Prompt:
    """A prompt as the model met it in training: the tokens that lie wholly before the response.

    Prompt and response are made into tokens together and cut apart: made alone, the space that
    ends "Answer: " would be a token that never stood before a response.
    """
    before, whole = _written(asked, response, tokenizer)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, spans = encoded["input_ids"], encoded["offset_mapping"]
    cut = next((i for i, (_, end) in enumerate(spans) if end > len(before)), len(ids))
    content = response.strip()
    found = whole.find(content, len(before)) if content else -1  # templates may strip it
    if found < 0:
        return Prompt(list(ids[:cut]), None, frozenset(ids[cut:]))
    close = found + len(content)
    closing = next((i for i, (begin, _) in enumerate(spans) if begin >= close), len(ids))
    end = ids[closing] if closing < len(ids) else None
    return Prompt(list(ids[:cut]), end, frozenset(ids[cut:closing]))


def _written(asked: Asked, response: str, tokenizer: Any) -> tuple[str, str]:
    """(the text before the response, the text with it and what closes it)."""
    if isinstance(asked, str):
        return asked, asked + response + (tokenizer.eos_token or "")
    before = _render(asked, tokenizer, prompt=True)
    if not response:
        return before, before
    turn = {"role": "assistant", "content": response}
    whole = _render([*asked, turn], tokenizer, prompt=False)
    return (before, whole) if whole.startswith(before) else (before, before)


def _render(messages: Sequence[dict[str, str]], tokenizer: Any, *, prompt: bool) -> str:
    return str(
        tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt)
    )
