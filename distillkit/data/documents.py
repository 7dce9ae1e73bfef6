"""Text for language models: documents, conversations, instructions with responses."""

import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from distillkit.artifacts import write_json
from distillkit.data.plain_text import Unit
from distillkit.data.rows import Rows, say_dropped, write_split
from distillkit.data.shares import share_out
from distillkit.data.sources import written
from distillkit.data.tables import keep_rows, read_table
from distillkit.data.texts import Texts
from distillkit.errors import ConfigError, DataError

_BREAK = re.compile(r"(?:<br\s*/?>\s*)+", re.IGNORECASE)
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, kw_only=True)
class Documents(Texts):
    """Running text, a document a row of the column `text`.

    `line_breaks` writes the `<br />` of a web page as the new line that it stands for. `document`
    is what one is in a .txt file: what blank lines set apart, the whole file, or a line.
    """

    text: str = "text"
    line_breaks: bool = False
    document: Literal["paragraph", "file", "line"] = "paragraph"

    kind = "documents"
    rows = "documents"
    holds_messages = False

    @property
    def unit(self) -> Unit | None:
        """What a document of a .txt file is."""
        return self.document

    def settings(self) -> dict[str, str | None]:
        """The columns that are read, by their settings."""
        return {"data.text": self.text}

    def read(self, row: dict[str, Any]) -> tuple[str, str | None] | None:
        """(document, None), or None where there is none."""
        text = row[self.text]
        if not isinstance(text, str) or not text.strip():
            return None
        return (_BREAK.sub("\n", text) if self.line_breaks else text), None


@dataclass(frozen=True, kw_only=True)
class Conversations(Texts):
    """What the assistant says is learnt: `messages`, or `prompt` and `response`.

    `messages` is a column of lists of {role, content}. `prompt` and `response` are columns of
    text (`system` too, if it is set); they go through the tokenizer's chat template, or into
    `template`, in which {prompt} stands for the prompt and {system} for the system's text.
    """

    messages: str | None = None
    prompt: str | None = None
    response: str | None = None
    system: str | None = None
    template: str | None = None

    kind = "conversations"
    rows = "conversations"

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.messages) == bool(self.prompt and self.response):
            raise ConfigError(
                f"data.messages = {self.messages}, data.prompt = {self.prompt}, data.response = "
                f"{self.response}: set either messages, or both prompt and response"
            )
        if self.template is not None and (self.messages or "{prompt}" not in self.template):
            raise ConfigError(
                f"data.template = {self.template!r}: needs data.prompt and data.response, and has "
                "to hold {prompt}"
            )

    @property
    def holds_messages(self) -> bool:
        """Whether rows are conversations for the chat template, or prompts with responses."""
        return self.template is None

    @property
    def unit(self) -> Unit | None:
        """A conversation is a row of a table in .txt files, too."""
        return None

    def settings(self) -> dict[str, str | None]:
        """The columns that are read, by their settings."""
        names = ("messages", "prompt", "response", "system")
        return {f"data.{name}": getattr(self, name) for name in names}

    def read(self, row: dict[str, Any]) -> tuple[str, str | None] | None:
        """(JSON of the messages, None) or (prompt, response); None where one is missing."""
        if self.messages:
            return _checked(row[self.messages], self.messages)
        assert self.prompt and self.response
        prompt, response = row[self.prompt], row[self.response]
        system = row[self.system] if self.system else None
        if not all(isinstance(t, str) and t.strip() for t in (prompt, response)):
            return None
        if self.template is not None:
            values = {"{prompt}": prompt, "{system}": system or ""}
            return _filled(self.template, values), response
        said = [("system", system)] if system else []
        said += [("user", prompt), ("assistant", response)]
        return json.dumps([{"role": r, "content": c} for r, c in said], ensure_ascii=False), None


def _filled(template: str, values: dict[str, str]) -> str:
    """The template with its placeholders replaced; braces in the values mean nothing."""
    return re.sub("|".join(map(re.escape, values)), lambda match: values[match[0]], template)


def _checked(messages: Any, column: str) -> tuple[str, None] | None:
    if not messages:
        return None
    if isinstance(messages, str):
        try:
            messages = json.loads(messages)
        except ValueError:
            messages = None
    good = isinstance(messages, list) and all(
        isinstance(m, dict) and m.get("role") in ROLES and isinstance(m.get("content"), str)
        for m in messages
    )
    if not good:
        raise DataError(
            f"data.messages = {column}: a row is no list of messages, each with a role "
            f"({', '.join(ROLES)}) and a content"
        )
    kept = [{"role": m["role"], "content": m["content"]} for m in messages]
    return json.dumps(kept, ensure_ascii=False), None


def prepare_documents(data: Documents | Conversations, *, cache: Path, out: Path) -> dict[str, Any]:
    """Write the splits into `out`; return their counts, and say what was dropped."""
    splits, dropped = share_out(data, partial(_rows, data, cache))
    splits = data.sized(splits)
    for name, rows in splits.items():
        write_split(out / name, rows.texts, rows.pairs, None)
    write_json(
        out / "labels.json", {"names": [], "numeric": False, "messages": data.holds_messages}
    )
    counts = data.counted(splits)
    say_dropped("rows", dropped)
    return {"counts": counts, "dropped": dropped}


def _rows(data: Documents | Conversations, cache: Path, role: str, dropped: dict[str, int]) -> Rows:
    spec = getattr(data, role)
    columns = data.settings()
    where = data.where if role == "train" else None
    table = read_table(
        spec,
        key=f"data.{role}",
        split=role,
        cache=cache,
        columns=columns,
        texts=[setting for setting in columns if setting != "data.messages"],
        where=where,
        form=data.form,
        unit=data.unit,
    )
    table = keep_rows(table, where, key="data.where", spec=spec)
    read = [data.read(row) for row in table.records([c for c in columns.values() if c])]
    kept = [row for row in read if row is not None]
    if len(kept) < len(read):
        dropped[f"empty ({role})"] = len(read) - len(kept)
    if not kept:
        raise DataError(f"data.{role} = {written(spec)}: every row is empty")
    pairs = [pair for _, pair in kept if pair is not None]
    return Rows([text for text, _ in kept], pairs or None, [None] * len(kept))
