"""Tables in text files: a row a line, fields set apart by one character."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from distillkit.data import quotation
from distillkit.data.dialects import Dialect, settle
from distillkit.data.separated import Malformed, Row
from distillkit.data.text_format import TextFormat
from distillkit.errors import DataError
from distillkit.wording import brief, listed

NAMES = {"\t": "tabs", " ": "blanks", ",": "commas", ";": "semicolons"}
LONG = 20  # lines of one row that are worth a word
USUAL = {".csv": ",", ".tsv": "\t"}


@dataclass(slots=True)
class Fields:
    """A table of text: the names of all columns, the wanted ones' values, and what to say of it."""

    names: list[str]
    values: dict[str, list[str | None]]
    rows: int = 0
    notes: list[str] = field(default_factory=list)


def read_delimited(
    text: str, wanted: Mapping[str, str], form: TextFormat, *, suffix: str, at: str, spec: str
) -> Fields:
    """The wanted columns (setting -> name) as the text that stands there, None where none does.

    `suffix` says what is usual. Raises `DataError` for what is no such table, with line and reason.
    """
    try:
        dialect = settle(text, wanted, form, suffix=suffix, at=at, spec=spec)
        every = list(dialect.rows())
    except Malformed as error:
        raise DataError(f"{at}: cannot be read: {error}") from error
    rows = every[dialect.has_header :]
    if _is_numbered(rows, len(dialect.names)):
        dialect = replace(dialect, names=["", *dialect.names])
    _check_widths(rows, dialect, form, at)
    places = _places(dialect.names, wanted, at)
    columns: dict[int, list[str]] = {
        place: [row.fields[place] if place < len(row.fields) else "" for row in rows]
        for place in places.values()
    }
    if dialect.quote:
        spans = [row for row in rows if row.end > row.begin]
        quotation.check_swallowed(dialect.text, dialect.separator, spans, columns, at=at)
    values = {name: [f or None for f in columns[place]] for name, place in places.items()}
    found = Fields(dialect.names, values, len(rows))
    found.notes = _notes(every, dialect, form, suffix) + _marks_left(values, dialect, form)
    return found


def _is_numbered(rows: Sequence[Row], width: int) -> bool:
    """Whether the rows begin with their numbers, for which the header has no name (R's tables)."""
    return bool(rows) and all(
        len(row.fields) == width + 1 and row.fields[0].strip() == str(number)
        for number, row in enumerate(rows, start=1)
    )


def _places(names: Sequence[str], wanted: Mapping[str, str], at: str) -> dict[str, int]:
    twice = next((name for name in wanted.values() if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{at}: {names.count(twice)} of its columns are named {brief(twice, 60)}; rename them"
        )
    return {name: names.index(name) for name in wanted.values()}


def _check_widths(rows: Sequence[Row], dialect: Dialect, form: TextFormat, at: str) -> None:
    """Raise `DataError` for a row of more fields than there are columns: which is which?"""
    width = len(dialect.names)
    row = next((row for row in rows if any(row.fields[width:])), None)
    if row is None:
        return
    of = "the header" if dialect.has_header else "data.columns"
    marked = any(f.startswith('"') for f in row.fields)
    if marked and not dialect.quote:
        advice = "; if its fields stand in quotation marks, set data.quoting=double"
    elif marked or form.separator is not None or width > 1:
        marks = "a field that holds the separator stands in quotation marks, or "
        advice = f"; {marks if dialect.quote else ''}name every column with data.columns=[…]"
    else:
        advice = "; if no such character sets fields apart, set data.separator to one that does"
    raise DataError(
        f"{at}: cannot be read (line {row.begin} has {len(row.fields)} fields between "
        f"{_name(dialect.separator)}, and {of} {width}){advice}"
    )


def _notes(every: Sequence[Row], dialect: Dialect, form: TextFormat, suffix: str) -> list[str]:
    """What was found that the config does not say."""
    notes = []
    rows = every[dialect.has_header :]
    if form.separator is None and dialect.separator != USUAL.get(suffix):
        notes.append(f"{_name(dialect.separator)} between fields")
    if dialect.separator == "\t" and form.quoting is None and '"' in dialect.text:
        if dialect.quote:
            notes.append("fields in quotation marks")
        elif suffix != ".tsv":
            notes.append("quotation marks that are letters")
    if form.columns is not None and form.header is None:
        first = listed((rows[0].fields if rows else []), most=3)
        notes.append(
            "a header of the names in data.columns"
            if dialect.has_header
            else f"no header row (its first row: {first})"
        )
    short = [row for row in rows if len(row.fields) < len(dialect.names)]
    if short:
        notes.append(f"{len(short):,} rows lack fields at their end (first line {short[0].begin})")
    lines = dialect.text.rstrip("\r\n").count("\n") + 1
    blank = lines - sum(row.end - row.begin + 1 for row in every)
    if blank > 0:
        notes.append(f"{blank:,} blank lines")
    longest = max(rows, key=lambda row: row.end - row.begin, default=None)
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
