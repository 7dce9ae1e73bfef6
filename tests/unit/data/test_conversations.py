"""Conversations as people write them, read into one form; what cannot be read is named by row."""

import json
from pathlib import Path
from typing import Any

import pytest

from distillkit.chat.conversation import BadConversation, Conversation
from distillkit.data import Conversations
from distillkit.data.chat_rows import as_messages, as_tools, without_nulls
from distillkit.data.conversations import prepare_conversations
from distillkit.data.corpus import Corpus
from distillkit.errors import ConfigError, DataError

USER = {"role": "user", "content": "a"}
SAYS = {"role": "assistant", "content": "b"}
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}


@pytest.mark.parametrize(
    "value",
    [
        [USER, SAYS],
        json.dumps([USER, SAYS]),
        repr([USER, SAYS]),
        {"messages": [USER, SAYS]},
        [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
        {"role": ["user", "assistant"], "content": ["a", "b"]},
        [{"role": "Human", "content": "a"}, {"role": "model", "content": "b"}],
        [{"role": "USER", "content": "a"}, {"role": " Assistant", "content": "b"}],
        [USER | {"tool_calls": None}, SAYS | {"tool_calls": []}],
    ],
)
def test_every_way_to_write_messages_is_read_as_one(value: Any) -> None:
    assert as_messages(value) == [USER, SAYS]


def test_nothing_of_a_message_is_left_out() -> None:
    rich = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "so",
        "tool_calls": [CALL],
        "name": "bot",
        "weight": 0,
    }
    (found,) = as_messages([rich])
    assert found == {k: v for k, v in rich.items() if v is not None}
    assert as_messages([{"role": "developer", "content": "x"}])[0]["role"] == "developer"


def test_sharegpts_function_call_is_a_tool_call() -> None:
    written = '{"name": "add", "arguments": {"a": 1}}'
    (found,) = as_messages([{"from": "function_call", "value": written}])
    assert found == {"role": "assistant", "tool_calls": [CALL]}
    assert as_messages([{"from": "observation", "value": "2"}])[0]["role"] == "tool"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("hello", "is text, and no JSON of messages"),
        (5, r"is no list of messages \(int\)"),
        ([], "has no messages"),
        ([5], r"message 1 is no mapping with a role \(int\)"),
        ([USER, {"content": "b"}], "message 2 has no role"),
        ([{"role": "user"}], r"message 1 \(user\) has no content"),
        ([USER, {"role": "assistant"}], r"message 2 \(assistant\) has no content"),
        ([USER | {"content": 5}], r"message 1: its content is no text \(int\)"),
        ([USER | {"content": [{"type": "image_url", "image_url": "x"}]}], "is image_url"),
        ([SAYS | {"weight": 0.5}], "weight = 0.5; a message is learnt or not"),
        ([SAYS | {"tool_calls": 5}], "its tool_calls are no list of calls"),
        ([{"from": "function_call", "value": "add(1)"}], "no JSON of a name and arguments"),
    ],
)
def test_what_is_no_conversation_is_said(value: Any, reason: str) -> None:
    with pytest.raises(BadConversation, match=reason):
        as_messages(value)


def test_tools_are_schemas_or_json_of_them() -> None:
    assert as_tools([{"name": "f"}]) == as_tools('[{"name": "f"}]') == [{"name": "f"}]
    assert as_tools(None) is as_tools("") is as_tools([]) is None
    with pytest.raises(BadConversation, match="its tools are no list of schemas"):
        as_tools(["f"])


def test_marks_say_what_is_learnt() -> None:
    talk = [USER, SAYS | {"weight": 0}, USER, SAYS | {"train": False}, USER, SAYS | {"weight": 1}]
    assert Conversation(as_messages(talk)).turns == [5]
    assert Conversation(as_messages([USER, SAYS, USER, SAYS])).turns == [1, 3]
    assert Conversation(as_messages([USER, SAYS | {"training": False}])).turns == []


# a source


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def prepared(tmp_path: Path, rows: list[Any], **how: Any) -> Corpus:
    spec = write(tmp_path / "talks.jsonl", rows)
    shares = {"validation": spec, "test": spec} if how.pop("own", False) else {}
    shares |= {"validation_fraction": 0.2, "test_fraction": 0.2} if not shares else {}
    data = Conversations(train=spec, **shares, **how)
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    prepare_conversations(data, None, cache=tmp_path, out=out)
    return Corpus.open(out, None)


def talks(count: int = 60) -> list[Any]:
    return [{"m": [{"role": "user", "content": f"a {i}"}, SAYS]} for i in range(count)]


def test_conversations_know_their_rows_and_tools(tmp_path: Path) -> None:
    rows = [row | {"t": [{"name": f"f{i}"}] if i % 2 else None} for i, row in enumerate(talks())]
    corpus = prepared(tmp_path, rows, messages="m", tools="t")
    for name in ("train", "test"):
        split = corpus.split(name)
        for place in range(len(split)):
            talk = split.conversation(place)
            number = int(talk.messages[0]["content"].split()[1])
            assert talk.name(1) == f"row {number + 1} of data.train"
            assert talk.tools == ([{"name": f"f{number}"}] if number % 2 else None)


def test_a_bad_row_is_named_and_stops_nobody_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = talks()
    rows[7] = {"m": [SAYS, USER, SAYS]}
    rows[9] = {"m": "hello"}
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, rows, messages="m")
    assert str(caught.value).endswith(
        "talks.jsonl: row 8 begins with the assistant: nobody asked anything before (2 of 60 rows "
        "are bad); mend what is bad, or set data.bad_rows=drop"
    )
    corpus = prepared(tmp_path, rows, messages="m", bad_rows="drop")
    assert sum(len(corpus.split(name)) for name in ("train", "validation", "test")) == 58
    assert "row 8 begins with the assistant" in capsys.readouterr().err


