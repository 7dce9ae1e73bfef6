"""Text as examples of a language model: every token predicted once, only what counts is learnt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.errors import DataError
from distillkit.examples import TokenTable
from distillkit.tasks.language_tokens import (
    chat,
    document_examples,
    instructions,
    response_examples,
)
from tests import tiny_language as tiny


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def examples(table: TokenTable) -> list[tuple[list[int], list[int]]]:
    """(tokens, the tokens that are to be predicted) of each example."""
    assert table.counted is not None
    ids = np.split(table.ids, table.offsets[1:-1])
    counted = np.split(table.counted, table.offsets[1:-1])
    return [
        (row.tolist(), np.append(row[1:], -1)[mask].tolist())
        for row, mask in zip(ids, counted, strict=True)
    ]


def cut(tokenizer: Any, texts: list[str], length: int, stride: int | None = None) -> TokenTable:
    return document_examples(
        texts, tokenizer, max_length=length, stride=stride or length - 1, label="texts"
    )[0]


@pytest.mark.parametrize(("length", "stride"), [(8, None), (8, 3), (8, 7), (2, None), (100, 1)])
def test_each_token_of_a_document_is_predicted_exactly_once(
    tokenizer: Any, length: int, stride: int | None
) -> None:
    texts = tiny.documents(7)
    table = cut(tokenizer, texts, length, stride)
    wanted = [
        token
        for text in texts
        for token in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id][1:]
    ]
    assert [token for _, predicted in examples(table) for token in predicted] == wanted
    assert table.labels.tolist() == wanted
    assert table.lengths.max() <= length


def test_a_stride_gives_each_token_more_context(tokenizer: Any) -> None:
    text = [" ".join(["film"] * 40)]
    least = {}
    for stride in (7, 2):
        table = cut(tokenizer, text, 8, stride)
        assert table.counted is not None
        later = np.split(table.counted, table.offsets[1:-1])[1:]
        least[stride] = min(int(np.flatnonzero(mask)[0]) for mask in later)
    assert least == {7: 0, 2: 5}


def test_a_document_that_fits_is_one_example_and_several_are_counted(tokenizer: Any) -> None:
    table, several = document_examples(
        ["good film", "bad film is a bad film"], tokenizer, max_length=4, stride=3, label="texts"
    )
    assert several == 1
    assert table.lengths.tolist() == [3, 4, 4]


def test_a_document_of_one_token_still_teaches_its_end(tokenizer: Any) -> None:
    assert examples(cut(tokenizer, ["good"], 8)) == [
        (
            [tokenizer.convert_tokens_to_ids("good"), tokenizer.eos_token_id],
            [tokenizer.eos_token_id],
        )
    ]


def test_keys_are_those_of_the_tokens_whatever_text_they_came_from(tokenizer: Any) -> None:
    first = cut(tokenizer, ["good film", "bad film"], 8)
    again = cut(tokenizer, ["bad  film", "dull"], 8)
    assert first.keys[1] == again.keys[0]
    assert len(set(first.keys) | set(again.keys)) == 3


def test_what_counts_is_part_of_the_key(tokenizer: Any) -> None:
    answered = response_examples(
        instructions(["good "], ["film is bad"], tokenizer),
        count=1,
        max_length=8,
        long_responses="refuse",
        label="texts",
    )[0]
    whole = cut(tokenizer, ["good film is bad"], 8)
    assert answered.ids.tolist() == whole.ids.tolist()
    assert answered.keys[0] == whole.keys[0]  # the first token says the first word of both
    shorter = response_examples(
        instructions(["good film "], ["is bad"], tokenizer),
        count=1,
        max_length=8,
        long_responses="refuse",
        label="texts",
    )[0]
    assert shorter.ids.tolist() == whole.ids.tolist()
    assert shorter.keys[0] != whole.keys[0]


def test_only_what_the_assistant_says_counts(tokenizer: Any) -> None:
    said = [
        {"role": "user", "content": "is the film good ?"},
        {"role": "assistant", "content": "very good"},
        {"role": "user", "content": "very ?"},
        {"role": "assistant", "content": "very"},
    ]
    (found,) = examples(answers(tokenizer, [said])[0])
    assert tokenizer.convert_ids_to_tokens(found[1]) == ["very", "good", "|>", "very", "|>"]


def answers(
    tokenizer: Any, conversations: list[Any], length: int = 64, long: Any = "refuse"
) -> tuple[TokenTable, int]:
    return response_examples(
        chat(conversations, tokenizer),
        count=len(conversations),
        max_length=length,
        long_responses=long,
        label="the train texts",
    )


def turn(prompt: str, response: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


def test_a_long_prompt_loses_its_beginning_and_the_response_is_kept(tokenizer: Any) -> None:
    table, cut_ones = answers(tokenizer, [turn(" ".join(["film"] * 30), "very good")], length=10)
    ((ids, predicted),) = examples(table)
    assert cut_ones == 1
    assert len(ids) == 10
    assert tokenizer.convert_ids_to_tokens(predicted) == ["very", "good", "|>"]
    assert tokenizer.convert_ids_to_tokens(ids)[-3:] == ["very", "good", "|>"]


def test_a_response_longer_than_the_context_is_refused_cut_or_dropped(tokenizer: Any) -> None:
    both = [turn("good ?", " ".join(["very"] * 20)), turn("good ?", "very")]
    with pytest.raises(DataError) as caught:
        answers(tokenizer, both, length=12)
    assert str(caught.value).startswith("task.max_length = 12: 1 of 2 responses")
    assert "number 1, 21 tokens" in str(caught.value)
    kept, _ = answers(tokenizer, both, length=12, long="cut")
    assert kept.positions.tolist() == [11, 2]
    assert answers(tokenizer, both, length=12, long="drop")[0].positions.tolist() == [2]


def test_conversations_without_a_response_are_counted_and_named(
    tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = [{"role": "user", "content": "good ?"}]
    table, _ = answers(tokenizer, [turn("good ?", "very"), silent, silent])
    assert len(table) == 1
    assert "2 of 3 examples of the train texts have no response" in capsys.readouterr().err


def test_a_tokenizer_without_a_chat_template_is_refused_with_the_way_out(tmp_path: Path) -> None:
    bare = tiny.write_tokenizer(tmp_path, template=None)
    with pytest.raises(DataError, match=r"no chat template; set data\.template"):
        answers(bare, [turn("good ?", "very")])


def test_a_template_that_rewrites_earlier_turns_is_refused(tmp_path: Path) -> None:
    last_only = (
        "{% for m in messages %}<| {{ m['role'] }} : "
        "{% if loop.last or m['role'] == 'user' %}{{ m['content'] }}{% endif %} |> {% endfor %}"
        "{% if add_generation_prompt %}<| assistant : {% endif %}"
    )
    tokenizer = tiny.write_tokenizer(tmp_path, template=last_only)
    with pytest.raises(DataError, match="rewrites earlier turns"):
        answers(tokenizer, [turn("good ?", "very") + turn("bad ?", "no")])


def test_an_instruction_counts_its_response_and_its_end(tokenizer: Any) -> None:
    rendered = instructions(["is it good ? "], ["very good "], tokenizer)
    ids, learnt = next(rendered)
    assert tokenizer.convert_ids_to_tokens(ids[learnt]) == ["very", "good", "<eos>"]
    assert len(ids) == 7
