"""How tables in text files are written, as far as the config says."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from distillkit.console.wording import listed
from distillkit.data.encodings import REPLACE
from distillkit.errors import ConfigError

Quoting = Literal["double", "single", "none"]
WORDS = {"\\t": "\t", "tab": "\t", "blank": " ", "space": " "}
MARKS = {"double": '"', "single": "'", "none": ""}


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Settings for csv, tsv and txt; None: as the file itself shows.

    `separator` is one character; a blank ends all columns but the last. `columns` names the columns
    of a file without a header row, or with `header` those of one that has it. `quoting` is the mark
    that a field may stand in.
    """

    separator: str | None = None
    encoding: str | None = None
    quoting: Quoting | None = None
    header: bool | None = None
    columns: tuple[str, ...] | None = None


def text_format(
    separator: str | None,
    encoding: str | None,
    quoting: Quoting | None,
    header: bool | None,
    columns: Sequence[str] | None,
) -> TextFormat:
    """The settings, or `ConfigError` for what cannot be."""
    separator = WORDS.get(separator or "", separator)
    if separator is not None and (len(separator) != 1 or separator in "\r\n\"'"):
        raise ConfigError(
            f"data.separator = {separator!r}: must be one character, as ';' or '|', or "
            "tab, or blank"
        )
    if encoding is not None:
        try:
            "".encode(codecs.lookup(encoding.removesuffix(REPLACE)).name)
        except LookupError:
            raise ConfigError(
                f"data.encoding = {encoding}: no such encoding; as utf-8, cp1252, latin-1, utf-16, "
                f"or utf-8{REPLACE}, which has U+FFFD for what is not"
            ) from None
    if columns is not None and (not columns or len(set(columns)) < len(columns)):
        raise ConfigError(f"data.columns = [{listed(columns)}]: must be names, each once")
    if header is False and columns is None:
        raise ConfigError("data.header = false: name the columns, as data.columns=[text,label]")
    return TextFormat(separator, encoding, quoting, header, tuple(columns) if columns else None)
