"""What a model would write for an assistant's turn: text on text, whatever the template does to it.

A template writes a turn twice: as the prompt that the model goes on from, and as the history that
the next prompt holds. Most only append; some cut thoughts out of the history, or open a thought in
the prompt, and then the response is put together from both.
"""

import re
from collections.abc import Collection

from distillkit.chat.conversation import BadConversation, Message

THOUGHTS = ("reasoning_content", "thinking", "reasoning")
_THOUGHT = re.compile(
    r"(?:<[^\w/]?[\w:▁-]*(?:think|thought|reason)\w*[^\w/]?>|\[THINK\w*\])\s*\Z",
    re.IGNORECASE,
)
_CLOSED = re.compile(
    r"</(think\w*|thought|reasoning)>|\[/THINK\w*\]|<\|END_THINKING\|>", re.IGNORECASE
)


def common(first: str, second: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[:middle] == second[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def end_of(
    text: str,
    ends: Collection[str],
    marks: Collection[str],
    special: Collection[str],
    *,
    last: bool = False,
) -> int:
    """Where a response ends: behind the token that ends it; the template's blanks come after.

    Among the added tokens (`marks`) that the text closes with it is one of `ends`, or else the
    first `special` one (with `last` the last mark). Without any the whole text is the response.
    """
    closing = _closing(text, marks)
    if not closing:
        return len(text)
    if last:
        return closing[-1][0]
    for kind in (ends, special):
        position = next((end for end, mark in closing if mark in kind), None)
        if position is not None:
            return position
    return len(text)


def is_blank(text: str, marks: Collection[str]) -> bool:
    """Whether a response is nothing but blanks and what ends it."""
    closing = _closing(text, marks)
    begin = closing[0][0] - len(closing[0][1]) if closing else len(text)
    return not text[:begin].strip()


def _closing(text: str, marks: Collection[str]) -> list[tuple[int, str]]:
    """(where it ends, which) of the added tokens that a text closes with, blanks between them."""
    closings: list[tuple[int, str]] = []
    at = len(text.rstrip())
    longest = max(map(len, marks), default=0)
    while at:
        begin = next((b for b in range(max(0, at - longest), at) if text[b:at] in marks), None)
        if begin is None:
            break
        closings.insert(0, (at, text[begin:at]))
        at = len(text[:begin].rstrip())
    return closings


def response_of(message: Message, *, prompt: str, after: str, base: str) -> str:
    """What the model writes after `prompt` to say a message, with what closes it.

    `after` is the history with the message, `base` without it and without a generation prompt.
    Raises `BadConversation` where the template writes the message otherwise than its prompt begins.
    """
    if after.startswith(prompt):
        suffix = after[len(prompt) :]
        return suffix if _is_answering(prompt) else _with_thoughts(message, suffix, opened="")
    opened, suffix = _parted(message, prompt, after, base)
    return _with_thoughts(message, suffix, opened=opened)


def says_nothing(message: Message) -> bool:
    """Whether a message has no text, no call and no thought, whatever a template makes of it."""
    fields = ("tool_calls", *THOUGHTS)
    return not text_of(message).strip() and not any(message.get(name) for name in fields)


def text_of(message: Message) -> str:
    """A message's text, its parts joined."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if part.get("type") == "text")
    return str(content or "")


def _parted(message: Message, prompt: str, after: str, base: str) -> tuple[str, str]:
    """(what the prompt opens and the history does not hold, the turn in the history after that)."""
    if prompt.startswith(base) and after.startswith(base):
        header, turn = prompt[len(base) :], after[len(base) :]
        blanks = len(turn) - len(turn.lstrip())
        if header.strip() and blanks and turn.startswith(header, blanks):
            return "", turn[blanks + len(header) :]  # two answers in a row, with a line between
        alike = common(header, turn)
        thought = _THOUGHT.search(header)
        if thought:
            alike = min(alike, thought.start())
        return header[alike:], turn[alike:]
    # the history was rewritten from further up: the turn is found by what it says
    answer = _after_thoughts(text_of(message)).strip()
    at = after.rfind(answer) if answer else -1
    if at < 0:
        raise BadConversation(
            "the chat template writes what the assistant says otherwise than its own generation "
            "prompt begins it"
        )
    begin = len(after[:at].rstrip())
    header = prompt[common(prompt, base) :]
    length = next(
        n for n in range(len(header), -1, -1) if after[:begin].endswith(header[:n].rstrip())
    )
    above = after.rfind(header, 0, begin)
    if not length and header.strip() and above >= 0:
        suffix = after[above + len(header) :]
        if not _after_thoughts(suffix[: begin - above - len(header)]).strip():
            return "", suffix  # a thought stands between the two
    opened, suffix = header[len(header[:length].rstrip()) :], after[begin:]
    alike = common(opened or prompt[len(prompt.rstrip()) :], suffix)
    return opened[alike:] if opened else "", suffix[alike:]


def _is_answering(prompt: str) -> bool:
    """Whether a prompt ends in a thought that was closed: it is to answer without one."""
    closed = list(_CLOSED.finditer(prompt))
    return bool(closed) and not prompt[closed[-1].end() :].strip()


def _after_thoughts(text: str) -> str:
    closed = list(_CLOSED.finditer(text))
    return text[closed[-1].end() :] if closed else text


def _with_thoughts(message: Message, suffix: str, *, opened: str) -> str:
    """The turn with the thoughts that the template takes out of its history."""
    content = text_of(message)
    answer = _after_thoughts(content).strip()
    if not opened.strip():
        match = _CLOSED.search(content)
        inner = content[: match.start()] if match else ""
        thoughts = re.sub(r"^\s*[<\[][^<>\[\]]*[>\]]", "", inner).strip()
        if not thoughts or thoughts in suffix:
            return suffix
        return _closed(content, answer, suffix)
    thought = _THOUGHT.search(opened)
    if thought is None:
        if _CLOSED.search(opened):  # opened and closed again: it is to answer without a thought
            suffix = _after_thoughts(suffix)
            return suffix.lstrip("\n") if opened.endswith("\n") else suffix
        raise BadConversation(
            f"the chat template's generation prompt ends in {opened.strip()!r}, which it writes "
            "before no answer"
        )
    return _closed(_from_opening(message, content, thought[0]), answer, suffix)


def _from_opening(message: Message, content: str, opening: str) -> str:
    """What is written after a thought was opened: thoughts, the end of them, the answer."""
    tag, blank = opening.rstrip(), opening[len(opening.rstrip()) :]
    closing = _closing_tag(tag)
    if closing in content:
        body = content.lstrip()
        body = body[len(tag) :] if body.startswith(tag) else body
        return body.lstrip("\n") if blank else body
    thoughts = next((str(message[name]) for name in THOUGHTS if message.get(name)), "").strip("\n")
    if not blank:  # such templates write <think>…</think> and the answer right behind
        return f"{thoughts}{closing}{content}"
    return f"{thoughts}\n{closing}\n\n{content.lstrip(chr(10))}"


def _closing_tag(tag: str) -> str:
    if tag.startswith("["):
        return f"[/{tag[1:]}"
    for begin, end in (("START", "END"), ("start", "end"), ("begin", "end"), ("BEGIN", "END")):
        if begin in tag:
            return tag.replace(begin, end)
    return f"</{tag[1:]}"


def _closed(body: str, answer: str, suffix: str) -> str:
    """A body up to its answer, and what the template closes the turn with."""
    at = suffix.rfind(answer) if answer else 0
    if at < 0:
        raise BadConversation("the chat template leaves out a part of what the assistant says")
    position = body.rfind(answer) if answer else len(body)
    return body[: position + len(answer)] + suffix[at + len(answer) :]
