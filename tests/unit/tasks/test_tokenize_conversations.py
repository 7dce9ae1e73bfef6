"""Conversations that are too long, or bad, or hold what a template has no use for."""

from typing import Any

import numpy as np
import pytest

from distillkit.chat.conversation import ChatFormat, Conversation
from distillkit.errors import DataError
from distillkit.tasks.tokenize.responses import conversation_examples
from distillkit.token_table import TokenTable
from tests import chats

SYSTEM = {"role": "system", "content": "Be brief."}


def asks(number: int) -> dict[str, Any]:
    return {"role": "user", "content": f"What is {number} + {number}?"}


def says(number: int, words: int = 1) -> dict[str, Any]:
    return {"role": "assistant", "content": f"It is {number}" + " and" * (words - 1)}


def talk(turns: int) -> list[dict[str, Any]]:
    return [m for i in range(1, turns + 1) for m in (asks(i), says(i))]


def read(tokenizer: Any, *conversations: Any, length: int = 4096, **how: Any) -> TokenTable:
    settings = {"long_responses": "refuse", "label": "the train texts", **how}
    held = [it if isinstance(it, Conversation) else Conversation(it) for it in conversations]
    return conversation_examples(held, tokenizer, max_length=length, **settings)[0]


def texts(table: TokenTable, tokenizer: Any) -> list[tuple[str, str]]:
    """(all of it, what is to be predicted) of each example."""
    assert table.loss_mask is not None
    ids = np.split(table.ids, table.offsets[1:-1])
    counted = np.split(table.loss_mask, table.offsets[1:-1])
    return [
        (tokenizer.decode(row), tokenizer.decode(np.append(row[1:], 0)[mask]))
        for row, mask in zip(ids, counted, strict=True)
    ]


