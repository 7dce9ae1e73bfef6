"""Words of a command line as Hydra takes them: what its grammar cannot read is quoted first.

A name of a file may hold commas, quotes, brackets, blanks, any letter. A comma is part of the value
unless a sweep is asked for (-m); lists and mappings stay what they are.
"""

import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException
from yaml import YAMLError, safe_load

_KEY = re.compile(r"(?<=[{,])(\s*[\w.-]+):(?=\S)")  # YAML wants a blank after it, Hydra does not


def respelled(words: list[str]) -> list[str]:
    """The words with `workspace=FOLDER` as what it is short for: workspace.path=FOLDER."""
    short = re.compile(r"(\+{0,2})workspace=(?!\{)", re.DOTALL)
    return [
        short.sub(r"\1workspace.path=", word, count=1) if short.match(word) else word
        for word in words
    ]


def parse_word(parser: OverridesParser, word: str, *, sweeps: bool) -> Override | None:
    """The override that a word key=value is; None where it cannot be read at all."""
    key, equals, value = word.partition("=")
    attempts = [word]
    if equals:
        attempts += [f"{key}={text}" for text in (_structure(value), quoted(value)) if text]
    for attempt in attempts:
        try:
            override = parser.parse_overrides([attempt])[0]
        except HydraException:
            continue
        if not sweeps and is_choice(override):
            return parser.parse_overrides([f"{key}={quoted(value)}"])[0]
        return override
    return None


def is_choice(override: Override) -> bool:
    """Whether the value is a sweep that only its commas make: a,b,c."""
    value = override.value()
    return isinstance(value, ChoiceSweep) and value.simple_form


def as_text(parser: OverridesParser, override: Override) -> Override:
    """The override with its numbers as the text that was written: 0, true, 1e3 are names, too."""
    key, _, text = str(override.input_line).partition("=")
    value = override.value()
    if isinstance(value, list) and all(type(item) in (int, str) for item in value):
        text = f"[{','.join(quoted(str(item)) for item in value)}]"
    elif isinstance(value, (bool, int, float)):
        text = quoted(text)
    return parser.parse_overrides([f"{key}={text}"])[0]


def quoted(value: str) -> str:
    """A value in quotation marks, from which Hydra's grammar gives the same text back."""
    mark = '"' if "'" in value and '"' not in value else "'"
    # backslashes count as themselves but before a quotation mark, where each is written twice
    text = re.sub(rf"(\\*){mark}", lambda match: match[1] * 2 + "\\" + mark, value)
    text = re.sub(r"\\+$", lambda match: match[0] * 2, text)
    return f"{mark}{text}{mark}"


def _structure(value: str) -> str:
    """A list or mapping whose items Hydra's grammar cannot read as they stand; "" for others."""
    text = value.strip()
    if text.startswith("{") and text.endswith("}"):
        text = _KEY.sub(r"\1: ", text)
    elif not (text.startswith("[") and text.endswith("]")):
        return ""
    try:
        match = safe_load(text)
    except YAMLError:  # [d[1].csv,b.csv]
        match = [item.strip() for item in text[1:-1].split(",")] if text[0] == "[" else None
    if isinstance(match, list) and all(isinstance(item, str) for item in match):
        return _listed(match)
    if isinstance(match, dict) and all(_is_plain(item) for item in match.values()):
        return "{" + ",".join(f"{key}:{_as_yaml(item)}" for key, item in match.items()) + "}"
    return ""


def _is_plain(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(item is not None and isinstance(item, (str, int, float)) for item in items)


def _as_yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_as_yaml, value))}]"
    return quoted(value) if isinstance(value, str) else str(value).lower()


def _listed(items: list[str]) -> str:
    return f"[{','.join(map(quoted, items))}]"
