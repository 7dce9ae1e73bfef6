"""Which token ids are real, and when two tokenizers are the same."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from distillkit.errors import ModelError
from distillkit.models.vocabularies import (
    check_same_tokenizer,
    fit_to_tokenizer,
    real_vocabulary,
    same_ids,
)
from tests.unit.models.tiny_lms import byte_tokenizer, language_model

SIZE = max(byte_tokenizer().get_vocab().values()) + 1


class Tokens:
    """A tokenizer, as far as its vocabulary goes."""

    def __init__(self, vocabulary: dict[str, int], *added: str) -> None:
        self.vocabulary, self.added = vocabulary, added

    def get_vocab(self) -> dict[str, int]:
        return self.vocabulary

    def get_added_vocab(self) -> dict[str, int]:
        return {token: self.vocabulary[token] for token in self.added}

    def __len__(self) -> int:
        return len(self.vocabulary)


def test_the_size_is_that_of_the_ids_whatever_the_models_are_padded_to() -> None:
    padded = language_model("llama", vocab_size=SIZE + 57)
    wider = language_model("llama", vocab_size=SIZE + 119)
    assert real_vocabulary(byte_tokenizer(), padded, wider) == SIZE


def test_gaps_between_ids_are_counted() -> None:
    tokenizer = Tokens({"a": 0, "b": 1, "<s>": 9})
    assert len(tokenizer) == 3
    assert real_vocabulary(tokenizer) == 10


def test_added_tokens_are_counted() -> None:
    assert real_vocabulary(byte_tokenizer(["<one>", "<two>"])) == SIZE + 2


def test_a_model_with_fewer_rows_is_refused() -> None:
    model = language_model("llama", vocab_size=SIZE - 1)
    with pytest.raises(ModelError, match=rf"has {SIZE - 1} rows, .* highest id is {SIZE - 1}"):
        real_vocabulary(byte_tokenizer(), model)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        (byte_tokenizer(), byte_tokenizer()),
        (byte_tokenizer(pad="<pad>"), byte_tokenizer()),
        (byte_tokenizer(), byte_tokenizer(["<tool>", "</tool>"])),
        (Tokens({"a": 0, "b": 1}), Tokens({"a": 0, "b": 1, "<pad>": 7}, "<pad>")),
    ],
)
def test_the_same_ids_for_the_same_tokens_are_enough(student: Any, teacher: Any) -> None:
    check_same_tokenizer(student, teacher, key="student.path = it")


@pytest.mark.parametrize(
    ("student", "teacher", "said"),
    [
        (
            Tokens({"a": 0, "b": 1, "c": 2}),
            Tokens({"a": 0, "c": 1, "b": 2}),
            "token 1 is 'b' in the student's and 'c' in the teacher's",
        ),
        (
            Tokens({"a": 0, "b": 1}),
            Tokens({"a": 0, "b": 1, "ab": 2}),  # an ordinary token, not an added one
            "token 2 is no token in the student's and 'ab' in the teacher's",
        ),
        (
            Tokens({"a": 0, "<pad>": 1}, "<pad>"),
            Tokens({"a": 0, "b": 1}),
            "token 1 is '<pad>' in the student's and 'b' in the teacher's",
        ),
        (
            Tokens({"a": 0, "<pad>": 5}, "<pad>"),
            Tokens({"a": 0, "<pad>": 8}, "<pad>"),  # the same token under another id
            "token 5 is '<pad>' in the student's and no token in the teacher's",
        ),
    ],
)
def test_other_ids_are_refused_and_the_first_is_named(
    student: Any, teacher: Any, said: str
) -> None:
    with pytest.raises(ModelError) as caught:
        check_same_tokenizer(student, teacher, key="student.path = it")
    message = str(caught.value)
    assert message.startswith("student.path = it: ")
    assert said in message
    assert "student.tokenizer=null" in message
    assert "\n" not in message


def test_a_model_is_named_by_where_it_came_from() -> None:
    model = SimpleNamespace(
        config=SimpleNamespace(name_or_path="org/small"),
        get_output_embeddings=lambda: SimpleNamespace(weight=[0] * 3),
    )
    with pytest.raises(ModelError, match=r"^org/small: "):
        real_vocabulary(Tokens({"a": 3}), model)


def test_tokenizers_that_do_the_same_are_the_same_wherever_they_come_from() -> None:
    first, other = byte_tokenizer(), byte_tokenizer()
    other.model_max_length, other.chat_template = 5, None
    other(["a b c"], truncation=True, max_length=2)  # which its backend remembers
    assert same_ids(first, other)
    other.add_tokens(["cat"])
    assert not same_ids(first, other)
    assert not same_ids(first, byte_tokenizer(pad="<pad>"))


def test_a_student_is_given_the_tokens_that_its_teacher_has() -> None:
    tokenizer = byte_tokenizer(["<|im_start|>", "<|im_end|>"])
    torch.manual_seed(0)
    student = language_model("llama", vocab_size=SIZE, eos_token_id=[2, 9], bos_token_id=7)
    before = student.get_input_embeddings().weight.detach().clone()
    assert fit_to_tokenizer(student, tokenizer) == 2
    after = student.get_input_embeddings().weight
    torch.testing.assert_close(after[:SIZE], before)
    assert len(after) == len(student.get_output_embeddings().weight) == SIZE + 2
    assert student.config.bos_token_id == student.generation_config.bos_token_id == 1
    assert student.config.eos_token_id == [2, 9]  # the teacher's is among them
    assert fit_to_tokenizer(student, tokenizer) == 0
