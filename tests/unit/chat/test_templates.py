"""Conversations by the templates of well-known models: the ids are those of inference."""

from typing import Any

import numpy as np
import pytest

from distillkit.chat import templates as chat_templates
from distillkit.chat.conversation import BadConversation, ChatFormat, Conversation
from distillkit.chat.templates import ChatTemplate
from distillkit.errors import DataError
from distillkit.tasks.tokenize.conversations import ConversationReader
from tests import chats
from tests.unit.models.tiny_lms import byte_tokenizer

ASKS = {"role": "user", "content": "What is the capital of France?"}
AGAIN = {"role": "user", "content": "And 12 + 30?"}
SYSTEM = {"role": "system", "content": "Be brief."}
TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}},
}


def says(text: str | None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


PLAIN = [ASKS, says("Paris is."), AGAIN, says("42, the cat.")]
THOUGHT = [
    ASKS,
    says("<think>\nI think\n</think>\n\nParis is."),
    AGAIN,
    says("<think>\ntherefore\n</think>\n\n42, the cat."),
]
BLANKS = [ASKS, says("\n\nParis is.\n"), AGAIN, says(" 42, the cat.\n\n")]


def spans(tokenizer: Any, messages: list[Any], **how: Any) -> list[tuple[list[int], list[int]]]:
    """(tokens before, tokens learnt) of each stretch that is learnt."""
    reader = ConversationReader(ChatTemplate(tokenizer, ChatFormat(**how)), max_length=2**20)
    found = []
    for ids, learnt in reader.read(Conversation(messages)).examples:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], learnt.astype(int), [0]])))
        found += [(ids[:b].tolist(), ids[b:e].tolist()) for b, e in edges.reshape(-1, 2)]
    return found


def responses(tokenizer: Any, messages: list[Any], **how: Any) -> list[str]:
    return [tokenizer.decode(learnt) for _, learnt in spans(tokenizer, messages, **how)]


def refuses_system(name: str) -> bool:
    return name in ("gemma", "mistral")


@pytest.mark.parametrize("kind", chats.KINDS)
@pytest.mark.parametrize("name", chats.TEMPLATES)
@pytest.mark.parametrize("talk", [PLAIN, THOUGHT, BLANKS, [SYSTEM, *PLAIN]])
def test_what_stands_before_each_response_is_the_prompt_of_inference(
    name: str, kind: str, talk: list[Any]
) -> None:
    if talk[0] == SYSTEM and refuses_system(name):
        return
    tokenizer = chats.for_template(name, kind)
    day = {"date_string": "28 Nov 2026"}  # of the one template that asks for it
    found = spans(tokenizer, talk, arguments=day)
    wanted = [
        tokenizer.apply_chat_template(talk[:i], add_generation_prompt=True, **day)["input_ids"]
        for i, message in enumerate(talk)
        if message["role"] == "assistant"
    ]
    assert [before for before, _ in found] == wanted


@pytest.mark.parametrize("name", chats.TEMPLATES)
def test_a_response_ends_with_the_token_that_ends_the_turn_and_nothing_after(name: str) -> None:
    _, end = chats.TEMPLATES[name]
    tokenizer = chats.for_template(name)
    token = tokenizer.convert_tokens_to_ids(end)
    assert ChatTemplate(tokenizer).end_of_turn == end
    for talk in (PLAIN, THOUGHT):
        found = [learnt for _, learnt in spans(tokenizer, talk)]
        assert [learnt[-1] for learnt in found] == [token, token]
        assert [learnt.count(token) for learnt in found] == [1, 1]


