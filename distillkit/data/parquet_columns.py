"""Parquet files: opened, and their columns read, given up where they unpack to too much."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distillkit import limits
from distillkit.console.wording import brief, first_line
from distillkit.data.encodings import unpacked
from distillkit.data.messages import check_columns
from distillkit.data.sources import PACKED
from distillkit.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

MOST_ROWS = 1024  # of a batch


def read_columns(file: Any, columns: list[str], *, at: str) -> Any:
    """The table of these columns of an opened file; raises `DataError` where it is too large."""
    import pyarrow as pa

    limit = limits.unpacked()
    batches, size = [], 0
    for batch in column_batches(file, columns, at=at):
        size += batch.nbytes
        if size > limit:
            words = f"{limits.in_words(size)} or more"
            raise DataError(limits.too_large(at, words, minimum=5 * size))
        batches.append(batch)
    with reading_arrow(at):
        return pa.Table.from_batches(batches) if batches else file.read(columns=columns)


def column_batches(file: Any, columns: list[str], *, at: str) -> Iterator[Any]:
    """Some rows of these columns after the other; raises `DataError` for what is too large.

    What the file says of its size is looked at first. A text that is stored once may stand in every
    row, so batches are read that cannot be larger than the limit.
    """
    limit, largest = limits.unpacked(), 1
    for place in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(place)
        sizes = [group.column(index).total_uncompressed_size for index in range(group.num_columns)]
        largest = max(largest, *sizes)
    if largest > limit:
        raise DataError(limits.too_large(at, limits.in_words(largest), minimum=largest))
    rows = min(MOST_ROWS, max(1, limit // largest))
    with reading_arrow(at):
        yield from file.iter_batches(batch_size=rows, columns=columns)


def opened_parquet(
    path: Path, columns_of: Mapping[str, str], *, at: str, spec: str
) -> tuple[Any, list[str]]:
    """(the opened file, the names of its columns); raises `DataError` where one is not there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading_arrow(at):
        packed = path.suffix.lower() in (*PACKED, ".zip")
        file = pq.ParquetFile(pa.BufferReader(unpacked(path, at=at)) if packed else path)
        names = file.schema_arrow.names
        if any("." in name and name not in names for name in columns_of.values()):
            names = _nested_names(file.schema_arrow)
        twice = next((name for name in columns_of.values() if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(
                f"{at}: {names.count(twice)} of its columns are named "
                f"{brief(twice, 60)}; rename them"
            )
        check_columns(names, columns_of, spec=spec)
    return file, names


@contextmanager
def reading_arrow(at: str) -> Iterator[None]:
    """Raise `DataError` for what Arrow cannot read; an error of the system stays as it is."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(f"{at}: cannot be read ({first_line(error)})") from error


def as_dataset(columns: Any, *, at: str) -> "Dataset":
    """Columns of a parquet file with what `datasets` wrote of them."""
    import pyarrow as pa
    from datasets import Dataset

    with reading_arrow(at):
        for place, field in enumerate(columns.schema):
            if pa.types.is_dictionary(field.type):  # pandas' categories
                column = columns[place].cast(field.type.value_type)
                columns = columns.set_column(place, field.name, column)
    try:
        return Dataset(columns)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{at}: what `datasets` wrote into its metadata cannot be read ({first_line(error)}); "
            "write it anew, as pandas.read_parquet(FILE).to_parquet(FILE) does"
        ) from error


def _nested_names(schema: Any) -> list[str]:
    """The names of columns, those in mappings with what they stand in: review.text."""
    import pyarrow as pa

    table = schema.empty_table()
    while any(map(pa.types.is_struct, table.schema.types)):
        table = table.flatten()
    return list(table.column_names)
