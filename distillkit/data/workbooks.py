"""Tables of Excel workbooks (.xlsx), by openpyxl: the values that cells show last."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

from distillkit import limits
from distillkit.console.wording import brief, listed
from distillkit.data.messages import check_columns
from distillkit.data.text_format import TextFormat
from distillkit.data.written import as_text
from distillkit.errors import DataError

CELLS = 10  # times as much memory as its XML does a sheet take in Python


def read_workbook(
    data: bytes, settings: Mapping[str, str], form: TextFormat, *, at: str, spec: str
) -> tuple[list[str], dict[str, list[str | None]], list[str]]:
    """(all columns, the wanted ones' cells as text, what to say) of the sheet that has them."""
    sheets = {name: rows for name, rows in _sheets(data, at).items() if rows}
    if not sheets:
        raise DataError(f"{at}: the file has no rows")
    tables = {name: _named(rows, form, at) for name, rows in sheets.items()}
    fitting = [name for name, (names, _) in tables.items() if {*settings.values()} <= {*names}]
    if len(fitting) > 1 and settings:
        raise DataError(
            f"{at}: {len(fitting)} of its sheets have the columns ({listed(fitting)}); save the "
            "one that is meant as a file of its own"
        )
    sheet = fitting[0] if fitting else next(iter(tables))
    names, rows = tables[sheet]
    hint = "; if its first row is data, name its columns with data.columns=[…]"
    check_columns(names, settings, spec=spec, hint="" if form.columns else hint)
    twice = next((name for name in settings.values() if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{at}: {names.count(twice)} of its columns are named {twice}; rename them")
    places = {name: names.index(name) for name in settings.values()}
    values = {
        name: [_text(row[place]) if place < len(row) else None for row in rows]
        for name, place in places.items()
    }
    notes = [f"its sheet {sheet} of {len(sheets)}"] if len(sheets) > 1 else []
    return names, values, notes


def _sheets(data: bytes, at: str) -> dict[str, list[tuple[Any, ...]]]:
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise DataError(
            f"{at}: workbooks are read by openpyxl, which is not installed; pip install "
            "'distillkit[xlsx]', or save the sheet as csv"
        ) from error
    try:
        _refuse_size(data, at)
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        return {
            sheet.title: [row for row in sheet.iter_rows(values_only=True) if any_cell(row)]
            for sheet in map(_undimensioned, book.worksheets)
        }
    except (
        InvalidFileException,
        zipfile.BadZipFile,
        zlib.error,
        SyntaxError,  # of its XML
        AttributeError,
        EOFError,
        IndexError,
        KeyError,
        NotImplementedError,
        OSError,
        TypeError,
        ValueError,
    ) as error:  # openpyxl leaves what it meets in a damaged file as it is
        raise DataError(f"{at}: cannot be read as a workbook ({brief(error)})") from error


def _refuse_size(data: bytes, at: str) -> None:
    """Raise `DataError` for a workbook (a zip file) that unpacks to more than may be."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size * CELLS > limits.unpacked():
        words = f"{limits.in_words(size)}, and to {CELLS} times that as cells"
        raise DataError(
            f"{limits.too_large(at, words, minimum=size * CELLS)}, or save the sheet as csv"
        )


def _undimensioned(sheet: Any) -> Any:
    """A sheet whose own word on how many columns it has is not taken: each row has what it has."""
    sheet.reset_dimensions()
    return sheet


def any_cell(row: tuple[Any, ...]) -> bool:
    """Whether something stands in a row."""
    return any(cell is not None and str(cell).strip() for cell in row)


def _named(
    rows: list[tuple[Any, ...]], form: TextFormat, at: str
) -> tuple[list[str], list[tuple[Any, ...]]]:
    first = [("" if cell is None else str(cell).strip()) for cell in rows[0]]
    while first and not first[-1]:
        first.pop()
    if form.columns is None:
        return first, rows[1:]
    if form.header is True or first == [*form.columns]:
        return [*form.columns], rows[1:]
    return [*form.columns], rows


def _text(cell: Any) -> str | None:
    """What a cell holds; a workbook stores numbers alone, so 00501 must be a cell of text there."""
    text: str | None = None if cell == "" else as_text(cell)
    return text
