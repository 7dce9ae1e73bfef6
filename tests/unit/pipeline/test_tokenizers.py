"""What of a student's own tokenizer gives way to its teacher's, in words."""

from distillkit.pipeline.tokenizers import differences
from tests import chats


def test_tokenizers_that_write_alike_differ_in_nothing() -> None:
    first, other = (chats.for_template("chatml") for _ in range(2))
    assert differences(first, other, reads_chats=True) == []


def test_what_ends_a_turn_is_said_where_it_differs() -> None:
    own, teacher = chats.for_template("chatml"), chats.for_template("chatml")
    own.chat_template = chats.template("zephyr")
    assert differences(own, teacher, reads_chats=True) == [
        "the chat template, which ends a turn with </s>, the teacher's <|im_end|>"
    ]
    assert differences(own, teacher, reads_chats=False) == []
    own.chat_template = chats.template("marked")
    assert differences(own, teacher, reads_chats=True) == ["the chat template"]
    own.eos_token = "<|im_end|>"
    assert differences(own, teacher, reads_chats=False) == [
        "end of text (<|im_end|>, the teacher's </s>)"
    ]
