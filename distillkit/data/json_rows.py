"""Rows of JSON files: an object a line, or one array of objects."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from distillkit.console.wording import brief
from distillkit.data.written import HALF, WrittenFloat, parse_json, whole_characters
from distillkit.errors import DataError

LISTS = ("data.tokens", "data.tags", "data.messages")  # a row's own value is a list
_SPACE = re.compile(r"\s*")


def json_rows(
    text: str, *, at: str, bad_lines: list[str] | None = None
) -> Iterator[dict[str, Any]]:
    """The objects of JSON text; raises `DataError` for what is none, with its line.

    With a list `bad_lines` such a line is an empty row, and what is wrong with it is added there.
    """
    try:
        yield from (
            _array(text, at)
            if text.lstrip().startswith("[")
            # at \n alone: a text may hold U+2028 or U+0085
            else _lines(text.split("\n"), at, bad_lines, partial(_objects, text))
        )
    except RecursionError as error:
        raise DataError(f"{at}: cannot be read (nested too deeply)") from error


def _array(text: str, at: str) -> Iterator[dict[str, Any]]:
    try:
        rows = parse_json(text)
    except ValueError as error:
        raise DataError(f"{at}: cannot be read ({error})") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{at}: cannot be read (item {number} is no object of named values)")
        yield row


def json_lines(lines: Iterable[str], *, at: str) -> Iterator[dict[str, Any]]:
    """The objects of lines, one each; raises `DataError` for what is none, with its line."""
    try:
        yield from _lines(lines, at, None, lambda: None)
    except RecursionError as error:
        raise DataError(f"{at}: cannot be read (nested too deeply)") from error


def _lines(
    lines: Iterable[str],
    at: str,
    bad_lines: list[str] | None,
    all_objects: Callable[[], list[dict[str, Any]] | None],
) -> Iterator[dict[str, Any]]:
    """An object a line; where a line is none, `all_objects` may give those that take several."""
    before, is_tried = 0, False
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:  # also of an integer of thousands of digits
            objects = None if is_tried else all_objects()
            is_tried = True
            if objects is not None:
                yield from objects[before:]
                return
            of_json = isinstance(error, json.JSONDecodeError)
            reason = f"column {error.colno}: {error.msg}" if of_json else brief(error)  # type: ignore[attr-defined]
            reason = f"line {number}, {reason}"
        else:
            reason = f"line {number} is no object of named values"
            if isinstance(row, dict):
                before += 1
                yield row
                continue
        if bad_lines is None:
            raise DataError(f"{at}: cannot be read ({reason})")
        bad_lines.append(reason)
        yield {}


def _objects(text: str) -> list[dict[str, Any]] | None:
    """The objects of a text in which each takes several lines; None where it is another text."""
    decoder = json.JSONDecoder(parse_float=WrittenFloat)
    objects: list[dict[str, Any]] = []
    at = _SPACE.match(text).end()  # type: ignore[union-attr]
    while at < len(text):
        try:
            row, at = decoder.raw_decode(text, at)
        except ValueError:
            return None
        if not isinstance(row, dict):
            return None
        objects.append(row)
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
    return [whole_characters(row) for row in objects] if HALF.search(text) else objects


def unnested(
    rows: Iterable[dict[str, Any]], settings: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The rows; of a file that is one object, those inside it. `settings`: setting -> column.

    It may hold them as its one list of objects ({"data": […]}), by name ({"0": {"text": …}, …}), or
    column by column ({"text": […]}, or as pandas writes them, {"text": {"0": …, "1": …}}), or as
    the names of its columns beside rows without names ({"columns": […], "data": [[…], …]}).
    """
    all_rows = iter(rows)
    first, second = next(all_rows, None), next(all_rows, None)
    if not first or second is not None:  # an empty row stands for a line that cannot be read
        yield from (row for row in (first, second) if row is not None)
        yield from all_rows
        return
    lists = [v for v in first.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
    columns = [first.get(name) for name in settings.values()]
    if (
        not {*settings.values()} <= {*first}
        and len(lists) == 1
        and all(isinstance(v, dict) for v in lists[0])
    ):
        yield from lists[0]
    elif _are_named_apart(first, settings.values()):
        yield from (dict(zip(first["columns"], row, strict=True)) for row in first["data"])
    elif all(isinstance(v, dict) and {*settings.values()} <= v.keys() for v in first.values()):
        yield from first.values()
    elif (
        all(isinstance(column, dict) and column for column in columns)
        and len({tuple(column) for column in columns if column}) == 1
    ):
        for row in columns[0] or ():
            yield {name: column[row] for name, column in first.items() if isinstance(column, dict)}
    elif _are_columns({setting: first.get(name) for setting, name in settings.items()}):
        count = len(columns[0] or ())
        like = {n: v for n, v in first.items() if isinstance(v, list) and len(v) == count}
        for place in range(count):
            yield {name: column[place] for name, column in like.items()}
    else:
        yield first


def _are_named_apart(table: Mapping[str, Any], names_needed: Collection[str]) -> bool:
    """Whether an object is a table whose rows are lists, beside the names of their columns."""
    names, rows = table.get("columns"), table.get("data")
    return (
        isinstance(names, list)
        and all(names.count(name) == 1 for name in names_needed)
        and isinstance(rows, list)
        and all(isinstance(row, list) and len(row) == len(names) for row in rows)
    )


def _are_columns(values: Mapping[str, Any]) -> bool:
    """Whether the values of settings are columns, and not those of one row: each is a list."""
    columns = [*values.values()]
    if not columns or not all(isinstance(column, list) and column for column in columns):
        return False
    setting, column = next(iter(values.items()))
    items = list if setting in LISTS else (str, int, float)
    return len({*map(len, columns)}) == 1 and all(isinstance(item, items) for item in column)


def value_of(row: Mapping[str, Any], name: str) -> Any:
    """A value by its name; that of review.text stands in the mapping `review`."""
    if name in row or "." not in name:
        return row.get(name)
    first, _, suffix = name.partition(".")
    inner = row.get(first)
    return value_of(inner, suffix) if isinstance(inner, dict) else None


def names_of(row: Mapping[str, Any], columns: Collection[str]) -> Iterator[str]:
    """The names of a row's values; those in mappings too, where a `columns` one is not there."""
    yield from row
    if not {*columns} <= row.keys():
        for name, value in row.items():
            if isinstance(value, dict):
                yield from (f"{name}.{inner}" for inner in names_of(value, [""]))
