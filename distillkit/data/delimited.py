"""Tables in text files: a row a line, fields set apart by one character."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from distillkit.errors import DataError

csv.field_size_limit(2**31 - 1)  # a field may be a book


def read_delimited(
    path: Path, wanted: Sequence[str], *, at: str
) -> tuple[list[str], dict[str, list[str | None]]]:
    """(the names of all columns, the wanted ones' fields as they stand in the file).

    An empty field is None. Raises `DataError` for what is no table; `at` begins its message.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{at}: cannot be read ({error.reason} at byte {error.start})") from error
    rows = _rows(text, tab=path.suffix.lower() == ".tsv", at=at)
    _, names = next(rows, (0, []))
    twice = next((name for name in wanted if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{at}: {names.count(twice)} of its columns are named {twice}; rename them")
    places = {name: names.index(name) for name in wanted if name in names}
    values: dict[str, list[str | None]] = {name: [] for name in places}
    for line, row in rows:
        if len(row) > len(names) and any(row[len(names) :]):
            raise DataError(
                f"{at}: cannot be read (line {line} has {len(row)} fields, and the header "
                f"{len(names)})"
            )
        for name, place in places.items():
            values[name].append((row[place] or None) if place < len(row) else None)
    return names, values


def _rows(text: str, *, tab: bool, at: str) -> Iterator[tuple[int, list[str]]]:
    """(the number of the line it ends in, the fields) of each row that is not blank."""
    if tab:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.rstrip("\r"):
                yield number, line.removesuffix("\r").split("\t")
        return
    # at \n alone, \r and all: a field may hold what str.splitlines() takes for an end of line
    lines = re.findall(r"[^\n]*\n|[^\n]+$", text)
    reader = csv.reader(lines, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{at}: cannot be read (line {reader.line_num}: {error})") from error
