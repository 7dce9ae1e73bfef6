"""Texts of .txt files: what blank lines set apart, the whole file, or a text a line."""

import re
from collections.abc import Mapping
from typing import Literal

from distillkit.data.dialects import OTHERS, first_row
from distillkit.data.separated import Malformed, split_rows
from distillkit.data.text_format import TextFormat

Unit = Literal["paragraph", "file", "line", "row"]  # row: a line, or a table's row


def texts_of(text: str, unit: Unit) -> list[str]:
    """The texts of a file, none of them empty. Lines end at \\n, or \\r\\n."""
    plain = text.replace("\r\n", "\n") if "\n" in text else text.replace("\r", "\n")
    if unit in ("line", "row"):
        parts = plain.split("\n")
    elif unit == "paragraph":
        parts = re.split(r"(?:\A|\n)(?:[ \t]*\n)+", plain)
    else:
        parts = [plain]
    return [stripped for part in parts if (stripped := part.strip("\n").rstrip()) and part.strip()]


def is_table(text: str, unit: Unit, settings: Mapping[str, str], form: TextFormat) -> bool:
    """Whether a text of rows is a table: its first line names the column, or settings say so."""
    if unit != "row":
        return False
    names = {*settings.values()}
    firsts = [first_row(text, separator, form) for separator in form.separator or OTHERS]
    if form.separator and form.columns:
        return any(len(first) == len(form.columns) for first in firsts)
    return any(
        names <= {*first}
        and all(len(name.split()) < 2 for name in first)
        and (len(first) == 1 or _has_width(text, separator, len(first)))
        for first, separator in zip(firsts, form.separator or OTHERS, strict=True)
    )


def _has_width(text: str, separator: str, count: int) -> bool:
    """Whether each row has so many fields: lines of running text differ."""
    try:
        return all(len(row.fields) == count for row in split_rows(text, separator, '"'))
    except Malformed:
        return all(len(row.fields) == count for row in split_rows(text, separator, ""))
