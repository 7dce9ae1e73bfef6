"""The rows of a source some thousands at a time: files of lines, parquet, data sets of the hub.

What a file is written like must show line by line here. Files whose form shows only as a whole
(csv, txt, workbooks, JSON arrays) are read by `tables.read_table`.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from distillkit import limits
from distillkit.data import hub
from distillkit.data.agreement import Agreement
from distillkit.data.encodings import MAGIC, REPLACE
from distillkit.data.hub import HubSource
from distillkit.data.json_rows import json_lines, unnested
from distillkit.data.messages import check_columns
from distillkit.data.parquet_columns import as_dataset, column_batches, opened_parquet
from distillkit.data.sources import LocalSource, Spec, parse, spec_text, suffix
from distillkit.data.split_folders import has_card, is_whole
from distillkit.data.tables import Request, Table, each_file, of_dataset, of_rows, say_parts
from distillkit.data.text_format import TextFormat
from distillkit.data.whole_folders import saved, with_card
from distillkit.errors import DataError

ROWS = 2048  # of a batch
LINES = (".jsonl", ".ndjson")


def row_batches(
    spec: Spec,
    *,
    key: str,
    split: str,
    cache: Path,
    columns: Mapping[str, str],
    where: Mapping[str, Any] | None,
    form: TextFormat,
) -> Iterator[Table]:
    """All rows of a source in order, as tables of text of the `columns` (setting -> column).

    Raises `DataError` as `read_table` does, and before any is read for a file that is read whole.
    """
    columns_of = {**columns, **{f"data.where.{name}": str(name) for name in where or {}}}
    textual = {name: setting for setting, name in columns.items()}
    request = Request(key, split, cache, columns_of, textual, form, None, Agreement())
    files = list(each_file(spec, key=key, split=split, cache=cache))
    for item, name, path in files:
        if path is not None and path.is_file():
            _check_lines(path, at=f"{key} = {item}", name=name)
    counts = []
    for item, name, path in files:
        count = 0
        for table in _batches(item, path, request):
            count += len(table)
            yield table
        counts.append((name, count))
    if [item for item, _, _ in files] != [spec]:
        say_parts(spec, key, counts)
    if not sum(count for _, count in counts):
        raise DataError(f"{key} = {spec_text(spec)}: the file has no rows")


def _check_lines(path: Path, *, at: str, name: str) -> None:
    """Raise `DataError` for a file that cannot be read part by part."""
    is_packed = path.suffix.lower() not in (*LINES, ".parquet")
    if path.suffix.lower() == ".zip" or suffix(path) not in (*LINES, ".parquet")[: 3 - is_packed]:
        raise DataError(
            f"{at}: data.streaming reads .jsonl and .parquet files and data sets of the hub, and "
            f"{name} can only be read whole; write it as one of these, or set data.streaming=false"
        )
    if not path.stat().st_size:
        raise DataError(f"{at}: the file is empty")


def _batches(item: str, path: Path | None, request: Request) -> Iterator[Table]:
    at = f"{request.key} = {item}"
    if path is not None and path.is_file():
        of_file = _of_parquet if suffix(path) == ".parquet" else _of_lines
        yield from of_file(path, request, item, at)
        return
    dataset = _dataset(item, path, request, at)
    for begin in range(0, len(dataset), ROWS):
        part = dataset.select(range(begin, min(begin + ROWS, len(dataset))))
        yield of_dataset(part, request, item)


def _dataset(item: str, path: Path | None, request: Request, at: str) -> Any:
    """What `datasets` reads as a whole: it lies in files that are mapped, not in memory."""
    source = parse(item, key=request.key)
    if isinstance(source, HubSource):
        key, cache = request.key, request.cache
        return hub.load(source, key=key, spec=item, split=request.split, cache=cache)
    assert path is not None
    split = (source.split if isinstance(source, LocalSource) else None) or request.split
    assert is_whole(path), "files of other folders come one by one"
    if has_card(path):
        return with_card(path, split, at, request.cache)
    return saved(path, split, at)


def _of_parquet(path: Path, request: Request, item: str, at: str) -> Iterator[Table]:
    import pyarrow as pa

    file, _ = opened_parquet(path, request.columns_of, at=at, spec=item)
    for batch in column_batches(file, list(dict.fromkeys(request.columns_of.values())), at=at):
        yield of_dataset(as_dataset(pa.Table.from_batches([batch]), at=at), request, item)


def _of_lines(path: Path, request: Request, item: str, at: str) -> Iterator[Table]:
    names: dict[str, None] = {}
    lines = json_lines(_lines(path, request.form.encoding or "utf-8", at), at=at)
    rows = unnested(lines, request.columns_of)
    while part := list(islice(rows, ROWS)):
        table = of_rows(part, request)
        names |= dict.fromkeys(table.columns)
        yield table
    if names:
        check_columns(names, request.columns_of, spec=item)


def _lines(path: Path, encoding: str, at: str) -> Iterator[str]:
    """The lines of a file that may be packed, without what ends them: at \\n alone.

    Each begins with a byte order mark at most, which goes.
    """
    codec, errors = encoding.removesuffix(REPLACE), "strict"
    if codec != encoding:
        errors = "replace"
    if "\n".encode(codec) != b"\n":
        raise DataError(
            f"{at}: data.encoding = {encoding}: its lines do not end in one byte, and "
            "data.streaming reads line by line; save the file as UTF-8, or set data.streaming=false"
        )
    for number, line in enumerate(_raw_lines(path, at), start=1):
        try:
            yield line.rstrip(b"\n").decode(codec, errors).lstrip("\ufeff")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{at}: line {number:,} is not {codec}; set data.encoding, as cp1252, or "
                f"utf-8{REPLACE}, which has U+FFFD for what is not"
            ) from error


def _raw_lines(path: Path, at: str) -> Iterable[bytes]:
    """Lines of bytes; of a packed file no more than it may unpack to."""
    with path.open("rb") as file:
        head = file.read(8)
    kind = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)
    if kind is None:
        with path.open("rb") as file:
            yield from file
        return
    limit, size = limits.unpacked(), 0
    try:
        with _unpacking(path, kind) as stream:
            while line := stream.readline(limit - size + 1):
                size += len(line)
                if size > limit:
                    words = f"more than {limits.in_words(limit)}"
                    raise DataError(limits.too_large(at, words))
                yield line
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise DataError(f"{at}: damaged {kind} data ({error})") from error


def _unpacking(path: Path, kind: str) -> io.BufferedReader:
    """A stream of what is packed in a file."""
    if kind == "zstd":
        import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
    opens: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    return io.BufferedReader(opens[kind](path))
