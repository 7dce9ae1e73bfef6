"""Text as examples of a language model: every token predicted once, only what counts is learnt."""

from typing import Any

import numpy as np
import pytest

from distillkit.errors import ConfigError, DataError
from distillkit.tasks.tokenize.documents import around, document_examples
from distillkit.tasks.tokenize.responses import instruction_examples, instructions
from distillkit.token_table import TokenTable
from tests import chats
from tests import tiny_language as tiny


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def examples(table: TokenTable) -> list[tuple[list[int], list[int]]]:
    """(tokens, the tokens that are to be predicted) of each example."""
    assert table.loss_mask is not None
    ids = np.split(table.ids, table.offsets[1:-1])
    counted = np.split(table.loss_mask, table.offsets[1:-1])
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


def test_each_window_says_which_text_it_is_of(tokenizer: Any) -> None:
    texts = [*["a good film and a bad one in it"] * 70, "good", "a good film"]
    table = cut(tokenizer, texts, 6)
    assert table.text_index is not None
    assert {*table.text_index.tolist()} == {*range(72)}
    assert (np.diff(table.text_index) >= 0).all()
    tokens = np.bincount(np.repeat(table.text_index, table.positions))
    alone = [int(cut(tokenizer, [text], 100).positions.sum()) for text in texts]
    assert tokens.tolist() == alone


def test_a_stride_gives_each_token_more_context(tokenizer: Any) -> None:
    text = [" ".join(["film"] * 40)]
    least = {}
    for stride in (7, 2):
        table = cut(tokenizer, text, 8, stride)
        assert table.loss_mask is not None
        later = np.split(table.loss_mask, table.offsets[1:-1])[1:]
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
    answered = instructed(tokenizer, "good ", "film is bad")
    whole = cut(tokenizer, ["good film is bad"], 8)
    assert answered.ids.tolist() == whole.ids.tolist()
    assert answered.keys[0] == whole.keys[0]  # the first token says the first word of both
    shorter = instructed(tokenizer, "good film ", "is bad")
    assert shorter.ids.tolist() == whole.ids.tolist()
    assert shorter.keys[0] != whole.keys[0]


def instructed(tokenizer: Any, prompt: str, response: str, **how: Any) -> TokenTable:
    settings = {"max_length": 8, "long_responses": "refuse", "label": "texts", **how}
    return instruction_examples([prompt], [response], tokenizer, **settings)[0]


def test_an_instruction_counts_its_response_and_its_end(tokenizer: Any) -> None:
    rendered = instructions(["is it good ? "], ["very good "], tokenizer)
    ids, learnt = next(rendered)
    assert tokenizer.convert_ids_to_tokens(ids[learnt]) == ["very", "good", "<eos>"]
    assert len(ids) == 7


@pytest.fixture(scope="module")
def begun() -> Any:
    """A byte-level tokenizer that puts <s> in front of each text, as Llama's and Gemma's do."""
    return chats.with_front(chats.tokenizer("bytes", None))


def test_what_a_tokenizer_puts_around_a_text_is_found(tokenizer: Any, begun: Any) -> None:
    assert around(begun) == ([begun.bos_token_id], [])
    assert around(tokenizer) == ([], [])


@pytest.mark.parametrize(("length", "stride"), [(8, None), (8, 3), (8, 7), (3, None)])
def test_every_window_begins_as_a_text_does_and_no_token_counts_twice(
    begun: Any, length: int, stride: int | None
) -> None:
    texts = ["The cat sat on the mat, and saw no dog.", "Hello there!"]
    table = cut(begun, texts, length, stride)
    found = examples(table)
    assert all(ids[0] == begun.bos_token_id for ids, _ in found)
    assert all(begun.bos_token_id not in ids[1:] for ids, _ in found)
    wanted = [token for text in texts for token in [*begun(text)["input_ids"][1:], 2]]
    assert [token for _, predicted in found for token in predicted] == wanted
    assert table.lengths.max() <= length


def test_no_room_beside_what_stands_in_front_is_refused(begun: Any) -> None:
    with pytest.raises(ConfigError, match=r"task\.max_length = 2: the tokenizer puts 1 tokens"):
        cut(begun, ["The cat"], 2)


def test_a_plain_template_begins_as_a_text_does(begun: Any) -> None:
    ((ids, learnt),) = instructions(["Question: "], ["Paris"], begun)
    assert ids[0] == begun.bos_token_id
    assert begun.decode(ids) == "<s>Question: Paris</s>"
    assert begun.decode(ids[learnt]) == " Paris</s>"


@pytest.mark.parametrize("kind", chats.KINDS)
@pytest.mark.parametrize("prompt", ["Answer: ", "Answer:\n", "Answer:", "Answer:  "])
def test_the_first_token_of_a_response_is_learnt_whatever_stands_before(
    kind: str, prompt: str
) -> None:
    tokenizer = chats.tokenizer(kind, None)
    ((ids, learnt),) = instructions([prompt], ["Paris is."], tokenizer)
    said = tokenizer.decode(ids[learnt], skip_special_tokens=True)
    assert said.replace(" ", "") == "Parisis."
    asked = tokenizer.decode(ids[~learnt])
    assert "P" not in asked
    assert ids[-1] == tokenizer.eos_token_id
    assert learnt[-1]


def test_a_long_response_is_refused_cut_at_its_end_or_dropped(tokenizer: Any) -> None:
    prompt, response = "is film good ? ", " ".join(["very"] * 20)
    with pytest.raises(DataError) as caught:
        instructed(tokenizer, prompt, response)
    assert str(caught.value).startswith(
        "task.max_length = 8: 1 responses of texts do not fit behind their question (the first is "
        "of number 1: 4 tokens before it, 21 of its own)"
    )
    kept = instructed(tokenizer, prompt, response, long_responses="cut")
    assert tokenizer.decode(kept.ids) == "is film good ? very very very very"
    assert not len(instructed(tokenizer, prompt, response, long_responses="drop"))


def test_a_prompt_that_leaves_no_room_is_never_cut(
    tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = " ".join(["film"] * 9)
    with pytest.raises(DataError, match="1 questions of texts leave no room for a response"):
        instructed(tokenizer, prompt, " good")
    assert not len(instructed(tokenizer, prompt, " good", long_responses="cut"))
    assert "leave no room" in capsys.readouterr().err