@pytest.mark.parametrize(
    ("name", "talk", "wanted"),
    [
        ("chatml", PLAIN, ["Paris is.<|im_end|>", "42, the cat.<|im_end|>"]),
        ("llama2", PLAIN, [" Paris is. </s>", " 42, the cat. </s>"]),
        ("mistral_v3", [SYSTEM, *PLAIN], [" Paris is.</s>", " 42, the cat.</s>"]),
        (
            "qwen3",
            THOUGHT,
            [
                "<think>\nI think\n</think>\n\nParis is.<|im_end|>",
                "<think>\ntherefore\n</think>\n\n42, the cat.<|im_end|>",
            ],
        ),
        (
            "deepseek_r1",
            THOUGHT,
            [
                "I think\n</think>\n\nParis is.<\uff5cend▁of▁sentence\uff5c>",
                "therefore\n</think>\n\n42, the cat.<\uff5cend▁of▁sentence\uff5c>",
            ],
        ),
        (
            "deepseek_r1",
            [ASKS, says("Paris is.", reasoning_content="I think")],
            ["I think\n</think>\n\nParis is.<\uff5cend▁of▁sentence\uff5c>"],
        ),
        (
            "deepseek_r1",  # which has to close the thought that was opened for it
            [ASKS, says("Paris is.")],
            ["\n</think>\n\nParis is.<\uff5cend▁of▁sentence\uff5c>"],
        ),
        (
            "deepseek_r1",
            [ASKS, says("I think\n</think>\n\nParis is.")],
            ["I think\n</think>\n\nParis is.<\uff5cend▁of▁sentence\uff5c>"],
        ),
        ("phi3", PLAIN, ["Paris is.<|end|>", "42, the cat.<|end|>"]),
    ],
)
def test_what_is_learnt_is_what_the_model_would_write(
    name: str, talk: list[Any], wanted: list[str]
) -> None:
    assert responses(chats.for_template(name), talk) == wanted


CLOSED = (  # as DeepSeek-V3.1: thoughts are closed or opened in the prompt, and kept nowhere
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ '[A]</think>' + m['content'].split('</think>')[-1] + '</s>' }}{% else %}"
    "{{ '[U]' + m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[A]' + ('<think>' if thinking else '</think>') }}{% endif %}"
)


@pytest.mark.parametrize(
    ("thinking", "said", "wanted"),
    [
        (True, says("<think>so</think>Paris"), "so</think>Paris</s>"),
        (True, says("Paris", reasoning_content="so"), "so</think>Paris</s>"),
        (True, says("Paris"), "</think>Paris</s>"),
        (False, says("<think>so</think>Paris"), "Paris</s>"),
        (False, says("Paris"), "Paris</s>"),
    ],
)
def test_a_prompt_that_opens_or_closes_a_thought_is_answered_as_it_asks(
    thinking: bool, said: dict[str, Any], wanted: str
) -> None:
    tokenizer = chats.tokenizer("bytes", CLOSED, ["[A]", "[U]"])
    talk = [ASKS, said, AGAIN, says("42")]
    first, _ = responses(tokenizer, talk, arguments={"thinking": thinking})
    assert first == wanted


def test_template_arguments_reach_the_template() -> None:
    tokenizer = chats.for_template("qwen3")
    how = {"arguments": {"enable_thinking": False}}
    assert responses(tokenizer, PLAIN, **how) == ["Paris is.<|im_end|>", "42, the cat.<|im_end|>"]
    ((before, learnt),) = spans(tokenizer, THOUGHT[:2], **how)
    assert tokenizer.decode(before).endswith("assistant\n<think>\n\n</think>\n\n")
    assert tokenizer.decode(learnt) == "Paris is.<|im_end|>"


def test_a_template_that_only_appends_makes_one_example_and_others_one_a_turn() -> None:
    for name, count in (("chatml", 1), ("phi3", 1), ("qwen3", 2), ("deepseek_r1", 2)):
        template = ChatTemplate(chats.for_template(name))
        found = ConversationReader(template, max_length=2**20).read(Conversation(PLAIN))
        assert len(found.examples) == count, name


def test_the_generation_marks_of_a_template_are_followed() -> None:
    tokenizer = chats.for_template("marked")
    text = chats.template("marked")
    assert responses(tokenizer, PLAIN) == ["Paris is.<|im_end|>", "42, the cat.<|im_end|>"]
    without_end = text.replace(
        "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}",
        "{% generation %}{{ m['content'] }}{% endgeneration %}{{ '<|im_end|>' }}",
    )
    assert without_end != text
    assert responses(tokenizer, PLAIN, template=without_end) == ["Paris is.", "42, the cat."]


