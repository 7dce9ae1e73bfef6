"""What a language model is to continue: prompts of a command line, lines or a table, as ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.chat.conversation import BadConversation
from distillkit.chat.templates import ChatTemplate
from distillkit.console.wording import listed, nearest
from distillkit.data.chat_rows import as_messages
from distillkit.data.encodings import decoded, unpacked
from distillkit.data.labels import is_nothing
from distillkit.data.sources import LocalSource, parse, suffix
from distillkit.data.text_format import TextFormat
from distillkit.errors import DataError
from distillkit.generation.prompts import Prompt
from distillkit.prediction.rows import COLUMN, Rows, whole_characters, whole_table
from distillkit.tasks.tokenize.conversations import encoded
from distillkit.tasks.tokenize.responses import instructions

PROMPT, MESSAGES = "prompt", "messages"
USUAL = (PROMPT, MESSAGES, "text")  # columns, the first that there is


def of_prompts(prompts: Sequence[str]) -> Rows:
    """The prompts of a command line."""
    texts: list[str | None] = [whole_characters(prompt) for prompt in prompts]
    return Rows(texts, columns={PROMPT: texts})


def of_prompt_lines(text: str, *, at: str) -> Rows:
    """A prompt a line; blank lines stay rows."""
    lines: list[str | None] = [*text.replace("\r\n", "\n").removesuffix("\n").split("\n")]
    if not any(line and line.strip() for line in lines):
        raise DataError(f"{at}: no prompt in it")
    return Rows(lines, columns={PROMPT: lines})


def of_prompt_file(
    spec: str,
    *,
    column: str | None,
    recorded: Sequence[str],
    form: TextFormat,
    cache: Path,
    key: str = "data",
) -> Rows:
    """The prompts of a table, as text or as messages; or of a .txt, one a line."""
    source, at = parse(spec, key=key), f"{key} = {spec}"
    if isinstance(source, LocalSource) and suffix(source.path) == ".txt" and column is None:
        text, _ = decoded(unpacked(source.path, at=at), form.encoding, at=at)
        return of_prompt_lines(text, at=at)

    def choose(names: Sequence[str]) -> list[str]:
        return [_column(names, column, recorded, at)]

    usual = [column] if column is not None else [*recorded, *USUAL]
    readings = [{f"data.{MESSAGES if name == MESSAGES else PROMPT}": name} for name in usual]
    table, (column_read,), names = whole_table(
        spec, choose, key=key, readings=readings, form=form, cache=cache
    )
    return Rows(list(table[column_read]), columns={name: table[name] for name in names})


def _column(names: Sequence[str], column: str | None, recorded: Sequence[str], at: str) -> str:
    if column is not None:
        if column not in names:
            raise DataError(f"{COLUMN} {column}: no such column in {at}; {nearest(column, names)}")
        return column
    own_name = next((name for name in (*recorded, *USUAL) if name in names), None)
    if own_name is None and len(set(names)) == 1:
        own_name = names[0]
    if own_name is None:
        raise DataError(
            f"{at}: it has no column {listed(USUAL)}; its columns are {listed(names)}; name the "
            f"one that is meant: {COLUMN} PROMPT"
        )
    return own_name


@dataclass(frozen=True, slots=True)
class PromptWriter:
    """How prompts become ids: by the student's chat template, a `plain` one, or as they are.

    `plain` is a text with {prompt} in it, which the student was trained with.
    """

    tokenizer: Any
    chat: ChatTemplate | None
    plain: str | None = None
    system: str | None = None

    @property
    def name(self) -> str:
        """What is done with a prompt, in words."""
        if self.plain is not None:
            return "the template of its training"
        return "its chat template" if self.chat else "no template"

    def __call__(self, value: Any, number: int) -> Prompt:
        """A prompt, which is text or messages, as ids; raises `DataError` that names its row."""
        try:
            if self.plain is not None and isinstance(value, str):
                return self._of_plain(value)
            if self.chat is not None:
                return self._of_chat(self.chat, value)
            if not isinstance(value, str):
                raise BadConversation("holds messages, and this student has no chat template")
        except BadConversation as error:
            raise DataError(f"row {number}: {error}") from error
        ids = self.tokenizer(value, verbose=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        return Prompt(list(ids[:-1] if len(ids) > 1 and ids[-1] == end else ids))

    def _of_plain(self, text: str) -> Prompt:
        assert self.plain is not None
        whole = self.plain.replace("{prompt}", text).replace("{system}", self.system or "")
        ((ids, learnt),) = instructions([whole], ["a"], self.tokenizer)
        return Prompt(ids[: int(np.argmax(learnt))].tolist(), self.tokenizer.eos_token_id)

    def _of_chat(self, chat: ChatTemplate, value: Any) -> Prompt:
        is_messages = not isinstance(value, str) or value.lstrip().startswith("[{")
        messages = as_messages(value) if is_messages else [{"role": "user", "content": value}]
        if self.system is not None:
            messages = [{"role": "system", "content": self.system}, *messages]
        with chat.guard():
            text = chat.render(messages, prompt=True)
        end = chat.end_of_turn
        ids = encoded(text, self.tokenizer)[0].tolist()
        return Prompt(ids, None if end is None else self.tokenizer.convert_tokens_to_ids(end))


def prompts_of(rows: Rows, writer: PromptWriter) -> tuple[list[Prompt], list[int]]:
    """(the prompts, the rows that they are of): all rows that have one."""
    filled = [i for i, value in enumerate(rows.texts) if not is_nothing(value)]
    if not filled:
        raise DataError(f"no prompt in any of the {len(rows):,} rows")
    return [writer(rows.texts[i], i + 1) for i in filled], filled
