"""How a table of text is written, where the config leaves it open: by what its columns show.

A separator is taken if it finds the columns that the config names, or gives every row the fields
that `data.columns` names; frequencies decide nothing, so neither short files nor texts full of
semicolons are misread.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from distillkit.data.messages import SHOWN, check_columns
from distillkit.data.quotation import wrapped
from distillkit.data.separated import Malformed, Row, split_rows
from distillkit.data.text_format import MARKS, TextFormat
from distillkit.errors import DataError

SEPARATORS = {".csv": ",;\t|", ".tsv": "\t,;|"}  # by the ending; the usual one first
OTHERS = "\t,;|"
SAMPLE = 200  # rows that show how a file without header is written
_EXCEL = re.compile(r'"?sep=(.)"?\r?\n')
_OLD_END = re.compile(r"\r(?!\n)")


@dataclass(frozen=True, slots=True)
class Dialect:
    """`text` less what is no row of it, its separator and quotation mark, and its columns."""

    text: str
    separator: str
    quote: str  # "": quotation marks are letters
    names: list[str]
    has_header: bool
    skips_blanks: bool = False  # between a separator and the mark that a field stands in

    def rows(self) -> Iterator[Row]:
        """All rows, the header's too; raises `Malformed`."""
        # among blanks the last column is the rest of the line: "LABEL a text of words"
        limit = len(self.names) - 1 if self.separator == " " else -1
        skips = self.skips_blanks and bool(self.quote)
        return split_rows(self.text, self.separator, self.quote, limit=limit, skips_blanks=skips)


def settle(
    text: str, columns_of: Mapping[str, str], form: TextFormat, *, suffix: str, at: str, spec: str
) -> Dialect:
    """The dialect of a text in which the `columns_of` columns (setting -> name) stand.

    Raises `DataError` that names the setting where the text does not show it.
    """
    if _ends_as_old_macs(text, form):
        text = _OLD_END.sub("\n", text)
    separators = SEPARATORS.get(suffix, OTHERS)
    match = _EXCEL.match(text)
    if match:
        text, separators = text[match.end() :], match[1]
    choices = [*(form.separator or separators)]
    if form.columns is None:
        separator = _by_header(text, choices, set(columns_of.values()), form)
        names = first_row(text, separator, form)
        if not names:
            raise DataError(f"{at}: the file has no rows")
        if not {*columns_of.values()} <= {*names}:
            hint = _hint(text, separator, columns_of, form)
            check_columns(names, columns_of, spec=spec, hint=hint)
        has_header = True
    else:
        names = list(form.columns)
        check_columns(names, columns_of, spec="data.columns")
        separator = _by_count(text, choices, form, at)
        has_header = _has_header(_sample(text, separator, form, 2), form, at)
    quote = _quote(text, separator, form, suffix, names, at)
    skips = bool(quote) and form.columns is None and _skips_blanks(text, separator, quote)
    return Dialect(text, separator, quote, names, has_header, skips)


def _ends_as_old_macs(text: str, form: TextFormat) -> bool:
    r"""Whether lines end at \r alone. Then \n may stand in fields in quotation marks.

    A header has no line breaks, so it shows which of the two ends it.
    """
    first = text.find("\n")
    if first < 0:
        return "\r" in text
    if form.columns is not None or not _OLD_END.search(text, 0, first + 1):
        return False
    return len(_OLD_END.findall(text)) > text.count("\n")


def first_row(text: str, separator: str, form: TextFormat) -> list[str]:
    """The fields of the first row, without the blanks around them."""
    marks = [MARKS[form.quoting]] if form.quoting else ['"', ""]
    for quote in marks:
        try:
            skips = bool(quote) and _skips_blanks(text, separator, quote)
            row = next(split_rows(text, separator, quote, skips_blanks=skips), None)
        except Malformed:
            continue
        return [name.strip() for name in row.fields] if row else []
    return []


def _skips_blanks(text: str, separator: str, quote: str) -> bool:
    """Whether names in the first row stand in marks behind a blank, as in "text", "label"."""
    row = next(split_rows(text, separator, quote), None)
    pattern = rf"\s+{quote}[^{quote}]+{quote}\s*"
    return row is not None and any(re.fullmatch(pattern, name) for name in row.fields)


def _by_header(text: str, choices: list[str], columns_of: Collection[str], form: TextFormat) -> str:
    """The separator that finds the wanted columns in the first row; else one that finds several."""
    headers = {choice: first_row(text, choice, form) for choice in choices}
    for choice, names in headers.items():
        if columns_of and set(columns_of) <= {*names}:
            return choice
    return next((c for c, names in headers.items() if len(names) > 1), choices[0])


def _by_count(text: str, choices: list[str], form: TextFormat, at: str) -> str:
    """The separator that gives every row as many fields as there are names.

    Rows may lack their last fields, unless one separator gives all rows all of them.
    """
    assert form.columns is not None
    if len(choices) == 1 or len(form.columns) == 1:
        return choices[0]
    count = len(form.columns)
    widths = {c: {len(row.fields) for row in _sample(text, c, form)} for c in choices}
    exact = [choice for choice in choices if widths[choice] == {count}]
    loose = [c for c in choices if widths[c] and all(1 < width <= count for width in widths[c])]
    fitting = exact or [c for c in loose if _widest(text, c, form) == count]
    if len(fitting) != 1:
        why = "several separators do" if fitting else "no separator does"
        raise DataError(
            f"{at}: its rows should have the {count} fields that data.columns names, and {why}; "
            "set data.separator, or name every column of the file in data.columns"
        )
    return fitting[0]


