"""Values as the text that stands in the file: 01 is not 1, and 1.10 is not 1.1."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


class WrittenFloat(float):
    """A number that remembers the text it was read from."""

    text: str

    def __new__(cls, text: str) -> "WrittenFloat":
        """The number that `text` spells."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def parse_json(text: str) -> Any:
    """A JSON value whose real numbers remember how they are written."""
    return json.loads(text, parse_float=WrittenFloat)


def json_text(value: Any) -> Any:
    """A JSON value as text: scalars as written, lists item by item; null and mappings stay."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return as_text(value, json_text)


def as_text(value: Any, inner: Callable[[Any], Any] | None = None) -> Any:
    """A value as text: numbers as written, lists item by item; NaN is nothing, mappings stay."""
    if value is None or isinstance(value, (str, dict, bytes)):
        return value
    if isinstance(value, (list, tuple)):
        return [(inner or as_text)(item) for item in value]
    if value != value:
        return None
    return value.text if isinstance(value, WrittenFloat) else str(value)


def shortest(values: Iterable[float | None], kind: type[np.floating]) -> list[WrittenFloat | None]:
    """Numbers of a narrower type with as few digits as tell them apart: 0.1 of float32."""
    return [None if v is None else WrittenFloat(str(kind(v))) for v in values]
