"""Rows as conversations: every common way to write messages becomes one, nothing is left out."""

import json
from collections.abc import Mapping
from typing import Any

from distillkit.chat.conversation import ASSISTANT, LEARNT, BadConversation, Message
from distillkit.data.literals import literal

ROLES = {  # what others call them, in whatever case
    "human": "user",
    "prompter": "user",
    "gpt": ASSISTANT,
    "chatgpt": ASSISTANT,
    "bing": ASSISTANT,
    "bard": ASSISTANT,
    "bot": ASSISTANT,
    "ai": ASSISTANT,
    "model": ASSISTANT,
    "observation": "tool",
    "function_response": "tool",
    "function_call": ASSISTANT,
    **{name: name for name in ("system", "developer", "user", ASSISTANT, "tool")},
}
TEXT_PARTS = ("text", "input_text", "output_text")
THOUGHT_PARTS = ("thinking", "reasoning")
THOUGHTS = ("reasoning_content", "thinking", "reasoning")  # fields of a message
_RENAMED = {"from": "role", "value": "content", "training": "train"}


def as_messages(value: Any) -> list[Message]:
    """The messages of a cell: a list of them, or JSON of one; roles and marks as they are here.

    Raises `BadConversation` for what is no conversation.
    """
    value = _parsed(value, "messages")
    if isinstance(value, Mapping) and isinstance(value.get("messages"), list):
        value = value["messages"]
    if isinstance(value, Mapping):
        value = _rows_of(value)
    if not isinstance(value, (list, tuple)):
        raise BadConversation(f"is no list of messages ({_kind(value)})")
    if not value:
        raise BadConversation("has no messages")
    return [_message(message, number) for number, message in enumerate(value, start=1)]


def as_tools(value: Any) -> list[Any] | None:
    """The tools of a cell: a list of their schemas, or JSON of one; None where there are none."""
    if value is None or value == "":
        return None
    value = _parsed(value, "tools")
    value = [value] if isinstance(value, Mapping) else value
    if not isinstance(value, list) or not all(isinstance(tool, Mapping) for tool in value):
        raise BadConversation(f"its tools are no list of schemas ({_kind(value)})")
    return value or None


def said_by(role: str, value: Any) -> list[Message]:
    """A prompt or a response as messages: text becomes one of this role."""
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    return as_messages(value)


def without_prompt(response: list[Message], prompt: list[Message]) -> list[Message]:
    """A response without the prompt that some tables repeat in it, as `chosen` of preferences.

    Raises `BadConversation` for one that begins with another question.
    """
    if response[: len(prompt)] == prompt and len(response) > len(prompt):
        return response[len(prompt) :]
    if response[0]["role"] in ("system", "developer", "user"):
        raise BadConversation(
            f"has a response that begins with the {response[0]['role']}, and not with its prompt; "
            "of whole conversations data.messages names the column, and data.prompt and "
            "data.response are null"
        )
    return response


def check(messages: list[Message]) -> None:
    """Raise `BadConversation` where what is said cannot be an answer to anything."""
    if messages[0]["role"] == ASSISTANT:
        raise BadConversation("begins with the assistant: nobody asked anything before")


def without_nulls(value: Any) -> Any:
    """A value whose mappings have lost their empty fields: tables give each row those of all."""
    if isinstance(value, Mapping):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, (list, tuple)) else value


def _parsed(value: Any, part: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        try:
            return literal(value)  # as pandas writes lists into a csv
        except ValueError:
            raise BadConversation(f"is text, and no JSON of {part} ({error})") from None


def _rows_of(value: Mapping[str, Any]) -> Any:
    """Messages of a mapping of columns, as {role: […], content: […]}."""
    columns = {k: v for k, v in value.items() if isinstance(v, (list, tuple))}
    if not ({"role", "from"} & columns.keys()) or len({len(v) for v in columns.values()}) != 1:
        return value
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _message(value: Any, number: int) -> Message:
    at = f"message {number}"
    if not isinstance(value, Mapping):
        raise BadConversation(f"{at} is no mapping with a role ({_kind(value)})")
    message: Message = {}
    for name, field in value.items():
        message.setdefault(_RENAMED.get(str(name), str(name)), field)
    message = {name: field for name, field in message.items() if field is not None}
    role = message.get("role")
    if not isinstance(role, str) or not role.strip():
        raise BadConversation(f"{at} has no role")
    if role.strip().lower() == "function_call":
        message |= _called(message.pop("content", None), at)
    message["role"] = ROLES.get(role.strip().lower(), role.strip())
    _check_content(message, at)
    _check_calls(message, at)
    _check_marks(message, at)
    return message


def _called(content: Any, at: str) -> Message:
    """ShareGPT's function call, JSON of one or several, as tool calls."""
    try:
        calls = json.loads(content)
        calls = [calls] if isinstance(calls, dict) else calls
        functions = [{"name": c["name"], "arguments": c.get("arguments", {})} for c in calls]
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
        raise BadConversation(
            f"{at} is a function call, and no JSON of a name and arguments"
        ) from None
    return {"tool_calls": [{"type": "function", "function": f} for f in functions]}


def _check_content(message: Message, at: str) -> None:
    content = message.get("content")
    if isinstance(content, str):
        return
    if content is None:
        if message["role"] == ASSISTANT and _says_otherwise(message):
            return
        raise BadConversation(f"{at} ({message['role']}) has no content")
    if not isinstance(content, (list, tuple)):
        raise BadConversation(f"{at}: its content is no text ({_kind(content)})")
    message["content"] = [_part(part, at) for part in content]


def _says_otherwise(message: Message) -> bool:
    return bool(message.get("tool_calls")) or any(message.get(name) for name in THOUGHTS)


def _part(part: Any, at: str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        raise BadConversation(f"{at}: a part of its content is no text ({_kind(part)})")
    fields = {str(k): v for k, v in part.items() if v is not None}
    kind = fields.get("type", "text" if "text" in fields else None)
    if kind in THOUGHT_PARTS:
        return fields
    if kind not in TEXT_PARTS or not isinstance(fields.get("text"), str):
        raise BadConversation(f"{at}: a part of its content is {kind or 'nameless'}, and no text")
    return {**fields, "type": "text"}


def _check_calls(message: Message, at: str) -> None:
    calls = message.get("tool_calls")
    if calls is None:
        return
    calls = _parsed(calls, "tool calls")
    if not isinstance(calls, (list, tuple)) or not all(isinstance(c, Mapping) for c in calls):
        raise BadConversation(f"{at}: its tool_calls are no list of calls ({_kind(calls)})")
    message["tool_calls"] = list(calls)
    if not calls:
        del message["tool_calls"]


def _check_marks(message: Message, at: str) -> None:
    for mark in LEARNT:
        value = message.get(mark)
        if isinstance(value, str) and value.strip().lower() in ("true", "false", "0", "1"):
            value = message[mark] = value.strip().lower() in ("true", "1")
        if value is not None and not (isinstance(value, (bool, int, float)) and value in (0, 1)):
            raise BadConversation(
                f"{at}: {mark} = {value}; a message is learnt or not, which is 1 or 0"
            )


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
