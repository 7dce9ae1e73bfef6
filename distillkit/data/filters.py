"""Which rows of a table a `where` keeps: values are compared as what they are, and as written."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from distillkit.console.wording import brief, listed
from distillkit.data.messages import check_columns
from distillkit.data.sources import Spec, spec_text
from distillkit.data.tables import Table
from distillkit.data.written import as_text, is_missing, json_text
from distillkit.errors import DataError

_PADDED = re.compile(r"\s*[+-]?0[0-9]")
Matches = Callable[[Any], bool]


def keep_rows(table: Table, where: Mapping[str, Any] | None, *, key: str, spec: Spec) -> Table:
    """The rows whose columns have the values (or one of the values) that `where` names."""
    return table.select(matching_rows(table, where, key=key, spec=spec)) if where else table


def matching_rows(
    table: Table, where: Mapping[str, Any] | None, *, key: str, spec: Spec
) -> Sequence[int]:
    """The numbers of the rows whose columns have the values (or one of them) of `where`."""
    rows_left: Sequence[int] = range(len(table))
    check_columns(
        table.values, {f"{key}.{name}": name for name in where or {}}, spec=spec_text(spec)
    )
    for name, value in (where or {}).items():
        column = table[name]
        tests = [_matches(item) for item in (value if isinstance(value, list) else [value])]
        matches = [i for i in rows_left if any(test(column[i]) for test in tests)]
        if not matches:
            values_seen = listed(sorted({str(column[i]) for i in rows_left}))
            raise DataError(
                f"{key}.{name} = {brief(value)}: no row of {spec_text(spec)} has it; it holds "
                f"{values_seen}"
            )
        rows_left = matches
    return rows_left


def rows_where(table: Table, where: Mapping[str, Any] | None) -> Sequence[int]:
    """The numbers of a table's rows that have the values of `where`; there may be none."""
    rows_left: Sequence[int] = range(len(table))
    for name, value in (where or {}).items():
        column = table[name]
        tests = [_matches(item) for item in (value if isinstance(value, list) else [value])]
        rows_left = [i for i in rows_left if any(test(column[i]) for test in tests)]
    return rows_left


def _matches(condition: Any) -> Matches:
    """Whether a value is the wanted one.

    YAML reads 1999 as a number and true as a truth, and a csv neither: text that spells the same
    number (1.50 of 1.5, but 01 is not 1) or the same truth (TRUE) counts as well.
    """
    if condition is None:
        return is_missing
    if isinstance(condition, (list, dict)):
        return lambda value: bool(value == condition)
    if isinstance(condition, bool):
        word = str(condition).casefold()
        return lambda value: (
            bool(value == condition)
            or (isinstance(value, str) and value.strip().casefold() == word)
        )
    spelt = {str(condition), json_text(condition)}
    number = _number(str(condition)) if isinstance(condition, (int, float)) else None
    narrow = {float(kind(condition)) for kind in (np.float32, np.float16)} if number else set()

    def matches(value: Any) -> bool:
        if value is None or isinstance(value, (list, dict)):
            return False
        if _text(value) in spelt or value == condition:
            return True
        if number is None or isinstance(value, bool):
            return False
        return _number(_text(value)) == number or (isinstance(value, float) and value in narrow)

    return matches


def _text(value: Any) -> Any:
    """A value as written; a day alone where a time says no more."""
    if isinstance(value, datetime) and value.time() == time() and value.tzinfo is None:
        return value.date().isoformat()
    return as_text(value)


def _number(text: Any) -> Decimal | None:
    """What a text spells; None for what is no number, or is written with zeros before it."""
    if not isinstance(text, str) or _PADDED.match(text):
        return None
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
