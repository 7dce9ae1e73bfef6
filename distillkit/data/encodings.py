"""The text of a file: unpacked by its first bytes, decoded as told or as its bytes show."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import zlib
from pathlib import Path
from typing import Any

from distillkit import limits
from distillkit.data.zips import ENDING, read_only_member
from distillkit.errors import DataError

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
BINARY = {b"PK\x03\x04": "a zip file (or a workbook)", b"PAR1": "a parquet file", b"%PDF": "a PDF"}
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What cp1252 text of Western Europe has in and between its words. Letters of its Icelandic, Czech
# and Baltic neighbours are left out: there they are mostly another code page, read wrongly.
LETTERS = "àáâãäåæçèéêëìíîïñòóôõöøùúûüÿœßÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŸŒ"
SIGNS = "€‚„…†‡‰‹›‘’“”•–—™¡¢£¥§©ª«®°±²³´·º»¿¼½¾×\xa0\xad"  # noqa: RUF001
STRAY = "ÿ"  # byte 255, which means nothing in UTF-8 and hardly ever this letter
REPLACE = ":replace"
SHIFTS = re.compile(rb"\x1b\$[@B)]")  # into another script, by bytes of ASCII
PART = 1 << 20  # bytes that are decompressed at a time
SHOWN = 12  # bytes around a fault that a message shows
_JOINS = "’‘'–—\xad·-"  # noqa: RUF001
_SPLIT_WORD = re.compile(rf"(?<=[A-Za-z])(?:[^\x00-\x7f\w\s{_JOINS}]|[ªº²³¼½¾])(?=[a-z])")
_CAPITAL_INSIDE = re.compile(rf"[a-z][{LETTERS[LETTERS.index('À') :]}](?:[a-z]|\W)")
_UTF8_INSIDE = re.compile(rb"[\xc3-\xf4][\x80-\xbf]")
_SPREAD = ("õ", "[öü]", "[áí]")  # all three: Hungarian, whose code page is another


def unpacked(path: Path, *, at: str) -> bytes:
    """The bytes of a file, decompressed if it is compressed, whatever its name says."""
    if path.suffix.lower() == ENDING:
        return read_only_member(path, at=at)
    data = path.read_bytes()
    kind = next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), None)
    try:
        return data if kind is None else _decompressed(_opened(data, kind), at)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise DataError(f"{at}: damaged {kind} data ({error})") from error


def _opened(data: bytes, kind: str) -> Any:
    """A stream of what is packed in `data`."""
    if kind == "zstd":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.BufferReader(data), "zstd")
    opens: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    return opens[kind](io.BytesIO(data))


def _decompressed(stream: Any, at: str) -> bytes:
    """All of a stream, given up as soon as it is larger than may be."""
    limit, parts, size = limits.unpacked(), [], 0
    while part := stream.read(PART):
        size += len(part)
        if size > limit:
            raise DataError(limits.too_large(at, f"more than {limits.in_words(limit)}"))
        parts.append(part)
    return b"".join(parts)


def decoded(data: bytes, encoding: str | None, *, at: str) -> tuple[str, str | None]:
    """(the text of these bytes, the encoding where it is worth saying).

    Without `encoding`, a byte order mark or UTF-8 decide; other bytes are taken as cp1252 only
    where that gives nothing but words of Western Europe. One that ends in `REPLACE` has U+FFFD for
    what it cannot read. A mark at the head of a line is that of a
    file which was joined on, and goes. Raises `DataError` that names the setting.
    """
    text, encoding_found = _decoded(data, encoding, at)
    return text.replace("\n\ufeff", "\n"), encoding_found


def _decoded(data: bytes, encoding: str | None, at: str) -> tuple[str, str | None]:
    if not data:
        raise DataError(f"{at}: the file is empty")
    if encoding is not None and encoding.endswith(REPLACE):
        return _replaced(data, encoding.removesuffix(REPLACE))
    if encoding is not None:
        return _as_told(data, encoding, at), None
    for mark, name in BOMS:
        if data.startswith(mark):
            marked = _strict(data, name, at).lstrip("\ufeff")
            return marked, None if name == "utf-8-sig" else name.upper()
    wide = _utf16_without_mark(data)
    if wide:
        return _strict(data, wide, at), wide.upper()
    if SHIFTS.search(data):
        raise DataError(f"{at}: it looks like ISO-2022; set data.encoding, as iso2022_jp")
    kind = next((kind for magic, kind in BINARY.items() if data.startswith(magic)), None)
    if kind:
        raise DataError(f"{at}: it is {kind}, not text; give it the ending that says so")
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError as error:
        text = _western(data)
        if text is None:
            raise DataError(f"{at}: {_line_of_error(data, error)}; {_advice(data)}") from error
        return text, f"cp1252 (line {_line(data, error)} is not UTF-8)"


def _replaced(data: bytes, encoding: str) -> tuple[str, str | None]:
    """The text with U+FFFD for what is not in its encoding, and how often, to be said."""
    text = data.decode(encoding, errors="replace").lstrip("\ufeff")
    count = text.count("\ufffd")
    return text, f"{count:,} places that are not {encoding}, now U+FFFD" if count else None


def _as_told(data: bytes, encoding: str, at: str) -> str:
    name = codecs.lookup(encoding).name
    if name == "utf-8":
        name = "utf-8-sig"
    elif name.startswith(("utf-16-", "utf-32-")) and data.startswith(tuple(m for m, _ in BOMS)):
        name = name[:6]
    return _strict(data, name, at)


def _strict(data: bytes, name: str, at: str) -> str:
    try:
        return data.decode(name)
    except UnicodeError as error:
        place = _line_of_error(data, error) if isinstance(error, UnicodeDecodeError) else str(error)
        also = f", or to utf-8{REPLACE}: U+FFFD for what is not" if name.startswith("utf-8") else ""
        raise DataError(
            f"{at}: cannot be read as {name.removesuffix('-sig')} ({place}); set data.encoding to "
            f"what it is written in{also}"
        ) from error


def _line_of_error(data: bytes, error: UnicodeDecodeError) -> str:
    line = _line(data, error)
    around = data[max(0, error.start - SHOWN) : error.start + SHOWN]
    return f"line {line} is not {error.encoding.upper()} (byte {error.start}, in {around!r})"


def _line(data: bytes, error: UnicodeDecodeError) -> int:
    """The line of the first byte that cannot be read."""
    return data.count(b"\n", 0, error.start) + 1


def _utf16_without_mark(data: bytes) -> str | None:
    """UTF-16 of mostly ASCII shows itself: every other byte is 0."""
    sample = data[:4096]
    half = len(sample) // 2
    if half < 4 or len(data) % 2:
        return None
    zeros = [sample[place::2].count(0) / half for place in (0, 1)]
    if zeros[1] > 0.8 and zeros[0] < 0.1:
        return "utf-16-le"
    return "utf-16-be" if zeros[0] > 0.8 and zeros[1] < 0.1 else None


def _western(data: bytes) -> str | None:
    """The bytes read as cp1252, or None where they may be something else."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return None
    foreign = re.findall(r"[^\x00-\x7f]+", text)
    letters = len(re.findall(r"[A-Za-z]", text))
    count = sum(map(len, foreign))
    wild = (
        set("".join(foreign)) - set(LETTERS + SIGNS)
        or {*"".join(foreign)} == {STRAY}
        or _SPLIT_WORD.search(text)
        or _CAPITAL_INSIDE.search(text)
        or _UTF8_INSIDE.search(data)
        or sum(len(run) > 2 for run in foreign)
        or count > letters / 4
        or all(re.search(part, text) for part in _SPREAD)
    )
    return None if wild else text