def test_a_line_that_is_no_json_is_a_bad_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in talks()) + '{"m": [\n')
    how: dict[str, Any] = {"messages": "m", "validation_fraction": 0.2, "test_fraction": 0.2}
    data = Conversations(train=str(path), **how)
    with pytest.raises(DataError, match=r"line 61, .*set data\.bad_rows=drop"):
        prepare_conversations(data, None, cache=tmp_path, out=tmp_path)
    prepare_conversations(
        Conversations(train=str(path), bad_rows="drop", **how), None, cache=tmp_path, out=tmp_path
    )
    assert "1 lines are no JSON, left out (line 61" in capsys.readouterr().err
    path.write_text("- a: b\n")
    with pytest.raises(DataError, match=r"cannot be read \(line 1, column 1"):
        prepare_conversations(data, None, cache=tmp_path, out=tmp_path)


def test_what_tables_give_each_row_of_the_others_is_taken_away(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    calls = [{"function": {"name": "f", "arguments": {key: 1}}} for key in ("x", "y")]
    rows = [{"m": [USER, {"role": "assistant", "tool_calls": [call]}]} for call in calls]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    data = Conversations(train=str(tmp_path / "a.parquet"), messages="m")
    for row, call in zip(pq.read_table(tmp_path / "a.parquet").to_pylist(), calls, strict=True):
        assert row["m"][1]["tool_calls"] != [call]
        found = data.read(without_nulls(row))
        assert found is not None
        assert json.loads(found[0])[1]["tool_calls"] == [call]


def test_prompts_and_responses_may_be_messages(tmp_path: Path) -> None:
    rows = [
        {"p": [{"role": "user", "content": f"a {i}"}, SAYS, USER], "r": [SAYS], "s": "be brief"}
        for i in range(60)
    ]
    talk = prepared(tmp_path, rows, prompt="p", response="r", system="s").split("train")
    held = talk.conversation(0)
    roles = ["system", "user", "assistant", "user", "assistant"]
    assert [m["role"] for m in held.messages] == roles
    assert held.turns == [4]  # what stands in the prompt was said before


@pytest.mark.parametrize("prompt", ["what?", [{"role": "user", "content": "what?"}]])
def test_a_prompt_that_is_repeated_in_the_response_is_read_once(prompt: Any) -> None:
    data = Conversations(train="a.jsonl", prompt="prompt", response="chosen")
    asked = {"role": "user", "content": "what?"}
    found = data.read({"prompt": prompt, "chosen": [asked, SAYS]})
    assert found == data.read({"prompt": prompt, "chosen": [SAYS]}) is not None
    with pytest.raises(BadConversation, match=r"begins with the user, .*data\.messages names the"):
        data.read({"prompt": prompt, "chosen": [asked | {"content": "who?"}, SAYS]})


def test_a_written_newline_is_one_and_two_strokes_are_themselves() -> None:
    how: dict[str, Any] = {"train": "a.jsonl", "prompt": "p", "response": "r"}
    data = Conversations(template="Q: {prompt}\\nA: ", **how)
    assert data.read({"p": "x", "r": "y"}) == ("Q: x\nA: ", "y")
    data = Conversations(template="Q:\\t{prompt}\\\\n", **how)
    assert data.read({"p": "x\\n", "r": "y"}) == ("Q:\tx\\n\\n", "y")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"messages": "m", "prompt": "p", "response": "r"}, "set either messages, or both"),
        ({"prompt": "p", "response": "r", "template": "Q: "}, "has to hold {prompt}"),
        ({"prompt": "p", "response": "r", "template": "{prompt} {response}"}, "leave {response}"),
        (
            {"prompt": "p", "response": "r", "system": "s", "template": "{prompt}"},
            "data.system = s has no place in it; write {system}",
        ),
        (
            {"prompt": "p", "response": "r", "template": "{prompt}", "chat_template": "x"},
            "data.chat_template = x: is for chat templates",
        ),
        ({"messages": "m", "template_arguments": {"tools": 1}}, "template_arguments.tools: "),
        ({"messages": "m", "template_date": "soon"}, "data.template_date = soon: is no date"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(how: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Conversations(train="a.jsonl", **how)
    assert said in str(caught.value)


def test_all_that_changes_what_a_template_writes_changes_the_data(tmp_path: Path) -> None:
    spec = write(tmp_path / "talks.jsonl", talks())
    template = tmp_path / "mine.jinja"
    template.write_text("{{ messages }}")

    def decided(**how: Any) -> str:
        data = Conversations(train=spec, messages="m", **how)
        return json.dumps(data.labelled_fields(), sort_keys=True)

    ways = [
        {},
        {"chat_template": str(template)},
        {"template_arguments": {"enable_thinking": False}},
        {"template_date": "2026-01-01"},
        {"bad_rows": "drop"},
    ]
    assert len({decided(**how) for how in ways}) == len(ways)
    before = decided(chat_template=str(template))
    copy = tmp_path / "copy.jinja"
    copy.write_text("{{ messages }}")
    assert decided(chat_template=str(copy)) == before
    template.write_text("{{ messages[0] }}")
    assert decided(chat_template=str(template)) != before
    with pytest.raises(DataError, match=r"data.chat_template = nope.jinja: no such file"):
        decided(chat_template="nope.jinja")
    link = tmp_path / "link.jinja"
    link.symlink_to("/proc/self/environ")
    for environment in ("/proc/self/environ", str(link)):
        with pytest.raises(DataError, match=r"no file of a template, but what the system shows"):
            decided(chat_template=environment)
