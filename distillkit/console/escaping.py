"""Foreign text in files for people: in Markdown and in tables of spreadsheets it stays text."""

import re

from distillkit.console.progress import visible

# what Markdown reads as more than text; an underscore at the edge of a word, the end of a link
_MARKDOWN = re.compile(r"[\\`*<|~$]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
_BLOCK = re.compile(r"^(\s*)(#|>|[-+](?=\s|[-+]|$)|=+\s*$)|^(\s*\d+)([.)])(?=\s|$)")


def one_line(text: object) -> str:
    """`visible` text on one line, the ends of its lines written out as well."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def markdown(text: object) -> str:
    """Text as Markdown shows it: on one line, no markup, no HTML, no end of a table's cell."""
    line = " ".join(visible(text).split())
    # an entity, since a table's cell ends at a bar however it is quoted in some readers
    line = _MARKDOWN.sub(lambda match: _ENTITIES.get(match[0], "\\" + match[0]), line)
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
