"""Predictions as rows of csv, tsv or jsonl: whole or not there; and as lines on a terminal."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from distillkit.console.escaping import csv_cell, one_line
from distillkit.console.progress import say, stdout
from distillkit.console.wording import brief, listed
from distillkit.data.written import WrittenFloat, as_text
from distillkit.errors import ConfigError, OutputError
from distillkit.prediction.answers import Answers
from distillkit.prediction.rows import Rows

SEPARATORS = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")
ENDINGS = (*SEPARATORS, *LINES)
ROW = "row"
MOST_CLASSES, LIKELIEST = 20, 5  # of more classes, only the likeliest are written


def check_output(path: Path, *, overwrite: bool, source: str | None = None) -> None:
    """Raise `ConfigError` or `OutputError` where nothing could be written, before any work."""
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {path}: must end in one of {', '.join(ENDINGS)}")
    if path.is_dir():
        raise ConfigError(f"--out {path}: a folder; name a file in it")
    if not path.parent.is_dir():
        raise OutputError(f"--out {path}: there is no folder {path.parent}; make it first")
    if path.exists() and source is not None and Path(source).exists() and path.samefile(source):
        raise ConfigError(f"--out {path}: is the input; name another file")
    if path.exists() and not overwrite:
        raise ConfigError(f"--out {path}: is there already; name another, or add --overwrite")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"--out {path}: no file can be made in {path.parent} (permission denied)")


def named_apart(own: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str]:
    """New names of columns that an input has already: `prediction` becomes `prediction_2`."""
    used, names = {*own}, {}
    for name in columns:
        new, number = name, 2
        while new in used:
            new, number = f"{name}_{number}", number + 1
        used.add(new)
        names[name] = new
    changed = [f"{name} is written as {new}" for name, new in names.items() if name != new]
    if changed:
        say(f"the input has columns of the same name: {listed(changed)}")
    return names


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """A file to write to, that stands at `path` when all of it is there, and not before."""
    draft = path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
    try:
        with draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OutputError(f"--out {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def write_rows(file: IO[str], records: Iterator[dict[str, Any]], *, suffix: str) -> None:
    """Write records, all of the same keys, as csv, tsv or a JSON object a line."""
    if suffix in LINES:
        for record in records:
            file.write(json_line(record) + "\n")
        return
    writer = csv.writer(file, delimiter=SEPARATORS[suffix], lineterminator="\n")
    for number, record in enumerate(records):
        if not number:
            writer.writerow(record)
        writer.writerow([_cell(value) for value in record.values()])


def json_line(record: Mapping[str, Any]) -> str:
    """A record as a JSON object on one line; what JSON has no word for is text."""
    return json.dumps(_plain(record), ensure_ascii=False, default=str)


def _plain(value: Any) -> Any:
    """A value as JSON has it: NaN is null."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def _cell(value: Any) -> Any:
    """A value as a cell: nothing of None, lists and mappings as JSON, numbers as written."""
    if value is None or value != value:
        return ""
    if isinstance(value, (list, dict)):
        return json.dumps(_plain(value), ensure_ascii=False, default=str)
    if isinstance(value, WrittenFloat) or not isinstance(value, (str, int, float)):
        return as_text(value)
    return value


def records(
    rows: Rows, answers: Answers, *, limit: int | None = None, nested: bool = True
) -> Iterator[dict[str, Any]]:
    """Row by row: its number, the input's columns, the prediction, and each class's probability.

    Of `limit` classes the likeliest; None: all, unless there are too many. `nested` has the
    probabilities as one mapping, as JSON does; else each is a column.
    """
    has_classes = answers.probabilities is not None
    count = len(answers.names)
    if limit is None and count > MOST_CLASSES:
        limit = LIKELIEST
        say(
            f"predict: of {count} classes the {limit} likeliest are written (--top N writes others)"
        )
    limit = None if limit is None else min(limit, count)
    extra = _class_columns(answers, limit, nested=nested) if has_classes else []
    names = named_apart(rows.columns, [ROW, *answers.columns, *extra])
    shares = answers.of_classes(limit)
    for place, of_classes in enumerate(shares):
        record: dict[str, Any] = {names[ROW]: place + 1}
        record |= {name: column[place] for name, column in rows.columns.items()}
        for name, column in answers.columns.items():
            value = column[place]
            is_label = has_classes and not nested and isinstance(value, str)
            record[names[name]] = csv_cell(value) if is_label else value
        if has_classes and nested:
            record[names["probabilities"]] = None if of_classes is None else dict(of_classes)
        elif has_classes:
            record |= dict(
                zip((names[index] for index in extra), _flat(of_classes, limit), strict=False)
            )
            record |= {names[index]: None for index in extra if names[index] not in record}
        yield record


def _class_columns(answers: Answers, limit: int | None, *, nested: bool) -> list[str]:
    if nested:
        return ["probabilities"]
    if limit is None:
        return [f"probability_{name}" for name in answers.names]
    return [f"top_{i}{suffix}" for i in range(1, limit + 1) for suffix in ("", "_probability")]


def _flat(of_classes: list[tuple[str, float]] | None, limit: int | None) -> list[Any]:
    """Probabilities alone, of all classes in their order; or each likely class before its own."""
    if of_classes is None:
        return []
    if limit is None:
        return [share for _, share in of_classes]
    return [value for label, share in of_classes for value in (csv_cell(label), share)]


def print_table(rows: Rows, answers: Answers, *, limit: int | None = None) -> None:
    """The predictions as a table for people: each text in brief, what it is, how sure that is."""
    from rich.table import Table

    columns = [name for name in answers.columns if name not in ("words", "begin", "end")]
    nearest = [] if answers.probabilities is None else ["probabilities"]
    table = Table(*("row", "text", *columns, *nearest))
    shares = answers.of_classes(min(limit or 3, len(answers.names)))
    for place, of_classes in enumerate(shares):
        values = [answers.columns[name][place] for name in columns]
        if nearest:
            values.append(", ".join(f"{label} {p:.3f}" for label, p in of_classes or ()))
        text = brief(rows.texts[place] or "", 60)
        table.add_row(str(place + 1), one_line(text), *(one_line(_table_text(v)) for v in values))
    stdout().print(table)


def _table_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(f"{index['text']} ({index['entity']})" for index in value)
    if isinstance(value, list):
        return " ".join("-" if index is None else str(index) for index in value)
    return "-" if value is None else str(value)
