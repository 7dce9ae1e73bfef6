"""Prompts out of held-out text: what stands before the response, and what ends it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.data.corpus import Split
from distillkit.generation.prompts import DOCUMENT_TOKENS, Prompt, Prompts, exchange, has_responses
from distillkit.tasks.tokenize.responses import chat, instructions
from tests import tiny_language
from tests.unit.models import tiny_lms

SYSTEM = {"role": "system", "content": "the cat"}
ASKS = {"role": "user", "content": "the dog saw"}
SAYS = {"role": "assistant", "content": "a mat"}
AGAIN = {"role": "user", "content": "and there"}
LAST = {"role": "assistant", "content": "no cat sat"}


@pytest.fixture(scope="module")
def byte() -> Any:
    """A byte-level tokenizer, to which "Answer: " ends in a token that is a space."""
    return tiny_lms.byte_tokenizer()


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tokenizer of whole words, whose template closes a turn by a word that is not special."""
    return tiny_language.write_tokenizer(tmp_path_factory.mktemp("words"))


def split(
    texts: Sequence[str] = (),
    pairs: Sequence[str] | None = None,
    messages: list[list[dict[str, str]]] | None = None,
) -> Split:
    count = len(messages or texts)
    held = list(texts) or [""] * count
    return Split(np.zeros(count, "S16"), held, list(pairs) if pairs else None, None, messages)


def prompt(held: Split, place: int, tokenizer: Any) -> Prompt:
    found = Prompts(held, tokenizer)(place)
    assert found is not None
    return found


def response_prompt(asked: str, response: str, tokenizer: Any) -> Prompt:
    return prompt(split([asked], [response]), 0, tokenizer)


def test_documents_have_no_responses() -> None:
    assert not has_responses(split(["a cat"]))
    assert has_responses(split(["a cat"], ["sat"]))
    assert has_responses(split(messages=[[ASKS, SAYS]]))


def test_the_last_response_is_asked_for_after_all_that_was_said_before() -> None:
    held = split(messages=[[SYSTEM, ASKS, SAYS, AGAIN, LAST, AGAIN], [ASKS]])
    assert exchange(held, 0) == ([SYSTEM, ASKS, SAYS, AGAIN], "no cat sat")
    assert exchange(held, 1) == ([ASKS], "")


def test_an_answer_to_nothing_or_of_nothing_is_no_response() -> None:
    empty = {"role": "assistant", "content": " "}
    held = split(messages=[[SAYS, ASKS], [ASKS, SAYS, AGAIN, empty]])
    assert exchange(held, 0) == ([SAYS, ASKS], "")
    assert exchange(held, 1) == ([ASKS], "a mat")


def test_a_prompt_is_what_training_puts_before_the_response(byte: Any) -> None:
    messages = [ASKS, SAYS, AGAIN, LAST]
    ((ids, learnt),) = chat([messages], byte)
    found = prompt(split(messages=[messages]), 0, byte)
    assert byte.decode(found.ids).endswith("<s>assistant\n")
    assert found.ids == ids[: len(found.ids)].tolist()
    assert learnt[len(found.ids)]  # the next token is the first of the response
    assert not learnt[len(found.ids) - 1]


def test_a_space_before_the_response_goes_with_its_first_word(byte: Any) -> None:
    asked, response = "the dog saw: ", "a mat"
    ((ids, learnt),) = instructions([asked], [response], byte)
    found = response_prompt(asked, response, byte)
    alone = byte(asked, add_special_tokens=False)["input_ids"]
    assert byte.decode(alone[-1]) == " "
    assert found.ids == alone[:-1] == ids[: len(found.ids)].tolist()
    assert byte.decode(ids[len(found.ids)]) == " a"
    assert not learnt[: len(found.ids)].any()


def test_no_letter_of_the_response_is_in_the_prompt(byte: Any) -> None:
    for asked in ("the c", "the cat: ", "the cat\n", "the cat:"):
        found = response_prompt(asked, "at sat there", byte)
        assert asked.startswith(byte.decode(found.ids))


def test_an_answer_ends_where_the_template_closes_its_turn(byte: Any, words: Any) -> None:
    assert prompt(split(messages=[[ASKS, SAYS]]), 0, byte).end == byte.eos_token_id
    good = [{"role": r, "content": "good film"} for r in ("user", "assistant")]
    found = prompt(split(messages=[good]), 0, words)
    assert words.convert_ids_to_tokens([found.end]) == ["|>"]
    assert words.decode(sorted(found.response_ids)) == words.decode(
        sorted(words("good film").input_ids)
    )


def test_an_answer_to_plain_text_ends_with_the_text(byte: Any) -> None:
    found = prompt(split(["the cat"], [" sat on"]), 0, byte)
    assert found.end == byte.eos_token_id
    assert byte.eos_token_id not in found.response_ids


def test_a_template_that_strips_what_is_said_is_followed(byte: Any) -> None:
    plain = byte.chat_template
    byte.chat_template = plain.replace("m['content']", "m['content'] | trim")
    try:
        said = {"role": "assistant", "content": "  a mat\n"}
        assert prompt(split(messages=[[ASKS, said]]), 0, byte).end == byte.eos_token_id
    finally:
        byte.chat_template = plain


def test_a_conversation_without_an_answer_is_a_prompt_all_the_same(byte: Any) -> None:
    found = prompt(split(messages=[[ASKS]]), 0, byte)
    assert byte.decode(found.ids) == "<s>user\nthe dog saw</s><s>assistant\n"
    assert found.end is None


def test_a_document_is_begun(byte: Any, tmp_path: Path) -> None:
    text = "the cat sat on a mat and saw no dog there at all " * 3
    found = prompt(split([text]), 0, byte)
    assert len(found.ids) == DOCUMENT_TOKENS
    assert text.startswith(byte.decode(found.ids))
    assert found.end is None
