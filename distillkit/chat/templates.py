"""A tokenizer's chat template: rendered as at inference, of a fixed day, within time and size."""

import ctypes
import json
import random
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from distillkit.chat.bounded_templates import compiled
from distillkit.chat.conversation import (
    ASSISTANT,
    LEARNT,
    PLAIN,
    BadConversation,
    ChatFormat,
    Message,
)
from distillkit.chat.template_growth import TemplateLimit
from distillkit.chat.turns import common, end_of, is_blank, response_of, says_nothing, text_of
from distillkit.console.wording import brief, listed
from distillkit.errors import DataError

SECONDS = 20.0  # for all the renderings of one conversation; a template's loop may have no end
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_WORD = "zqx"  # stands in no template

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Turn:
    """What the assistant says once: the text before it, its own, and the parts of that to learn."""

    prompt: str
    response: str
    ranges: tuple[Range, ...]


class ChatTemplate:
    """How a tokenizer writes conversations. Raises `DataError` for a template that cannot be read.

    `text` is set where the template takes plain content, `parts` where it takes lists of parts;
    what it does not take is rewritten.
    """

    def __init__(self, tokenizer: Any, chat: ChatFormat = PLAIN) -> None:
        self.tokenizer, self.chat = tokenizer, chat
        if chat.template is None and not tokenizer.chat_template:
            raise DataError(
                "data: the teacher's tokenizer has no chat template; set data.template, as in "
                r"'Question: {prompt}\nAnswer: ' (of data.prompt and data.response), or "
                "data.chat_template to a file or a model that has one"
            )
        template = chat.template or tokenizer.chat_template
        if isinstance(template, dict) and "default" not in template:
            raise DataError(
                f"data: there are several chat templates ({listed(template)}) and none is the "
                "default; set data.chat_template to a file of one"
            )
        self._today = datetime.fromisoformat(chat.date)
        special = [str(token) for token in tokenizer.all_special_tokens]
        added = [str(token) for token in tokenizer.get_added_vocab()]
        self.special = frozenset(special)
        self.marks = frozenset(t for t in (*special, *added) if t.strip())
        self.takes_text = self.takes_parts = True
        self.takes_written_arguments = True
        self.asks_for_date = False
        self.closes = True  # a turn, with anything that shows
        with self.guard():
            self._probe()

    # rendering

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Render inside: today is the chosen day, draws repeat, and no rendering is endless."""
        from transformers.utils import chat_template_utils

        state, clock = random.getstate(), chat_template_utils.datetime
        compiler = chat_template_utils._compile_jinja_template
        chat_template_utils.datetime = _clock(self)
        chat_template_utils._compile_jinja_template = compiled
        try:
            with _bounded(SECONDS):
                yield
        except TemplateLimit as error:
            # it is raised from outside as a class, without a word, where time is up
            reason = str(error) or f"does not come to an end (stopped after {SECONDS:g} s)"
            raise DataError(
                f"data: the chat template {reason}; set data.chat_template to another one"
            ) from None
        finally:
            chat_template_utils.datetime = clock
            chat_template_utils._compile_jinja_template = compiler
            random.setstate(state)

    def render(
        self, messages: Sequence[Message], tools: Sequence[Any] | None = None, *, prompt: bool
    ) -> str:
        """The text of messages, with `prompt` up to where the assistant begins to speak.

        Raises `BadConversation` with what the template objects to.
        """
        adapted = [self._adapted(message) for message in messages]
        try:
            try:
                return self._apply(adapted, tools, prompt=prompt)
            except Exception as error:
                bare = [m if "content" in m else m | {"content": ""} for m in adapted]
                if isinstance(error, TemplateLimit) or bare == adapted:
                    raise
                return self._apply(bare, tools, prompt=prompt)
        except TemplateLimit:
            raise
        except Exception as error:  # a template is a program: it raises whatever it likes
            raise BadConversation(f"the chat template refuses it: {_reason(error)}") from error

    def _apply(
        self, messages: Sequence[Message], tools: Sequence[Any] | None, *, prompt: bool
    ) -> str:
        random.seed(0)  # whatever a template draws, it draws it at each rendering
        return str(
            self.tokenizer.apply_chat_template(
                list(messages),
                tools=list(tools) if tools else None,
                chat_template=self._template_for(tools),
                tokenize=False,
                add_generation_prompt=prompt,
                **self.chat.arguments,
            )
        )

    def _template_for(self, tools: Sequence[Any] | None) -> str | None:
        """The chosen template's text; None: the tokenizer chooses among its own."""
        template = self.chat.template
        if isinstance(template, dict):
            return template["tool_use" if tools and "tool_use" in template else "default"]
        return template

    def marked(self, messages: Sequence[Message], tools: Sequence[Any] | None) -> list[Range]:
        """What lies between {% generation %} and {% endgeneration %}, in characters."""
        from transformers.utils.chat_template_utils import render_jinja_template

        template = self._template_for(tools) or self.tokenizer.get_chat_template(None, tools)
        if not _GENERATION.search(template):
            return []
        adapted = [self._adapted(message) for message in messages]
        random.seed(0)
        try:
            _, masks = render_jinja_template(
                [adapted],
                tools=list(tools) if tools else None,
                chat_template=template,
                return_assistant_tokens_mask=True,
                **{**self.tokenizer.special_tokens_map, **self.chat.arguments},
            )
        except TemplateLimit:
            raise
        except Exception:  # what it objects to is told by `render`
            return []
        return [(int(begin), int(end)) for begin, end in masks[0]]

    def _adapted(self, message: Message) -> Message:
        """A message as the template takes it, without our own marks."""
        adapted = {k: v for k, v in message.items() if k not in LEARNT and v is not None}
        content = adapted.get("content")
        if isinstance(content, list) and not self.takes_parts:
            adapted["content"] = joined(content)
        elif isinstance(content, str) and not self.takes_text:
            adapted["content"] = [{"type": "text", "text": content}]
        if adapted.get("tool_calls"):
            as_text = self.takes_written_arguments
            adapted["tool_calls"] = [_call(call, as_text=as_text) for call in adapted["tool_calls"]]
        return adapted

    # what the assistant says

    def turn(self, messages: Sequence[Message], tools: Sequence[Any] | None, place: int) -> Turn:
        """The assistant's turn at `place`, as it would be written at inference.

        Raises `BadConversation` where the template refuses it, or writes it otherwise than its own
        generation prompt begins it.
        """
        before, message = messages[:place], messages[place]
        prompt = self.render(before, tools, prompt=True)
        after = self.render(messages[: place + 1], tools, prompt=False)
        if after.startswith(prompt):
            marks = self._new_marks(before, messages[: place + 1], tools, len(prompt), len(after))
            if marks is not None:
                end = max((end for _, end in marks), default=0)
                ranges = () if self._says_nothing(before, message, tools, after) else tuple(marks)
                return Turn(prompt, after[len(prompt) :][:end], ranges)
        base = "" if after.startswith(prompt) else self.render(before, tools, prompt=False)
        response = response_of(message, prompt=prompt, after=after, base=base)
        response = response[: self._end(response, text_of(message).strip())]
        nothing = is_blank(response, self.ends | self.special)
        nothing = nothing or self._says_nothing(before, message, tools, after)
        return Turn(prompt, response, () if nothing else ((0, len(response)),))

    def _says_nothing(
        self, before: Sequence[Message], message: Message, tools: Sequence[Any] | None, after: str
    ) -> bool:
        """Whether a message is empty, or its calls are all it says and `after` has none of them."""
        if not message.get("tool_calls") or not says_nothing(message | {"tool_calls": None}):
            return says_nothing(message)
        bare = {name: value for name, value in message.items() if name != "tool_calls"}
        try:
            return self.render([*before, bare | {"content": ""}], tools, prompt=False) == after
        except BadConversation:
            return False

    def _end(self, response: str, answer: str) -> int:
        """Where a response ends, also of a template that has the next prompt follow at once."""
        end = end_of(response, self.ends, self.marks, self.special)
        if end < len(response) or not self.end_of_turn or response.endswith(self.end_of_turn):
            return end
        at = response.find(self.end_of_turn, max(0, response.find(answer)) + len(answer))
        return at + len(self.end_of_turn) if at >= 0 else end

    def _new_marks(
        self,
        before: Sequence[Message],
        after: Sequence[Message],
        tools: Sequence[Any] | None,
        begin: int,
        end: int,
    ) -> list[Range] | None:
        """The marks that the last message adds, from `begin`; None where marks are of no use."""
        marks = self.marked(after, tools)
        if not marks:
            return None
        new = marks[len(self.marked(before, tools)) :]
        if any(not begin <= low <= high <= end for low, high in new):
            return None  # transformers counts wrongly inside a macro
        return [(low - begin, high - begin) for low, high in new]

    # what the template is like

    def _probe(self) -> None:
        """Find out how the template takes content, and what ends a turn.

        Only a template that cannot be read, does not end, or writes nothing of what the assistant
        says is refused here.
        """
        ask, say = {"role": "user", "content": _WORD}, {"role": ASSISTANT, "content": "b"}
        self.ends: frozenset[str] = frozenset()
        self.breaks: tuple[str, ...] = ()
        try:
            self._apply([ask], None, prompt=True)
        except Exception as error:
            if isinstance(error, TemplateLimit):
                raise
            if type(error).__name__ in ("TemplateSyntaxError", "TemplateAssertionError"):
                line = getattr(error, "lineno", None)
                raise DataError(
                    f"data: the chat template cannot be read (line {line}: {_reason(error)}); mend "
                    "it, or set data.chat_template to another one"
                ) from error
        self._probe_content()
        self._probe_arguments()
        ask = self._adapted(ask)
        try:
            once = self._apply([ask, self._adapted(say)], None, prompt=False)
            second = self._apply([ask, self._adapted(say | {"content": "c"})], None, prompt=False)
            twice = self._apply([ask, self._adapted(say), ask], None, prompt=False)
        except Exception as error:
            if isinstance(error, TemplateLimit):
                raise
            return
        if once == second:
            raise DataError(
                "data: the chat template writes nothing of what the assistant says, so there is "
                "nothing to learn; mend it, or set data.chat_template to another one"
            )
        self.breaks = tuple(mark for mark in self.marks if mark in twice)
        self.closes = bool(once[once.rfind("b") + 1 :].strip())
        alike = common(once, twice)
        for mark in self.breaks:  # which may begin alike: <|end|>, <|user|>
            at = once.find(mark, max(0, alike - len(mark) + 1))
            alike = at if 0 <= at < alike < at + len(mark) else alike
        breaks = [mark for mark in self.breaks if once[:alike].endswith(mark)]
        if breaks and not any(text[alike:].startswith(self.breaks) for text in (once, twice)):
            alike -= len(max(breaks, key=len))  # it opens what follows, a prompt and a question
        closed = once[:alike][: end_of(once[:alike], (), self.marks, self.special, last=True)]
        ends = [mark for mark in self.marks if closed.endswith(mark)]
        if not ends:  # the history writes a turn otherwise than it is written at first
            closed = once[: end_of(once, (), self.marks, self.special)]
            ends = [mark for mark in self.marks if closed.endswith(mark)]
        self.ends = frozenset([max(ends, key=len)] if ends else [])

    def _probe_content(self) -> None:
        parts = [{"type": "text", "text": _WORD}]
        text_shows, _ = self._shows(_WORD)
        parts_show, as_parts = self._shows(parts)
        clean = parts_show and "'type'" not in as_parts and '"type"' not in as_parts
        self.takes_parts = clean
        self.takes_text = text_shows or not clean

    def _shows(self, content: Any) -> tuple[bool, str]:
        try:
            text = self._apply([{"role": "user", "content": content}], None, prompt=True)
        except Exception as error:
            if isinstance(error, TemplateLimit):
                raise
            return False, ""
        return _WORD in text, text

    def _probe_arguments(self) -> None:
        """Whether a call's arguments are taken as text, or as a mapping that becomes text."""
        arguments = f'{{"q": "{_WORD}"}}'
        function = {"name": "f", "arguments": arguments}
        call = {"id": "a00000001", "type": "function", "function": function}
        question = {"role": "user", "content": "a"}
        calls = {"role": ASSISTANT, "content": "", "tool_calls": [call]}
        try:
            text = self._apply([self._adapted(question), self._adapted(calls)], None, prompt=False)
        except Exception as error:
            if isinstance(error, TemplateLimit):
                raise
            text = ""
        self.takes_written_arguments = arguments in text

    @property
    def end_of_turn(self) -> str | None:
        """The token that ends what the assistant says, if there is one."""
        return next(iter(self.ends), None)


