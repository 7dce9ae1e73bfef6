"""Quotation marks that may have been misread: rows swallowed by one, or marks left in place."""

import re
from collections.abc import Mapping, Sequence

from distillkit.data.separated import Row
from distillkit.errors import DataError

_WRAPPED = re.compile(r'"(?:[^"]|"")*"')
FEW = 0.5  # a column with fewer different values than this share of its rows repeats itself


def check_swallowed(
    text: str,
    separator: str,
    spans: Sequence[Row],
    values: Mapping[int, Sequence[str | None]],
    *,
    at: str,
) -> None:
    """Raise `DataError` where a quotation mark seems to have swallowed rows.

    `spans` are rows of several lines, `values` the fields of columns by their place. Texts may
    hold line breaks; but where each line of a row has as many fields as a row, and values in them
    that the columns have elsewhere, they were rows.
    """
    repeating = {
        place: distinct
        for place, column in values.items()
        if len(distinct := set(column)) <= FEW * len(column)
    }
    if not spans or not repeating:
        return
    lines = text.split("\n")
    for row in spans:
        parts = [
            line.removesuffix("\r").split(separator) for line in lines[row.begin - 1 : row.end]
        ]
        if all(
            len(part) >= len(row.fields)
            and any(
                part[place] in distinct or part[place - len(row.fields)] in distinct
                for place, distinct in repeating.items()
            )
            for part in parts
        ):
            raise DataError(
                f"{at}: the quotation mark of line {row.begin} is closed in line {row.end}, and "
                f'each line between looks like a row; write "" for a mark inside a field in '
                "quotation marks, or set data.quoting=none if they are letters"
            )


def wrapped(fields: Sequence[str | None]) -> tuple[int, int]:
    """How many fields stand in quotation marks, and how many of them double those inside."""
    marked = [
        f for f in fields if f and len(f) > 1 and f[0] == f[-1] == '"' and _WRAPPED.fullmatch(f)
    ]
    return len(marked), sum('""' in f[1:-1] for f in marked)
