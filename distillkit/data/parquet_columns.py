"""Columns of a parquet file, given up where they unpack to more than may be."""

from typing import Any

from distillkit import limits
from distillkit.errors import DataError

MOST_ROWS = 1024  # of a batch


def read_columns(file: Any, columns: list[str], *, at: str) -> Any:
    """The table of these columns of an opened file; raises `DataError` for one that is too large.

    What the file says of its size is looked at first. A text that is stored once may stand in every
    row, so batches are read that cannot be larger than the limit, and counted.
    """
    import pyarrow as pa

    limit, largest = limits.unpacked(), 1
    for place in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(place)
        sizes = [group.column(index).total_uncompressed_size for index in range(group.num_columns)]
        largest = max(largest, *sizes)
    if largest > limit:
        raise DataError(limits.too_large(at, limits.in_words(largest), minimum=largest))
    rows = min(MOST_ROWS, max(1, limit // largest))
    batches, size = [], 0
    for batch in file.iter_batches(batch_size=rows, columns=columns):
        size += batch.nbytes
        if size > limit:
            words = f"{limits.in_words(size)} or more"
            raise DataError(limits.too_large(at, words, minimum=5 * size))
        batches.append(batch)
    return pa.Table.from_batches(batches) if batches else file.read(columns=columns)