def with_tokens(name: str, **how: Any) -> Any:
    """A tokenizer with a template's tokens, made as the settings of `AddedToken` say."""
    from tokenizers import AddedToken

    tokenizer = chats.tokenizer("bytes", chats.template(name))
    tokens = [
        AddedToken(t, special=True, normalized=False, **how) for t in chats.TEMPLATES[name][0]
    ]
    tokenizer.add_special_tokens({"extra_special_tokens": tokens})
    return tokenizer


@pytest.mark.parametrize("how", [{"rstrip": True}, {"lstrip": True}])
@pytest.mark.parametrize("talk", [PLAIN, BLANKS])
def test_tokens_that_take_the_blanks_beside_them_end_where_they_are_written(
    how: dict[str, bool], talk: list[Any]
) -> None:
    tokenizer = with_tokens("phi3", **how)
    found = spans(tokenizer, talk)
    token = tokenizer.convert_tokens_to_ids("<|end|>")
    assert [learnt[-1] for _, learnt in found] == [token, token]
    assert [learnt.count(token) for _, learnt in found] == [1, 1]
    opening = tokenizer.convert_tokens_to_ids("<|assistant|>")
    assert not [learnt for _, learnt in found if opening in learnt]
    assert [before for before, _ in found] == [
        tokenizer.apply_chat_template(talk[:i], add_generation_prompt=True)["input_ids"]
        for i in (1, 3)
    ]


def test_an_added_token_that_is_an_ordinary_word_is_learnt_as_one() -> None:
    tokenizer = with_tokens("chatml")
    tokenizer.add_tokens(["cat", "Paris"])
    assert responses(tokenizer, [ASKS, says("cat"), AGAIN, says("Paris")]) == [
        "cat<|im_end|>",
        "Paris<|im_end|>",
    ]


def test_a_template_that_always_writes_the_next_prompt_teaches_no_prompt() -> None:
    always = chats.template("chatml").split("{% if add_generation_prompt")[0]
    always += "{{ '<|im_start|>assistant\n' }}"
    found = responses(chats.for_template("chatml"), PLAIN, template=always)
    assert found == ["Paris is.<|im_end|>", "42, the cat.<|im_end|>"]


SPACED = (
    "{% for m in messages %}{{ '<s>' + m['role'] + ': ' + m['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant: ' }}{% endif %}"
)


@pytest.mark.parametrize("kind", chats.KINDS)
def test_a_prompt_that_ends_in_a_space_stays_as_it_is_and_the_first_word_is_learnt(
    kind: str,
) -> None:
    tokenizer = chats.tokenizer(kind, SPACED)
    found = spans(tokenizer, PLAIN)
    for (before, learnt), place in zip(found, (1, 3), strict=True):
        prompt = tokenizer.apply_chat_template(PLAIN[:place], add_generation_prompt=True)
        said = tokenizer.decode(learnt).replace(" ", "")
        assert said == PLAIN[place]["content"].replace(" ", "") + "</s>"
        whole = tokenizer.apply_chat_template(PLAIN[: place + 1])["input_ids"]
        assert tokenizer.decode([*before, *learnt]) == tokenizer.decode(whole)
        assert before == prompt["input_ids"]


def test_a_turn_that_is_marked_out_is_context_alone() -> None:
    tokenizer = chats.for_template("chatml")
    for mark in ({"weight": 0}, {"train": False}):
        talk = [ASKS, PLAIN[1] | mark, *PLAIN[2:]]
        ((before, learnt),) = spans(tokenizer, talk)
        assert tokenizer.decode(learnt) == "42, the cat.<|im_end|>"
        assert "Paris is." in tokenizer.decode(before)
    assert len(spans(tokenizer, [ASKS, PLAIN[1] | {"weight": 1}])) == 1


# what a template is given


@pytest.mark.parametrize("name", ["chatml", "llama2", "gemma"])
def test_parts_become_text_where_a_template_takes_text(name: str) -> None:
    tokenizer = chats.for_template(name)
    parts = [m | {"content": [{"type": "text", "text": m["content"]}]} for m in PLAIN]
    assert spans(tokenizer, parts) == spans(tokenizer, PLAIN)


