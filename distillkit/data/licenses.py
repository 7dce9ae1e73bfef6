"""What a model or data set is licensed under, as far as its card, its file or its package says."""

import email
import struct
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from distillkit.console.wording import brief
from distillkit.data import hub, wheels
from distillkit.data.hub import HubSource
from distillkit.data.sources import LocalSource, WheelSource, parse
from distillkit.data.split_folders import card
from distillkit.errors import DataError

LONGEST = 60  # characters of a name
NOTHING = ("", "none", "null", "unknown", "no license")  # what a card says that says nothing
# GGUF's metadata: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
OF_FILE = "general.license"
HEAD = 1 << 20  # bytes of a file that are looked at
STRING, ARRAY = 8, 9
NUMBERS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True, slots=True)
class License:
    """A license by the name that the hub has for it, as apache-2.0; None: nobody says which.

    `origin` is who says so, or where nothing is said.
    """

    name: str | None
    origin: str


def license_of(spec: str, *, key: str, cache: Path, repo_type: hub.RepoType = "model") -> License:
    """The license of a source: of its card, else of its GGUF file.

    The package that a file came in has a license of its own, which is told and not taken: its
    author may have written neither the texts nor the weights in it. Nothing is raised for what
    cannot be read, or for a hub that is out of reach.
    """
    with suppress(DataError, OSError):
        source = parse(spec, key=key)
        if isinstance(source, HubSource):
            file = hub.card_file(source, key=key, spec=spec, repo_type=repo_type)
            return _of_card(file.parent if file else None)
        if isinstance(source, LocalSource):
            return _of_path(source.path)
        path = wheels.take(source, cache=cache, key=key)
        found = _of_path(path)
        return found if found.name else _beside_package(source, cache, found)
    return License(None, "it cannot be read")


def _of_path(path: Path) -> License:
    if path.suffix == ".gguf" and path.is_file():
        return _of_gguf(path)
    if path.is_dir():
        return _of_card(path)
    return License(None, "a file without a card")


def _of_card(folder: Path | None) -> License:
    content = None
    if folder is not None:
        with suppress(DataError, OSError):
            content = card(folder)
    if not isinstance(content, dict):
        return License(None, "it has no card")
    name = _name(content.get("license"))
    if name and name.lower() == "other":
        name = _name(content.get("license_name")) or name
    return License(name, "its card" if name else "its card names none")


def _name(value: Any) -> str | None:
    """The name, or names, that a card gives; None where it gives none."""
    values = value if isinstance(value, list) else [value]
    names = [brief(it, LONGEST) for it in values if isinstance(it, str)]
    names = [name for name in names if name.strip().lower() not in NOTHING]
    return brief(" and ".join(dict.fromkeys(names)), LONGEST) or None


def _of_gguf(path: Path) -> License:
    """The license that a GGUF file names.

    Its metadata are read up to there alone: `gguf` reads all of the vocabulary, for seconds.
    """
    name = None
    with path.open("rb") as file, suppress(struct.error, UnicodeDecodeError):
        name = _name(_value_of(BytesIO(file.read(HEAD))))
    return License(name, "its file" if name else "its file names none")


def _value_of(file: BytesIO) -> Any:
    """The value of `OF_FILE` in the metadata of a GGUF file; None where it is not among them."""
    magic, _, _, count = struct.unpack("<4sIQQ", file.read(24))
    for _ in range(count if magic == b"GGUF" else 0):
        key, value = _string(file), _value(file, *struct.unpack("<I", file.read(4)))
        if key == OF_FILE:
            return value
    return None


def _value(file: BytesIO, kind: int) -> Any:
    if kind == STRING:
        return _string(file)
    if kind == ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        return [_value(file, inner) for _ in range(count)]
    if kind not in NUMBERS:
        raise struct.error(f"{kind} is no type of a value")
    return struct.unpack(f"<{NUMBERS[kind]}", file.read(struct.calcsize(NUMBERS[kind])))[0]


def _string(file: BytesIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > HEAD:
        raise struct.error("a string goes on beyond what was read")
    return file.read(length).decode()


def _beside_package(source: WheelSource, cache: Path, found: License) -> License:
    """The same, with what the metadata of the wheel say of the package."""
    files = cache / source.sha256[:16] / "files"
    for metadata in files.glob("*.dist-info/METADATA"):
        headers = email.message_from_string(metadata.read_text(encoding="utf-8", errors="replace"))
        name = _name(headers.get("License-Expression") or headers.get("License"))
        if name:
            return License(None, f"{found.origin}; its package is under {name}")
    return found
