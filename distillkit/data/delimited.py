"""Tables in text files: a row a line, fields set apart by one character."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from distillkit.console.wording import brief, listed
from distillkit.data import quotation
from distillkit.data.dialects import SAMPLE, Dialect, settle
from distillkit.data.separated import Malformed, Row
from distillkit.data.text_format import TextFormat
from distillkit.errors import DataError

NAMES = {"\t": "tabs", " ": "blanks", ",": "commas", ";": "semicolons"}
FEWEST = 5  # rows that show what a header is not
NUMBER = re.compile(r"[-+]?[0-9]*[.,]?[0-9]+")
DASHES = re.compile(r":?-+:?")
LONG = 20  # lines of one row that are worth a word
USUAL = {".csv": ",", ".tsv": "\t"}


@dataclass(slots=True)
class Fields:
    """A table of text: the names of all columns, the wanted ones' values, and what to say of it.

    `marks` is what quotation marks are, where the text alone shows it.
    """

    names: list[str]
    values: dict[str, list[str | None]]
    rows: int = 0
    notes: list[str] = field(default_factory=list)
    marks: str = ""


def read_delimited(
    text: str, columns_of: Mapping[str, str], form: TextFormat, *, suffix: str, at: str, spec: str
) -> Fields:
    """The wanted columns (setting -> name) as the text that stands there, None where none does.

    `suffix` says what is usual. Raises `DataError` for what is no such table, with line and reason.
    """
    try:
        dialect = settle(text, columns_of, form, suffix=suffix, at=at, spec=spec)
        _check_is_no_markdown(dialect, at)
        dialect = _with_row_names(dialect)
        if not dialect.has_header and form.header is None:
            _check_is_data(dialect, at)
        places = _places(dialect.names, columns_of, at)
        rows = _gathered(dialect, set(places.values()))
    except Malformed as error:
        raise DataError(f"{at}: cannot be read: {error}") from error
    if rows.wide:
        raise DataError(f"{at}: cannot be read ({_too_wide(rows.wide, dialect, form)}")
    if dialect.quote:
        quotation.check_swallowed(dialect.text, dialect.separator, rows.spans, rows.columns, at=at)
    values = {name: rows.columns[place] for name, place in places.items()}
    fields_read = Fields(dialect.names, values, rows.count)
    if dialect.separator == "\t" and form.quoting is None and '"' in dialect.text:
        fields_read.marks = "no part of them" if dialect.quote else "letters"
    fields_read.notes = _notes(rows, dialect, form, suffix) + _marks_left(values, dialect, form)
    return fields_read


@dataclass(slots=True)
class _Rows:
    """The fields of some `columns` by their place, and what the rows of a table show."""

    columns: dict[int, list[str | None]]
    first: Row | None = None  # below the header
    wide: Row | None = None  # the first with more fields than columns
    spans: list[Row] = field(default_factory=list)  # of several lines
    count: int = 0
    lines: int = 0  # in which rows stand, the header's too
    headers: int = 0  # again below the first one
    short: int = 0  # rows with fewer fields than columns
    first_short: int = 0  # its line


def _gathered(dialect: Dialect, places: Collection[int]) -> _Rows:
    """All rows up to one that has too many fields; raises `Malformed`."""
    width = len(dialect.names)
    fields_read = _Rows({place: [] for place in places})
    header: list[str] | None = None
    for row in dialect.rows():
        fields_read.lines += row.end - row.begin + 1
        fields = row.fields
        if header is None and dialect.has_header:
            header = fields
            continue
        if header and _is_again(header, fields):
            fields_read.headers += 1
            continue
        if len(fields) > width and any(fields[width:]):
            fields_read.wide = row
            break
        if len(fields) < width:
            fields_read.short += 1
            fields_read.first_short = fields_read.first_short or row.begin
        if row.end > row.begin:
            fields_read.spans.append(row)
        fields_read.first = fields_read.first or row
        fields_read.count += 1
        for place, column in fields_read.columns.items():
            column.append((fields[place] or None) if place < len(fields) else None)
    return fields_read


def _is_again(header: list[str], fields: list[str]) -> bool:
    """Whether a row is the header once more, as where files were joined."""
    return len(fields) > 1 and fields == header


def _with_row_names(dialect: Dialect) -> Dialect:
    """The dialect with a first column without a name where rows begin with their numbers (R's)."""
    rows = list(islice(dialect.rows(), 1, SAMPLE))
    is_numbered = dialect.has_header and all(
        len(row.fields) == len(dialect.names) + 1 and row.fields[0].strip() == str(number)
        for number, row in enumerate(rows, start=1)
    )
    return replace(dialect, names=["", *dialect.names]) if rows and is_numbered else dialect


def _check_is_no_markdown(dialect: Dialect, at: str) -> None:
    """Raise `DataError` for a table of Markdown: a line of dashes stands below its header."""
    second = next((row.fields for row in islice(dialect.rows(), 1, 2)), [])
    cells = [field.strip() for field in second if field.strip()]
    if dialect.separator == "|" and cells and all(DASHES.fullmatch(cell) for cell in cells):
        raise DataError(
            f"{at}: it is a Markdown table (a line of dashes stands below its header), not a table "
            "of text; save it as csv, without that line and with commas between the fields"
        )


def _check_is_data(dialect: Dialect, at: str) -> None:
    """Raise `DataError` where the first row looks like a header of other names than the config's.

    It does where it is words over numbers, or where a label that comes once stands over labels
    that come again, beside one word over texts.
    """
    first, *later = [row.fields for row in islice(dialect.rows(), SAMPLE)] or [[]]
    if len(later) < FEWEST or any(len(name.split()) > 3 for name in first):
        return
    columns = [[row[i] for row in later if i < len(row)] for i in range(len(first))]
    over_numbers = over_labels = over_texts = False
    for name, column in zip(first, columns, strict=True):
        numbers = sum(bool(NUMBER.fullmatch(value.strip())) for value in column)
        over_numbers |= (
            bool(column) and numbers == len(column) and not NUMBER.fullmatch(name.strip())
        )
        over_labels |= name not in column and len(set(column)) <= len(column) / 2
        over_texts |= sum(len(value.split()) for value in column) > 3 * len(column)
    if over_numbers or (over_labels and over_texts):
        raise DataError(
            f"{at}: its first row ({listed(first, limit=3)}) looks like a header, and data.columns "
            "has other names; set data.header=true if it is one, false if it is data"
        )


def _places(names: Sequence[str], columns_of: Mapping[str, str], at: str) -> dict[str, int]:
    twice = next((name for name in columns_of.values() if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{at}: {names.count(twice)} of its columns are named {brief(twice, 60)}; rename them"
        )
    return {name: names.index(name) for name in columns_of.values()}


def _too_wide(row: Row, dialect: Dialect, form: TextFormat) -> str:
    """What is wrong with a row of more fields than there are columns: which is which?"""
    width = len(dialect.names)
    of = "the header" if dialect.has_header else "data.columns"
    marked = any(f.startswith('"') for f in row.fields)
    if marked and not dialect.quote:
        advice = "; if its fields stand in quotation marks, set data.quoting=double"
    elif marked or form.separator is not None or width > 1:
        marks = "a field that holds the separator stands in quotation marks, or "
        advice = f"; {marks if dialect.quote else ''}name every column with data.columns=[…]"
    else:
        advice = (
            "; a field that holds the separator stands in quotation marks (a file of a text a line "
            "is a .txt)"
        )
    return (
        f"line {row.begin} has {len(row.fields)} fields between {_name(dialect.separator)}, and "
        f"{of} {width}){advice}"
    )


def _notes(rows: _Rows, dialect: Dialect, form: TextFormat, suffix: str) -> list[str]:
    """What was found that the config does not say."""
    notes = []
    several = len(dialect.names) > 1
    if several and form.separator is None and dialect.separator != USUAL.get(suffix):
        notes.append(f"{_name(dialect.separator)} between fields")
    if dialect.separator == "\t" and form.quoting is None and '"' in dialect.text:
        if dialect.quote:
            notes.append("fields in quotation marks")
        elif suffix != ".tsv":
            notes.append("quotation marks that are letters")
    if form.columns is not None and form.header is None:
        first = listed((rows.first.fields if rows.first else []), limit=3)
        notes.append(
            "a header of the names in data.columns"
            if dialect.has_header
            else f"no header row (its first row: {first})"
        )
    if rows.headers:
        notes.append(f"its header {rows.headers:,} times more, left out")
    if rows.short:
        notes.append(f"{rows.short:,} rows without their last fields (line {rows.first_short})")
    lines = dialect.text.rstrip("\r\n").count("\n") + 1
    if lines > rows.lines:
        notes.append(f"{lines - rows.lines:,} blank lines")
    longest = max(rows.spans, key=lambda row: row.end - row.begin, default=None)
    if longest and longest.end - longest.begin >= max(LONG, lines / 10):
        notes.append(f"one row from line {longest.begin} to {longest.end}")
    return notes


def _marks_left(
    values: Mapping[str, Sequence[str | None]], dialect: Dialect, form: TextFormat
) -> list[str]:
    """Fields that may have been written in quotation marks, where these are read as letters."""
    if dialect.quote or form.quoting is not None:
        return []
    for name, column in values.items():
        marked, doubled = quotation.wrapped(column)
        if doubled or marked > len(column) / 2:
            return [
                f"{marked:,} fields of {brief(name, 60)} stand in quotation marks, which are kept "
                "(data.quoting=double takes them off)"
            ]
    return []


def _name(separator: str) -> str:
    return NAMES.get(separator, repr(separator))