def _advice(data: bytes) -> str:
    """Which encoding it may be."""
    if _UTF8_INSIDE.search(data) and len(_UTF8_INSIDE.findall(data)) > 2 * _stray_bytes(data):
        return (
            "the rest is UTF-8, so mend that place, or set data.encoding to what it is written in, "
            f"or to utf-8{REPLACE}: U+FFFD for what is not"
        )
    runs = re.findall(rb"[\x80-\xff]+", data)
    alphabet_of_its_own = sum(map(len, runs)) > 2.5 * len(runs)
    likely = [n for n, good in _LIKELY if alphabet_of_its_own and _share(data, n, good) > 0.8]
    if {*runs} == {STRAY.encode("cp1252")}:
        return f"mend that place, or set data.encoding to utf-8{REPLACE} (U+FFFD for it) or cp1252"
    names = ", ".join(dict.fromkeys([*likely[:1], "cp1252", "cp1250", "cp1251", "gb18030"]))
    return f"set data.encoding to what it is written in, as {names}"


_LIKELY = (
    ("cp1251", r"[а-яё]"),  # noqa: RUF001
    ("koi8-r", r"[а-яё]"),  # noqa: RUF001
    ("euc-kr", r"[가-힣]"),
    ("shift_jis", r"[ぁ-ヿ一-鿿]"),
    ("euc-jp", r"[ぁ-ヿ]"),
    ("gb18030", r"[一-鿿]"),
    ("big5", r"[一-鿿]"),
    ("cp1253", r"[α-ωάέήίόύώ]"),  # noqa: RUF001
)


def _share(data: bytes, name: str, good: str) -> float:
    """The share of the foreign characters that are of the right kind."""
    try:
        foreign = re.sub(r"[\x00-\x7f]", "", data.decode(name))
    except UnicodeDecodeError:
        return 0.0
    return len(re.findall(good, foreign)) / max(1, len(foreign))


def _stray_bytes(data: bytes) -> int:
    """How many characters are no UTF-8."""
    return data.decode("utf-8", errors="replace").count("\ufffd")
