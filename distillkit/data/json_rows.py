"""Rows of JSON files: an object a line, or one array of objects."""

import json
from collections.abc import Iterator
from typing import Any

from distillkit.data.written import parse_json
from distillkit.errors import DataError


def json_rows(text: str, *, at: str) -> Iterator[dict[str, Any]]:
    """The objects of JSON text; raises `DataError` for what is none, with its line."""
    try:
        yield from _array(text, at) if text.lstrip().startswith("[") else _lines(text, at)
    except RecursionError as error:
        raise DataError(f"{at}: cannot be read (nested too deeply)") from error


def _array(text: str, at: str) -> Iterator[dict[str, Any]]:
    try:
        rows = parse_json(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{at}: cannot be read ({error})") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{at}: cannot be read (item {number} is no object of named values)")
        yield row


def _lines(text: str, at: str) -> Iterator[dict[str, Any]]:
    # at \n alone: a text may hold U+2028 or U+0085
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{at}: cannot be read (line {number}, column {error.colno}: {error.msg})"
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{at}: cannot be read (line {number} is no object of named values)")
        yield row
