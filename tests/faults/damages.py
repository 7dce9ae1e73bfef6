"""Damages to the files of a workspace: bits flipped, files cut short, gone, emptied, exchanged."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Damage = Callable[[Path, Path], None]  # (file, a file of another artifact)


def _flip(share: float, bit: int) -> Damage:
    def damage(path: Path, other: Path) -> None:
        content = bytearray(path.read_bytes())
        content[min(len(content) - 1, int(share * len(content)))] ^= 1 << bit
        path.write_bytes(content)

    return damage


def _cut(share: float) -> Damage:
    def damage(path: Path, other: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: min(len(content) - 1, int(share * len(content)))])

    return damage


DAMAGES: dict[str, Damage] = {
    "first byte": _flip(0, 0),
    "second byte": _flip(0.001, 5),
    "a third": _flip(0.33, 2),
    "two thirds": _flip(0.67, 6),
    "last byte": _flip(1, 1),
    "half": _cut(0.5),
    "one byte less": _cut(1),
    "empty": lambda path, other: path.write_bytes(b"") and None,
    "gone": lambda path, other: path.unlink(),
    "another's": lambda path, other: path.write_bytes(other.read_bytes()) and None,
}


def kinds_of_files(workspace: Path) -> dict[str, tuple[Path, Path]]:
    """kind of file -> (a file of it, one of another artifact: of the same name if there is one)."""
    files = [
        path
        for path in sorted(workspace.glob("*-*/**/*"))
        if path.is_file() and path.stat().st_size
    ]
    found: dict[str, tuple[Path, Path]] = {}
    for path in files:
        artifact = path.relative_to(workspace).parts[0]
        name = path.relative_to(workspace / artifact).as_posix()
        others = [
            it for it in files if artifact not in it.parts and it.read_bytes() != path.read_bytes()
        ]
        alike = [it for it in others if it.name == path.name]
        kind = re.sub(r"\d{5}", "N", f"{artifact.split('-')[0]}/{name}")
        found.setdefault(kind, (path, (alike or others)[0]))
    return found


@contextmanager
def damaged(path: Path, other: Path, damage: Damage) -> Iterator[None]:
    """Within, the file is damaged."""
    content = path.read_bytes()
    damage(path, other)
    try:
        yield
    finally:
        path.write_bytes(content)