def test_text_becomes_parts_where_a_template_takes_nothing_else() -> None:
    of_parts = chats.template("chatml").replace(
        "m['content']", "(m['content'] | map(attribute='text') | join)"
    )
    tokenizer = chats.for_template("chatml")
    assert spans(tokenizer, PLAIN, template=of_parts) == spans(tokenizer, PLAIN)


CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
WRITTEN = {**CALL, "function": {"name": "add", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize("call", [CALL, WRITTEN])
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("qwen3", '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>'),
        ("llama3", '{"name": "add", "parameters": {"a": 1}}<|eot_id|>'),
    ],
)
def test_tool_calls_are_learnt_as_the_template_writes_them(
    call: dict[str, Any], name: str, wanted: str
) -> None:
    talk = [
        ASKS,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "1"},
        says("Paris is."),
    ]
    first, last = responses(chats.for_template(name), talk)
    assert first.endswith(wanted)
    assert last.endswith("Paris is." + chats.TEMPLATES[name][1])


def test_a_template_without_tool_calls_learns_what_is_said_in_words() -> None:
    talk = [
        ASKS,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": "2"},
        says("Paris is."),
    ]
    assert responses(chats.for_template("chatml"), talk) == ["Paris is.<|im_end|>"]


@pytest.mark.parametrize("name", ["chatml", "marked", "gpt_oss", "qwen3", "deepseek_r1"])
@pytest.mark.parametrize("empty", ["", " \n", None])
def test_a_turn_that_says_nothing_is_not_learnt(name: str, empty: str | None) -> None:
    call = {"id": "a00000001", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    nothing = says(empty) if empty is not None else says(None, tool_calls=[call])
    if empty is None and name not in ("marked", "gpt_oss"):
        return  # these write calls, or begin a thought
    tokenizer = chats.for_template(name)
    found = spans(tokenizer, [ASKS, nothing, AGAIN, says("42, the cat.")])
    assert len(found) == 1
    assert "42, the cat." in tokenizer.decode(found[0][1])


@pytest.mark.parametrize("name", ["gemma", "llama2", "chatml", "qwen3"])
@pytest.mark.parametrize("more", [AGAIN, SYSTEM])
def test_what_comes_after_the_last_answer_plays_no_part(name: str, more: Any) -> None:
    tokenizer = chats.for_template(name)
    assert spans(tokenizer, [*PLAIN, more]) == spans(tokenizer, PLAIN)


TULU = (  # a line ends between turns, and not behind the last answer
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token + ('' if loop.last else '\n') }}{% else %}"
    "{{ '\n' }}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}"
    "{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("qwen3", ["<think>\n\n</think>\n\nParis is.<|im_end|>"]),
        (TULU, ["Paris is.</s>"]),
        ("chatml", ["Paris is.<|im_end|>"]),
    ],
)
def test_two_answers_in_a_row_are_each_learnt(template: str, wanted: list[str]) -> None:
    known = template in chats.TEMPLATES
    tokenizer = chats.for_template(template) if known else chats.tokenizer("bytes", template)
    found = responses(tokenizer, [ASKS, says("Paris is."), says("42, the cat.")])
    assert found == [*wanted, wanted[0].replace("Paris is.", "42, the cat.")]


def test_tools_stand_in_the_prompt() -> None:
    tokenizer = chats.for_template("qwen3")
    reader = ConversationReader(ChatTemplate(tokenizer), max_length=2**20)
    ((ids, _),) = reader.read(Conversation(PLAIN[:2], [TOOL])).examples
    wanted = tokenizer.apply_chat_template(PLAIN[:1], tools=[TOOL], add_generation_prompt=True)
    assert ids[: len(wanted["input_ids"])].tolist() == wanted["input_ids"]
    assert "Adds." in tokenizer.decode(ids)


# days, errors, loops


