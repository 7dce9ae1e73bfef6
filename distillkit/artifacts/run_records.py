"""Which artifacts a run made and used: a record a run in `<workspace>/.runs`, for its tidying up.

    .runs/<when>-<process>.json     the run's name, command, outputs and artifacts
    .runs/<when>-<process>.lock     held while the run is under way

A workspace that may only be read has none, and a run goes on without.
"""

import fcntl
import json
import os
import platform
import stat
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.artifacts import locks, permissions
from distillkit.console.progress import rank

FOLDER = ".runs"
LARGEST = 2**24  # bytes of a record; a larger one is none of ours
SAME_AS_HELD = 86_400  # seconds without a lock to ask in which a run counts as under way

_open: list["RunRecord"] = []  # of this process


class RunRecord:
    """The record of a run that is under way; the first process of several writes it."""

    def __init__(self, workspace: Path, name: str) -> None:
        folder, began = workspace / FOLDER, time.gmtime()
        stamp = f"{time.strftime('%Y%m%d-%H%M%S', began)}-{os.getpid()}-{len(_open)}"
        self._path, self._handle = folder / f"{stamp}.json", -1
        self._content: dict[str, Any] = {
            "run": name,
            "command": sys.argv[0],  # not its words, in which there may be a secret
            "output": None,
            "host": platform.node(),
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", began),
            "ended": None,
            "made": [],
            "used": [],
        }
        self._writes = not rank()

    def leave(self) -> None:
        """Write none: what only looks is no run."""
        self._writes = False

    def note(self, name: str, *, is_new: bool) -> None:
        """Add an artifact, by its name."""
        names = self._content["made" if is_new else "used"]
        if name not in names:
            names.append(name)
            if self._writes:
                self._write()

    @property
    def artifacts(self) -> dict[str, bool]:
        """The names of all so far, in their order: whether this run made it."""
        outputs = self._content["made"]
        return {name: name in outputs for name in [*self._content["used"], *outputs]}

    def reported(self, folder: Path) -> None:
        """The run has written a report."""
        if self._handle >= 0:
            self._content["output"] = str(folder.absolute())
            self._write()

    def close(self) -> None:
        """The run has ended."""
        if self._handle >= 0:
            self._content["ended"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._write()
            with suppress(OSError):
                self._path.with_suffix(".lock").unlink()
            os.close(self._handle)
            self._handle = -1

    def _write(self) -> None:
        try:
            if self._handle < 0:
                self._begin()
            permissions.write_shared(self._path, json.dumps(self._content, ensure_ascii=True))
        except OSError:  # may not be written, or is full: the run itself will say
            self._writes = False

    def _begin(self) -> None:
        sharing = permissions.make_folders(self._path.parent)
        lock = self._path.with_suffix(".lock")
        self._handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, sharing.file)
        permissions.apply(lock, sharing)
        with suppress(OSError):  # a disk without locks: the record's age tells
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _open.append(self)


def reported(folder: Path) -> None:
    """The runs of this process have written a report."""
    for record in _open:
        record.reported(folder)


def close_all() -> None:
    """End the records of this process."""
    while _open:
        _open.pop().close()


@dataclass(frozen=True, slots=True)
class Record:
    """What a record says; all of it is another's, and may be anything."""

    path: Path
    name: str
    command: str
    output: Path | None
    age: float  # seconds since it was last written
    is_under_way: bool
    outputs: frozenset[str]
    used: frozenset[str]

    @property
    def artifacts(self) -> frozenset[str]:
        """The names of all that the run had to do with."""
        return self.outputs | self.used

    def counts(self, days: float) -> bool:
        """Whether what it names is needed: it is under way, or recent and its outputs are there."""
        if self.is_under_way:
            return True
        is_gone = self.output is not None and not os.path.lexists(self.output)
        return self.age <= days * 86_400 and not is_gone


def read_all(workspace: Path) -> list[Record]:
    """The records of a workspace, the newest last; what is none is passed over."""
    records = []
    with suppress(OSError):
        for path in sorted((workspace / FOLDER).glob("*.json")):
            with suppress(OSError, ValueError, RecursionError):
                records.append(_read(path))
    return records


def _read(path: Path) -> Record:
    status = path.stat()
    if status.st_size > LARGEST or not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        raise ValueError(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(path)
    age = max(0.0, time.time() - status.st_mtime)
    output = content.get("output")
    is_here = content.get("host") == platform.node()  # another machine's folders are not seen
    return Record(
        path,
        str(content.get("run", "")),
        str(content.get("command", "")),
        Path(output) if isinstance(output, str) and is_here else None,
        age,
        content.get("ended") is None and _is_held(path.with_suffix(".lock"), age),
        _names(content.get("made")),
        _names(content.get("used")),
    )


def _names(value: Any) -> frozenset[str]:
    return (
        frozenset(name for name in value if isinstance(name, str))
        if isinstance(value, list)
        else _NO
    )


_NO: frozenset[str] = frozenset()


def _is_held(lock: Path, age: float) -> bool:
    """Whether a run holds its lock; where a disk has none, whether it wrote not long ago."""
    is_held = locks.is_held(lock)
    return age < SAME_AS_HELD if is_held is None else is_held