def joined(parts: Sequence[dict[str, Any]]) -> str:
    """Parts of text as one; raises `BadConversation` for other parts."""
    for part in parts:
        if part.get("type") != "text":
            raise BadConversation(
                f"has content of type {part.get('type')}, and the chat template takes text"
            )
    return "\n".join(str(part["text"]) for part in parts)


def _call(call: dict[str, Any], *, as_text: bool) -> dict[str, Any]:
    """A tool call with its arguments as JSON, or as what the JSON says."""
    inner = call.get("function")
    if isinstance(inner, dict):
        return {**call, "function": _call(inner, as_text=as_text)}
    arguments = call.get("arguments")
    if as_text and isinstance(arguments, (dict, list)):
        return {**call, "arguments": json.dumps(arguments, ensure_ascii=False)}
    if not as_text and isinstance(arguments, str):
        try:
            value = json.loads(arguments)
        except (ValueError, RecursionError):
            return call
        return {**call, "arguments": value} if isinstance(value, dict) else call
    return call


def _reason(error: BaseException) -> str:
    return brief(str(error) or type(error).__name__)


def _clock(template: ChatTemplate) -> Any:
    class Clock:
        """The part of datetime that templates' strftime_now asks."""

        @staticmethod
        def now(zone: Any = None) -> datetime:
            template.asks_for_date = True
            return template._today

    return Clock


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """Raise `TemplateLimit` in this thread where the block takes longer; loops of Python end so."""
    thread, finished = ctypes.c_ulong(threading.get_ident()), threading.Event()

    def watch() -> None:
        if not finished.wait(seconds):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TemplateLimit))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
