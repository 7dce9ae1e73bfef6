"""How messages name things: lists that stay short, the nearest names first, others' words cut."""

import difflib
import re
from collections.abc import Iterable

MOST_NAMES, MOST_CHARACTERS = 10, 200
# control characters (an escape sequence begins with one) but tab and newline, what turns the
# direction of writing, line separators, what has no width, halves of characters
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)
# what Markdown reads as more than text; an underscore at the edge of a word, the end of a link
_MARKDOWN = re.compile(r"[\\`*<|~$]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
_BLOCK = re.compile(r"^(\s*)(#|>|[-+](?=\s|[-+]|$)|=+\s*$)|^(\s*\d+)([.)])(?=\s|$)")


def visible(text: object) -> str:
    """Text whose control characters and the like are written out, as `\\x1b`; lines stay lines.

    Whatever a name, a label or a text holds, a terminal shows it and obeys none of it.
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def one_line(text: object) -> str:
    """`visible` text on one line, the ends of its lines written out as well."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def markdown(text: object) -> str:
    """Text as Markdown shows it: on one line, no markup, no HTML, no end of a table's cell."""
    line = " ".join(visible(text).split())
    # an entity, since a table's cell ends at a bar however it is quoted in some readers
    line = _MARKDOWN.sub(lambda found: _ENTITIES.get(found[0], "\\" + found[0]), line)
    return _BLOCK.sub(r"\1\3\\\2\4", line)


_ENTITIES = {"<": "&lt;", "|": "&#124;", "&": "&amp;"}


_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20']")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?%?|[+-]?(inf|nan)")


def csv_cell(value: object) -> object:
    """A value as a cell of a csv file that a spreadsheet shows, and does not compute.

    Text that would begin a formula (`=`, `+`, `-`, `@`, a tab, an end of line) gets an apostrophe
    before it, and so does text that begins with an apostrophe: whoever reads the file takes one
    leading apostrophe away and has the text. Numbers stay as they are.
    """
    if not isinstance(value, str) or not _FORMULA.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def markdown_code(text: object) -> str:
    """Text as a span of code in Markdown, whatever backticks it has."""
    line = " ".join(visible(text).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def brief(text: object, most: int = MOST_CHARACTERS) -> str:
    """Text on one line, its middle left out where it is longer than `most` characters."""
    line = " ".join(str(text).split())
    if len(line) <= most:
        return line
    ending = most // 3
    return f"{line[: most - ending - 3]} … {line[-ending:]}"


def listed(names: Iterable[object], *, most: int = MOST_NAMES, near: str = "") -> str:
    """ "a, b, c … 44 in all": at most so many names, each cut, those like `near` first."""
    every = [brief(name, 60) for name in dict.fromkeys(names)]
    if len(every) <= most:
        return ", ".join(every)
    if near:
        every.sort(key=lambda name: -_likeness(near, name))
    return f"{', '.join(every[:most])} … {len(every):,} in all"


def nearest(word: str, names: Iterable[str], *, how: str = "", always: bool = True) -> str:
    """ "did you mean …?", or the names there are; `how` says what lists them all.

    Unless `always`, it is said only where no name is near.
    """
    every = list(dict.fromkeys(map(str, names)))
    folded = {name.casefold(): name for name in reversed(every)}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f"did you mean {folded[close[0]]}?" + (f" ({how})" if how and always else "")
    return f"it takes {listed(every, near=word)}" + (f" ({how})" if how else "")


def _likeness(word: str, name: str) -> float:
    return difflib.SequenceMatcher(None, word.casefold(), name.casefold()).ratio()