@pytest.fixture(scope="module", params=["chatml", "llama3", "qwen3"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return chats.for_template(request.param)


def test_each_turn_is_learnt_once_with_its_question_and_the_system_text(tokenizer: Any) -> None:
    whole = read(tokenizer, [SYSTEM, *talk(1)])
    length = int(whole.lengths.max()) * 2
    table = read(tokenizer, [SYSTEM, *talk(9)], length=length)
    found = texts(table, tokenizer)
    assert table.lengths.max() <= length
    learnt = "".join(predicted for _, predicted in found)
    for number in range(1, 10):
        assert learnt.count(f"It is {number}") == 1
    start = tokenizer.apply_chat_template([SYSTEM], tokenize=False, date_string="01 Jan 2025")
    for text, predicted in found:
        assert text.startswith(start)
        for number in range(1, 10):
            if f"It is {number}" in predicted:
                assert f"What is {number} + {number}?" in text


def test_the_last_turns_stay_together_and_whole_oldest_ones_go() -> None:
    tokenizer = chats.for_template("chatml")
    length = len(tokenizer.apply_chat_template([SYSTEM, *talk(2)])["input_ids"])
    first, second, third = texts(read(tokenizer, [SYSTEM, *talk(5)], length=length), tokenizer)
    wanted = tokenizer.apply_chat_template([SYSTEM, *talk(5)[6:]], tokenize=False).rstrip()
    assert third[0] == wanted
    assert (
        second[0] == tokenizer.apply_chat_template([SYSTEM, *talk(5)[2:6]], tokenize=False).rstrip()
    )
    assert "What is 1" in first[0]
    assert "What is 2" not in first[0]


def test_a_long_response_loses_its_end_and_not_its_prompt() -> None:
    tokenizer = chats.for_template("chatml")
    long = [*talk(3), asks(7), says(7, words=99)]
    with pytest.raises(DataError) as caught:
        read(tokenizer, Conversation(long, row=5, source="data.train"), length=60)
    prompt = len(tokenizer.apply_chat_template([asks(7)], add_generation_prompt=True)["input_ids"])
    assert f"the first is of row 5 of data.train: {prompt} tokens before it" in str(caught.value)
    table = read(tokenizer, long, length=60, long_responses="cut")
    *_, (text, predicted) = texts(table, tokenizer)
    assert text.startswith(
        "<|im_start|>user\nWhat is 7 + 7?<|im_end|>\n<|im_start|>assistant\nIt is 7"
    )
    assert predicted.startswith("It is 7 and and")
    assert "<|im_end|>" not in predicted
    assert table.lengths[-1] == 60
    dropped = read(tokenizer, long, length=60, long_responses="drop")
    assert "It is 7" not in "".join(predicted for _, predicted in texts(dropped, tokenizer))


@pytest.mark.parametrize(("how", "done"), [("cut", "lose their end"), ("drop", "left out")])
def test_what_becomes_of_a_long_response_is_told(
    capsys: pytest.CaptureFixture[str], how: str, done: str
) -> None:
    read(chats.for_template("chatml"), [*talk(3), says(7, words=99)], length=60, long_responses=how)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "do not fit" in line]
    assert "1 responses of the train texts" in line
    assert line.endswith(f"{done}, by task.long_responses={how}")


def test_a_question_that_fills_the_context_is_told_as_that() -> None:
    tokenizer = chats.for_template("chatml")
    long = [{"role": "user", "content": "Why? " * 99}, says(1)]
    with pytest.raises(DataError, match="1 questions of the train texts leave no room"):
        read(tokenizer, long, length=40)
    table = read(tokenizer, long, talk(1), length=40, long_responses="cut")
    assert len(table) == 1


def test_conversations_without_a_response_are_counted_and_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tokenizer = chats.for_template("chatml")
    silent = [asks(1), {"role": "assistant", "content": ""}]
    table = read(tokenizer, talk(1), [asks(1)], silent)
    assert len(table) == 1
    said = capsys.readouterr().err
    assert "2 of 3 examples of the train texts have no response" in said
    assert "(the first is conversation 2)" in said


def test_a_conversation_that_the_template_refuses_is_named_or_dropped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tokenizer = chats.for_template("gemma")
    bad = Conversation([SYSTEM, *talk(1)], row=8, source="data.train")
    with pytest.raises(DataError) as caught:
        read(tokenizer, talk(1), bad)
    assert str(caught.value) == (
        "data: row 8 of data.train: the chat template refuses it: System role not supported; mend "
        "it, or set data.bad_rows=drop"
    )
    table = read(tokenizer, bad, talk(1), bad, talk(2), chat=ChatFormat(bad_rows="drop"))
    assert len(table) == 2
    assert "2 of 4 conversations of the train texts are left out" in capsys.readouterr().err


def test_what_a_template_does_not_write_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = chats.for_template("zephyr")
    held = [
        {"role": "developer", "content": "Be brief."},
        asks(1) | {"name": "Ann"},
        says(1) | {"reasoning_content": "so"},
    ]
    read(tokenizer, Conversation(held, tools=[{"name": "f"}]), talk(1))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "writes nothing" in line]
    assert line.endswith(
        "name of messages (in 1), reasoning_content of messages (in 1), role developer (in 1), "
        "tools (in 1)"
    )
    thought = says(1) | {"reasoning_content": "so"}
    for name in ("qwen3", "deepseek_r1"):  # of which one writes no thought into its history
        read(chats.for_template(name), [asks(1), thought])
    read(chats.for_template("mistral_v3"), [SYSTEM, *talk(1)])
    assert "writes nothing" not in capsys.readouterr().err


def test_a_tokenizer_without_a_chat_template_is_refused_with_the_ways_out() -> None:
    with pytest.raises(DataError, match=r"no chat template; set data\.template, .*chat_template"):
        read(chats.tokenizer("bytes", None), talk(1))


def test_a_conversation_has_the_same_key_whatever_stands_beside_it() -> None:
    tokenizer = chats.for_template("chatml")
    alone, beside = read(tokenizer, talk(2)), read(tokenizer, talk(1), talk(2))
    assert alone.keys[0] == beside.keys[1]
