"""Lines taken apart into rows of fields; a line ends at \\n alone."""

import csv
import io
from collections.abc import Iterator
from typing import NamedTuple

csv.field_size_limit(2**31 - 1)  # a field may be a book
LETTERS = "; if quotation marks are letters in this file, set data.quoting=none"


class Malformed(Exception):
    """A row that cannot be taken apart: its line, and why."""


class Row(NamedTuple):
    """The fields of a row, and the first and last line (from 1) that it stands in."""

    fields: list[str]
    begin: int
    end: int


def split_rows(
    text: str, separator: str, quote: str, *, limit: int = -1, skips_blanks: bool = False
) -> Iterator[Row]:
    """The rows that are not blank; no `quote` ("") leaves quotation marks as they stand.

    Without it, lines are split at the `limit` first separators, -1: at all of them. With it,
    `skips_blanks` passes over those behind a separator, where a mark may follow.

    Raises `Malformed` at a quotation mark that opens and is not closed, or is closed within a
    field.
    """
    if not quote:
        for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
            fields = line.removesuffix("\n").removesuffix("\r").split(separator, limit)
            if any(map(str.strip, fields)):
                yield Row(fields, number, number)
        return
    reader = csv.reader(
        io.StringIO(text, newline="\n"),
        delimiter=separator,
        quotechar=quote,
        strict=True,
        skipinitialspace=skips_blanks,
    )
    begin = 1
    try:
        for fields in reader:
            if any(map(str.strip, fields)):
                yield Row(fields, begin, reader.line_num)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise Malformed(f"line {begin}: {_reason(str(error), separator, quote)}") from error


def _reason(error: str, separator: str, quote: str) -> str:
    if "unexpected end" in error:
        return f"a quotation mark opens here that is not closed{LETTERS}"
    if "expected after" in error:
        return (
            f"a field in {quote} goes on after it is closed; {quote} inside a field is written "
            f"{quote}{quote}{LETTERS}"
        )
    if "new-line character" in error:
        return "a carriage return (\\r) inside a field; put the field in quotation marks"
    return error