def _sample(text: str, separator: str, form: TextFormat, count: int | None = SAMPLE) -> list[Row]:
    """The first rows; none of a text that is malformed."""
    for quote in [MARKS[form.quoting]] if form.quoting else ['"', ""]:
        try:
            return list(islice(split_rows(text, separator, quote), count))
        except Malformed:
            continue
    return []


def _widest(text: str, separator: str, form: TextFormat) -> int:
    """The most fields that any row of the whole text has."""
    return max((len(row.fields) for row in _sample(text, separator, form, None)), default=0)


def _has_header(rows: list[Row], form: TextFormat, at: str) -> bool:
    """Whether the first row is a header, where `data.columns` gives the names.

    It may lack the name of the first column, if the next row has all of them (R's row names).
    """
    assert form.columns is not None
    widths = [len(row.fields) for row in rows]
    first = [name.strip() for name in rows[0].fields] if rows else []
    count = len(form.columns)
    if form.header is True and len(first) != count and widths[1:] != [count]:
        raise DataError(
            f"{at}: data.columns gives {len(form.columns)} names, and the header has {len(first)}"
        )
    return form.header is True or (form.header is None and first == [*form.columns])


def _quote(
    text: str, separator: str, form: TextFormat, suffix: str, names: list[str], at: str
) -> str:
    """The mark that fields may stand in. Between tabs: only where all that begins with it fits.

    Raises `DataError` where some fields between tabs were written in marks, and others cannot be.
    """
    if form.quoting is not None:
        return MARKS[form.quoting]
    if separator == " ":
        return ""
    if separator != "\t":
        return '"'
    if '"' not in text or (suffix == ".tsv" and not _is_wrapped(text)):
        return ""
    plain = [row.fields for row in split_rows(text, separator, "")]
    try:
        quoted = list(split_rows(text, separator, '"'))
    except Malformed:
        quoted = []
    fits = bool(quoted) and all(len(row.fields) == len(names) for row in quoted)
    several_lines = any(row.end > row.begin for row in quoted)
    if fits and not (several_lines and {*map(len, plain)} == {len(names)}):
        return '"'
    doubled = sum(wrapped(fields)[1] for fields in plain)
    if doubled and suffix != ".tsv":
        raise DataError(
            f"{at}: {doubled:,} fields seem to be written in quotation marks, and others cannot be;"
            " set data.quoting to double, or to none where the marks are letters"
        )
    return ""


def _is_wrapped(text: str) -> bool:
    """Whether each field of the first row stands in quotation marks, as R writes a header."""
    row = next(split_rows(text, "\t", ""), None)
    return row is not None and all(re.fullmatch(r'"[^"]+"', name) for name in row.fields)


def _hint(text: str, separator: str, columns_of: Mapping[str, str], form: TextFormat) -> str:
    """What may be wrong where the first row has not the wanted names."""
    rows = _sample(text, separator, form)
    first, later = rows[0].fields, rows[1:]
    if len(first) == 1 and form.separator is None and len(columns_of) > 1:
        return "; if a character stands between its fields, set data.separator to it"
    marked = next(
        (name.strip()[0] for name in first if re.fullmatch(r"([\"']).*\1", name.strip())), ""
    )
    if marked:
        return "; if its fields stand in quotation marks, set data.quoting=" + (
            "double" if marked == '"' else "single"
        )
    if form.header is True or not _is_data(first, later):
        return ""
    advice = "; if its first row is data, name its columns: data.columns="
    if len(first) > SHOWN:
        return f"{advice}[…], {len(first):,} names"
    return f"{advice}[{','.join(_guessed(rows, columns_of))}]"


def _is_data(first: list[str], later: list[Row]) -> bool:
    """Whether a first row looks like those below it: a value of it comes again, or is a text."""
    again = any(
        value and any(place < len(row.fields) and row.fields[place] == value for row in later)
        for place, value in enumerate(first)
    )
    return (
        again
        or any(len(name.split()) > 3 or not name.strip() for name in first)
        or any(re.fullmatch(r"[-+.,\d]+", name.strip()) for name in first)
    )


def _guessed(rows: list[Row], columns_of: Mapping[str, str]) -> list[str]:
    """Names for the columns of a file without header: the longest fields are text."""
    count = len(rows[0].fields)
    columns = [[row.fields[i] for row in rows if i < len(row.fields)] for i in range(count)]
    lengths = [sum(map(len, column)) for column in columns]
    by_length = sorted(range(count), key=lambda i: -lengths[i])
    names = [f"column{i + 1}" for i in range(count)]
    unset = [name for setting, name in columns_of.items() if setting != "data.label"]
    for place, name in zip(by_length, unset, strict=False):
        names[place] = name
    label = columns_of.get("data.label")
    free = [i for i in range(count) if names[i] == f"column{i + 1}"]
    if label and free:
        names[min(free, key=lambda i: (len(set(columns[i])) == 1, len(set(columns[i]))))] = label
    return names
