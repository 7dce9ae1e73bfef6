"""Running text for language models."""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from distillkit.data.data import Reader
from distillkit.data.filters import matching_rows
from distillkit.data.rows import Rows, say_dropped, write_labels, write_split
from distillkit.data.shares import share_out
from distillkit.data.sources import spec_text
from distillkit.data.streamed import streamed_splits
from distillkit.data.tables import read_table
from distillkit.data.texts import Texts
from distillkit.errors import ConfigError, DataError
from distillkit.types import LabelSpace

OF_WHOLE_FILES = ("separator", "quoting", "header", "columns")  # settings of csv and txt
_BREAK = re.compile(r"(?:<br\s*/?>\s*)+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Documents(Texts):
    """Running text, a document a row of the column `text`.

    `line_breaks` writes the `<br />` of a web page as the new line that it stands for. `document`
    is what one is in a .txt file: what blank lines set apart, the whole file, or a line. With
    `streaming` files of lines of JSON, parquet files and data sets of the hub are read part by
    part, and never lie in memory; the splits are the same.
    """

    text: str = "text"
    line_breaks: bool = False
    document: Literal["paragraph", "file", "line"] = "paragraph"
    streaming: bool = False

    kind = "documents"
    rows = "documents"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = {
            "document": self.document != "paragraph",
            **{name: getattr(self, name) is not None for name in OF_WHOLE_FILES},
        }
        name = next((name for name, is_set in whole.items() if is_set), None)
        if self.streaming and name is not None:
            raise ConfigError(
                f"data.{name} = {getattr(self, name)}: is of csv and txt, which are read whole, "
                "and data.streaming=true reads .jsonl, .parquet and the hub; unset one of them"
            )

    def labelled_fields(self) -> dict[str, Any]:
        """All that decides the splits; they are the same where they are streamed."""
        fields = super().labelled_fields()
        del fields["streaming"]
        return fields

    def prepare(self, task: Reader, *, cache: Path, out: Path) -> dict[str, Any]:
        """Write the splits into `out`; return their counts, and say what was dropped."""
        return prepare_documents(self, cache=cache, out=out)

    def settings(self) -> dict[str, str | None]:
        """The columns that are read, by their settings."""
        return {"data.text": self.text}

    def read(self, row: dict[str, Any]) -> str | None:
        """The document, or None where there is none."""
        text = row[self.text]
        if not isinstance(text, str) or not text.strip():
            return None
        return _BREAK.sub("\n", text) if self.line_breaks else text


def prepare_documents(data: Documents, *, cache: Path, out: Path) -> dict[str, Any]:
    """Write the splits into `out`; return their counts, and say what was dropped."""
    if data.streaming:
        counts, dropped = streamed_splits(
            data, {"data.text": data.text}, data.read, cache=cache, out=out
        )
        data.say_counts(counts)
    else:
        splits, dropped = share_out(data, partial(_rows, data, cache))
        splits = data.sized(splits)
        for name, rows in splits.items():
            write_split(out / name, rows.texts, None, None, rows.numbers)
        counts = data.counted(splits)
    write_labels(out, LabelSpace(()))
    say_dropped("rows", dropped)
    return {"counts": counts, "dropped": dropped}


def _rows(data: Documents, cache: Path, role: str, dropped: dict[str, int]) -> Rows:
    spec = getattr(data, role)
    columns = data.settings()
    where = data.where if role == "train" else None
    table = read_table(
        spec,
        key=f"data.{role}",
        split=role,
        cache=cache,
        columns=columns,
        texts=[*columns],
        where=where,
        form=data.form,
        unit=data.document,
    )
    places = matching_rows(table, where, key="data.where", spec=spec)
    table = table.select(places)
    read = [data.read(row) for row in table.records([c for c in columns.values() if c])]
    texts_left = [row for row in read if row is not None]
    if len(texts_left) < len(read):
        dropped[f"empty ({role})"] = len(read) - len(texts_left)
    if not texts_left:
        raise DataError(f"data.{role} = {spec_text(spec)}: every row is empty")
    numbers = [place + 1 for place, row in zip(places, read, strict=True) if row is not None]
    return Rows(texts_left, None, [None] * len(texts_left), numbers=numbers)
