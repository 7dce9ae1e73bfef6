"""Values as the text that stands in the file: 01 is not 1, and 1.10 is not 1.1."""

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime, time
from typing import Any

import numpy as np

HALF = re.compile(r"\\u[dD][89a-fA-F]")


class WrittenFloat(float):
    """A number that remembers the text it was read from."""

    text: str

    def __new__(cls, text: str) -> "WrittenFloat":
        """The number that `text` spells."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def parse_json(text: str) -> Any:
    """A JSON value whose real numbers remember how they are written.

    Half a character (a lone surrogate, as of an emoji cut in two) becomes U+FFFD: no encoding has
    it.
    """
    value = json.loads(text, parse_float=WrittenFloat)
    return whole_characters(value) if HALF.search(text) else value


def whole_characters(value: Any) -> Any:
    """A JSON value without lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {whole_characters(k): whole_characters(v) for k, v in value.items()}
    return value


def json_text(value: Any) -> Any:
    """A JSON value as text: scalars as written, lists item by item; null and mappings stay."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return as_text(value, json_text)


def is_missing(value: Any) -> bool:
    """Whether a value is none: null, or NaN."""
    return value is None or value != value


def as_text(value: Any, inner: Callable[[Any], Any] | None = None) -> Any:
    """A value as text: numbers as written, lists item by item; NaN is nothing, mappings stay.

    A time at midnight is its date.
    """
    if value is None or isinstance(value, (str, dict, bytes)):
        return value
    if isinstance(value, (list, tuple)):
        return [(inner or as_text)(item) for item in value]
    if value != value:
        return None
    if isinstance(value, datetime) and value.time() == time() and value.tzinfo is None:
        return value.date().isoformat()  # as a workbook shows it
    return value.text if isinstance(value, WrittenFloat) else str(value)


def shortest(values: Iterable[float | None], kind: type[np.floating]) -> list[WrittenFloat | None]:
    """Numbers of a narrower type with as few digits as tell them apart: 0.1 of float32."""
    return [None if v is None else WrittenFloat(str(kind(v))) for v in values]
