"""A zip of one data file is that file."""

import zipfile
import zlib
from pathlib import Path, PurePosixPath

from distillkit import limits
from distillkit.console.wording import brief, listed
from distillkit.errors import DataError

ENDING = ".zip"


def members(path: Path) -> list[str]:
    """The files in a zip, but for those that an archiver adds; none of what is no zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (OSError, zipfile.BadZipFile, ValueError):
        return []
    return [
        name
        for name in names
        if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
    ]


def only_member(path: Path) -> str | None:
    """The name of the one file in a zip; None where there are several, or none."""
    names = members(path) if path.suffix.lower() == ENDING else []
    return PurePosixPath(names[0]).name if len(names) == 1 else None


def read_only_member(path: Path, *, at: str) -> bytes:
    """The bytes of the one file in a zip; raises `DataError` for several, and for too many."""
    names, limit = members(path), limits.unpacked()
    if len(names) != 1:
        content = f"a zip of {len(names):,} files ({listed(names, limit=4)})" if names else "no zip"
        raise DataError(f"{at}: is {content}; unpack it, and name those that are to be read")
    try:
        with zipfile.ZipFile(path) as archive, archive.open(names[0]) as file:
            data = file.read(limit + 1)
    except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{at}: cannot be unpacked ({brief(error)})") from error
    if len(data) > limit:
        raise DataError(limits.too_large(at, f"more than {limits.in_words(limit)}"))
    return data