def test_the_day_is_the_configs_whatever_the_day_is() -> None:
    tokenizer = chats.for_template("llama3")
    ((before, _),) = spans(tokenizer, PLAIN[:2])
    assert "Today Date: 01 Jan 2025" in tokenizer.decode(before)
    ((before, _),) = spans(tokenizer, PLAIN[:2], date="2031-02-03")
    assert "Today Date: 03 Feb 2031" in tokenizer.decode(before)


def test_a_template_that_draws_lots_draws_the_same() -> None:
    tokenizer = chats.for_template("chatml")
    drawn = "{{ range(1000) | random }}" + chats.template("chatml")
    assert spans(tokenizer, PLAIN, template=drawn) == spans(tokenizer, PLAIN, template=drawn)


@pytest.mark.parametrize(
    ("name", "talk", "reason"),
    [
        ("gemma", [SYSTEM, *PLAIN], "System role not supported"),
        ("mistral", [ASKS, AGAIN, PLAIN[3]], "Conversation roles must alternate"),
        ("llama3", [ASKS, {"role": "assistant", "tool_calls": [CALL, CALL]}], "single tool-calls"),
    ],
)
def test_what_a_template_objects_to_is_told_in_one_line(
    name: str, talk: list[Any], reason: str
) -> None:
    with pytest.raises(BadConversation, match=reason) as caught:
        spans(chats.for_template(name), talk)
    assert "\n" not in str(caught.value)


def test_a_template_that_cannot_be_read_is_refused_with_its_line() -> None:
    with pytest.raises(DataError, match=r"cannot be read \(line 2: "):
        ChatTemplate(chats.for_template("chatml"), ChatFormat("{% for m in messages %}\n{{ m. }}"))


def test_a_template_that_fills_the_memory_is_refused_in_one_line() -> None:
    filling = chats.template("chatml") + "{{ 'x' * 10**10 }}"
    with pytest.raises(DataError) as refused:
        ChatTemplate(chats.for_template("chatml"), ChatFormat(filling))
    assert str(refused.value) == (
        "data: the chat template makes a value of more than 10,000,000 characters; set "
        "data.chat_template to another one"
    )


# by its steps or by its time, whichever limit is met first on this machine
ENDLESS = r"does not come to an end|takes more than 5,000,000 steps"


def test_a_template_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_templates, "SECONDS", 0.2)
    endless = (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
        + chats.template("chatml")
    )
    with pytest.raises(DataError, match=ENDLESS):
        ChatTemplate(chats.for_template("chatml"), ChatFormat(endless))
    sometimes = "{% if messages | length > 3 %}" + endless[: -len(chats.template("chatml"))]
    sometimes += "{% endif %}" + chats.template("chatml")
    with pytest.raises(DataError, match=ENDLESS):
        spans(chats.for_template("chatml"), PLAIN, template=sometimes)


def test_a_template_that_writes_a_turn_otherwise_than_its_prompt_begins_it_is_refused() -> None:
    last_only = (
        "{% for m in messages %}{% if m['role'] == 'user' %}<s>{{ m['content'] }}{% else %}"
        " {{ m['content'] }}</s>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}[INST]{% endif %}"
    )
    with pytest.raises(BadConversation, match=r"generation prompt ends in .* before no answer"):
        spans(chats.for_template("llama2"), PLAIN, template=last_only)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% if m.role == 'user' %}<s>{{ m.content }}</s>{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<s>assistant{% endif %}",
        "{% for m in messages %}<s>{{ m.role }}{% if m.role == 'user' %}{{ m.content }}{% endif %}"
        "</s>{% endfor %}{% if add_generation_prompt %}<s>assistant{% endif %}",
        "{% if add_generation_prompt %}<s>assistant{% endif %}",
        "{{ messages[0].content }}{% if add_generation_prompt %}<s>assistant{% endif %}",
        "{% for m in messages %}{{ m.contents }}{% endfor %}",
    ],
    ids=["leaves out", "an empty turn", "a prompt alone", "the first message", "misspelt"],
)
def test_a_template_that_never_writes_the_assistants_words_is_refused(template: str) -> None:
    with pytest.raises(DataError, match="writes nothing of what the assistant says, so there is"):
        spans(byte_tokenizer(), PLAIN, template=template)
