"""Conversations as rows: messages whole, or prompts with responses."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from distillkit.artifacts.homes import expanded
from distillkit.chat.conversation import (
    ASSISTANT,
    FIXED_DATE,
    BadConversation,
    BadRows,
    ChatFormat,
    Message,
)
from distillkit.console.progress import say
from distillkit.data.chat_rows import (
    as_messages,
    as_tools,
    check,
    said_by,
    without_nulls,
    without_prompt,
)
from distillkit.data.data import Reader
from distillkit.data.filters import matching_rows
from distillkit.data.folders import model_folder
from distillkit.data.rows import Rows, say_dropped, write_labels, write_split
from distillkit.data.shares import share_out
from distillkit.data.sources import expand, identity, spec_text, suffix, tokenizer_identity
from distillkit.data.tables import read_table
from distillkit.data.texts import Texts
from distillkit.errors import ConfigError, DataError
from distillkit.limits import is_of_system
from distillkit.types import LabelSpace

JSON = (".jsonl", ".ndjson", ".json")  # whose rows have what they have, and no more
AS_TEXT = ("data.prompt", "data.response", "data.system")  # numbers in them are text, too
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\n": "\\n", "\\\\t": "\\t"}
_ESCAPED = re.compile(r"\\\\[nt]|\\[nt]")
_RESERVED = (  # what a template is given anyway, or is a setting of the rendering
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "documents",
    "max_length",
    "messages",
    "padding",
    "return_assistant_tokens_mask",
    "return_dict",
    "return_tensors",
    "sanitize_control_tokens",
    "strftime_now",
    "tokenize",
    "tokenizer_kwargs",
    "tools",
    "truncation",
)


@dataclass(frozen=True, kw_only=True)
class Conversations(Texts):
    """What the assistant says is learnt: `messages`, or `prompt` and `response`.

    `messages` is a column of lists of {role, content, …} or {from, value}; `tools` one of lists of
    schemas. `prompt` and `response` are columns of text or of messages (`system` too, if it is
    set). They go through a chat template as they are: the tokenizer's own, or `chat_template`, with
    `template_arguments` as further variables and `template_date` for today. Or else into
    `template`, in which {prompt} stands for the prompt and {system} for the system's text.
    """

    messages: str | None = None
    tools: str | None = None
    prompt: str | None = None
    response: str | None = None
    system: str | None = None
    template: str | None = None
    chat_template: str | None = None
    template_arguments: dict[str, Any] = field(default_factory=dict)
    template_date: str = FIXED_DATE
    bad_rows: BadRows = "refuse"

    kind = "conversations"
    rows = "conversations"
    has_prompts = True
    has_conversations = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.messages) == bool(self.prompt and self.response):
            raise ConfigError(
                f"data.messages = {self.messages}, data.prompt = {self.prompt}, data.response = "
                f"{self.response}: set either messages, or both prompt and response"
            )
        if self.template is not None:
            # a shell and YAML's single quotes hand \n on as two characters
            template = _ESCAPED.sub(lambda match: _ESCAPES[match[0]], self.template)
            object.__setattr__(self, "template", template)
        self._check_template()
        self._check_arguments()

    def _check_template(self) -> None:
        if self.template is None:
            return
        at = f"data.template = {self.template!r}: "
        if self.messages or "{prompt}" not in self.template:
            raise ConfigError(
                f"{at}needs data.prompt and data.response, and has to hold {{prompt}}"
            )
        if "{response}" in self.template:
            raise ConfigError(f"{at}the response follows it by itself; leave {{response}} out")
        if self.system and "{system}" not in self.template:
            raise ConfigError(
                f"{at}data.system = {self.system} has no place in it; write {{system}}"
            )
        for name in ("chat_template", "template_arguments", "tools"):
            if getattr(self, name):
                raise ConfigError(
                    f"data.{name} = {getattr(self, name)}: is for chat templates, and "
                    "data.template is plain text; set one of the two"
                )

    def _check_arguments(self) -> None:
        reserved = [name for name in self.template_arguments if name in _RESERVED]
        if reserved:
            raise ConfigError(
                f"data.template_arguments.{reserved[0]}: the chat template is given this by "
                "distillkit; leave it out"
            )
        try:
            datetime.fromisoformat(self.template_date)
        except (TypeError, ValueError):
            raise ConfigError(
                f"data.template_date = {self.template_date}: is no date; write it as 2025-01-31"
            ) from None

    def prepare(self, task: Reader, *, cache: Path, out: Path) -> dict[str, Any]:
        """Write the splits into `out`; return their counts, and say what was dropped."""
        template = chosen_template(self.chat_template, task, cache=cache)
        return prepare_conversations(self, template, cache=cache, out=out)

    @property
    def holds_messages(self) -> bool:
        """Whether rows are conversations for the chat template, or prompts with responses."""
        return self.template is None

    def chat(self, template: str | dict[str, str] | None) -> ChatFormat:
        """How the conversations become text, by this chat template (None: the tokenizer's)."""
        arguments = {name: _plain(value) for name, value in self.template_arguments.items()}
        return ChatFormat(template, arguments, self.template_date, self.bad_rows)

    def settings(self) -> dict[str, str | None]:
        """The columns that are read, by their settings."""
        names = ("messages", "tools", "prompt", "response", "system")
        return {f"data.{name}": getattr(self, name) for name in names}

    def labelled_fields(self) -> dict[str, Any]:
        """All that decides the splits, the chat template by its content."""
        fields = super().labelled_fields()
        if self.chat_template:
            fields["chat_template"] = template_identity(self.chat_template)
        return fields

    def read(self, row: Mapping[str, Any]) -> tuple[str, str | None] | None:
        """(JSON of the conversation, None) or (prompt, response); None where nothing stands.

        Raises `BadConversation` for what cannot be read.
        """
        if self.template is not None:
            return self._filled(row)
        if self.messages:
            if not row[self.messages]:
                return None
            messages = as_messages(row[self.messages])
        else:
            messages = self._exchange(row)
            if not messages:
                return None
        check(messages)
        tools = as_tools(row[self.tools]) if self.tools else None
        whole = {"messages": messages, "tools": tools} if tools else messages
        return json.dumps(whole, ensure_ascii=False), None

    def _exchange(self, row: Mapping[str, Any]) -> list[Message]:
        """The messages of a prompt, with its system text, and of a response; [] without either."""
        assert self.prompt and self.response
        prompt, response = row[self.prompt], row[self.response]
        if _is_empty(prompt) or _is_empty(response):
            return []
        messages = said_by("user", prompt)
        answer = without_prompt(said_by(ASSISTANT, response), messages)
        # what stands in the prompt was said before
        messages = [m | {"weight": 0} if m["role"] == ASSISTANT else m for m in messages]
        system = row[self.system] if self.system else None
        start = [] if _is_empty(system) else said_by("system", system)
        return [*start, *messages, *answer]

    def _filled(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """The plain template with its placeholders replaced; braces in the values mean nothing."""
        assert self.prompt and self.response and self.template is not None
        prompt, response = row[self.prompt], row[self.response]
        if _is_empty(prompt) or _is_empty(response):
            return None
        system = row[self.system] if self.system else None
        values = {
            "{prompt}": _text(prompt, "user"),
            "{system}": "" if _is_empty(system) else _text(system, "system"),
        }
        pattern = "|".join(map(re.escape, values))
        filled = re.sub(pattern, lambda match: values[match[0]], self.template)
        return filled, _text(response, ASSISTANT)


def template_identity(spec: str) -> str:
    """What decides a chat template: its text, that of its file, or the tokenizer it belongs to."""
    key = "data.chat_template"
    if is_template(spec):
        return spec
    path = expanded(spec)
    if path.suffix in (".jinja", ".jinja2", ".j2", ".txt", ".json") and not path.is_file():
        raise DataError(f"{key} = {spec}: no such file")
    if path.is_file() and is_of_system(path):
        raise DataError(f"{key} = {spec}: no file of a template, but what the system shows")
    return identity(spec, key=key) if path.is_file() else tokenizer_identity(spec, key=key)


def is_template(spec: str) -> bool:
    """Whether a setting is a template itself, not where there is one."""
    return "{{" in spec or "{%" in spec


def chosen_template(spec: str | None, task: Reader, *, cache: Path) -> Any:
    """The text of `data.chat_template` (or several, by name); None for the tokenizer's own.

    It is that text itself, a file of it, or a model that has one.
    """
    if spec is None or is_template(spec):
        return spec
    key = "data.chat_template"
    path = expanded(spec)
    if path.is_file() and path.suffix != ".gguf":
        try:
            return path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{key} = {spec}: is no text in UTF-8 ({error.reason})") from error
    folder = model_folder(spec, key=key, cache=cache, weights=False)
    template = task.load_tokenizer(folder, key=key).chat_template
    if not template:
        raise DataError(f"{key} = {spec}: its tokenizer has no chat template")
    return template


def prepare_conversations(
    data: Conversations, template: str | dict[str, str] | None, *, cache: Path, out: Path
) -> dict[str, Any]:
    """Write the splits into `out`; return their counts, and say what was dropped.

    `template` is the text of `data.chat_template`, None for the tokenizer's own.
    """
    splits, dropped = share_out(data, partial(_rows, data, cache))
    splits = data.sized(splits)
    sources = {name: name if getattr(data, name) else "train" for name in splits}
    for name, rows in splits.items():
        write_split(out / name, rows.texts, rows.pairs, None, rows.numbers)
    chat = asdict(data.chat(template))
    write_labels(out, LabelSpace(()), messages=data.holds_messages, chat=chat, sources=sources)
    counts = data.counted(splits)
    say_dropped("rows", dropped)
    return {"counts": counts, "dropped": dropped}


def _rows(data: Conversations, cache: Path, role: str, dropped: dict[str, int]) -> Rows:
    """The conversations of a source."""
    spec, key = getattr(data, role), f"data.{role}"
    settings = data.settings()
    where = data.where if role == "train" else None
    lines: list[str] = []
    table = read_table(
        spec,
        key=key,
        split=role,
        cache=cache,
        columns=settings,
        texts=AS_TEXT,
        where=where,
        form=data.form,
        bad_lines=lines,
    )
    if lines and data.bad_rows == "refuse":
        raise DataError(
            f"{key} = {spec_text(spec)}: cannot be read ({lines[0]}); mend it, or set "
            "data.bad_rows=drop"
        )
    if lines:
        say(f"{key} = {spec_text(spec)}: {len(lines):,} lines are no JSON, left out ({lines[0]})")
    places = matching_rows(table, where, key="data.where", spec=spec)
    has_nulls = not all(suffix(Path(name)) in JSON for name in expand(spec, key=key))
    read: list[tuple[tuple[str, str | None], int]] = []
    bad_rows: list[tuple[str, str]] = []
    records = table.select(places).records([c for c in settings.values() if c])
    for place, row in zip(places, records, strict=True):
        try:
            conversation = data.read(without_nulls(row) | _empty(row) if has_nulls else row)
        except BadConversation as error:
            bad_rows.append((table.place(place), str(error)))
            continue
        if conversation is not None:
            read.append((conversation, place + 1))
    _tell_bad(data, bad_rows, len(places), at=f"{key} = {spec_text(spec)}")
    if bad_rows:
        dropped[f"bad ({role})"] = len(bad_rows)
    if len(read) + len(bad_rows) < len(places):
        dropped[f"empty ({role})"] = len(places) - len(bad_rows) - len(read)
    if not read:
        reason = "bad" if bad_rows else "empty"
        raise DataError(f"{key} = {spec_text(spec)}: every row is {reason}")
    pairs = [pair for (_, pair), _ in read if pair is not None]
    texts = [text for (text, _), _ in read]
    numbers = [number for _, number in read]
    return Rows(texts, pairs or None, [None] * len(read), numbers=numbers)


def _tell_bad(data: Conversations, bad_rows: list[tuple[str, str]], count: int, *, at: str) -> None:
    """Refuse the rows that cannot be read, or say that they are left out."""
    if not bad_rows:
        return
    place, reason = bad_rows[0]
    count_text = f" ({len(bad_rows):,} of {count:,} rows are bad)" if len(bad_rows) > 1 else ""
    if data.bad_rows == "refuse":
        raise DataError(
            f"{at}: {place} {reason}{count_text}; mend what is bad, or set data.bad_rows=drop"
        )
    say(f"{at}: {place} {reason}{count_text}; left out, by data.bad_rows=drop")


def _empty(row: Mapping[str, Any]) -> dict[str, None]:
    """The columns of a row in which nothing stands."""
    return {name: None for name, value in row.items() if value is None}


def _is_empty(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, (str, list, tuple)) and not len(value))
        or (isinstance(value, str) and not value.strip())
    )


def _text(value: Any, role: str) -> str:
    """What is said, for a plain template: text, or one message of text."""
    messages = said_by(role, value)
    if len(messages) != 1 or not isinstance(messages[0].get("content"), str):
        raise BadConversation(
            f"has {len(messages)} messages where data.template takes one text; leave "
            "data.template out for the chat template"
        )
    return str(messages[0]["content"])


def _plain(value: Any) -> Any:
    """A setting as plain data, whatever container a config put it in."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return [_plain(item) for item in value]
