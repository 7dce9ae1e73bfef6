"""Artifacts: what a stage made, named by the hash of all that decides its content.

    <workspace>/<kind>-<fingerprint>/manifest.json     complete, never written again
    <workspace>/.partial/<kind>-<fingerprint>/         being made; a killed run goes on here
    <workspace>/.locks/                                one maker at a time, across processes

An artifact is complete when, and only when, its folder stands under its own name: the work is
done in `.partial` and renamed at the end. Locks are held by the kernel (flock), so a killed run
leaves none behind.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from distillkit.errors import DataError, WorkspaceError
from distillkit.progress import rank, say

MANIFEST = "manifest.json"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # numpy, which drops the number
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """The name of what `inputs` decide: 16 hex digits of the sha256 of their canonical JSON."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_difference(expected: Any, found: Any, at: str = "") -> tuple[str, Any, Any] | None:
    """The first field in which two nested records differ: (field, expected, found)."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted({*expected, *found}):
            here = f"{at}.{key}" if at else str(key)
            difference = first_difference(expected.get(key), found.get(key), here)
            if difference:
                return difference
        return None
    return None if expected == found else (at, expected, found)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A complete artifact on disk."""

    kind: str
    fingerprint: str
    path: Path

    @property
    def name(self) -> str:
        """`<kind>-<fingerprint>`, its folder's name."""
        return f"{self.kind}-{self.fingerprint}"

    def manifest(self) -> dict[str, Any]:
        """What made it: `inputs`, and the `facts` that its stage found out."""
        return read_json(self.path / MANIFEST)

    def facts(self) -> dict[str, Any]:
        """What its stage found out while making it."""
        facts: dict[str, Any] = self.manifest()["facts"]
        return facts


class Workspace:
    """The folder that artifacts live in; may be shared by any number of runs and users."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().absolute()

    @property
    def assets(self) -> Path:
        """Where downloaded wheels and the files taken from them are kept."""
        return self.root / "assets"

    def check_writable(self) -> None:
        """Raise `WorkspaceError` now, rather than after an hour's work."""
        with self.guard():
            try:
                self.root.mkdir(parents=True, exist_ok=True)
            except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
                raise WorkspaceError(
                    f"workspace = {self.root}: no folder can be made there ({error.strerror}); set "
                    "workspace=FOLDER, or DISTILLKIT_WORKSPACE, to one that can be written"
                ) from error
            probe = self.root / f".probe-{os.getpid()}"
            probe.write_text("distillkit")
            probe.unlink()

    def find(self, kind: str, inputs: Mapping[str, Any]) -> Artifact | None:
        """The artifact that `inputs` decide, if it is there and complete."""
        artifact = self._named(kind, fingerprint(inputs))
        return artifact if (artifact.path / MANIFEST).is_file() else None

    def partial(self, kind: str, inputs: Mapping[str, Any]) -> Path:
        """Where the artifact is being made."""
        return self.root / ".partial" / f"{kind}-{fingerprint(inputs)}"

    def obtain(
        self,
        kind: str,
        inputs: Mapping[str, Any],
        make: Callable[[Path], Mapping[str, Any]],
        *,
        resumable: bool = False,
        collective: bool = False,
    ) -> Artifact:
        """Find the artifact, or `make` it: one process works, the others wait for it.

        `make(folder)` fills the folder and returns its facts. With `resumable` it finds there what
        a killed run left; without, it begins with an empty folder. With `collective` every process
        of a distributed run works in `make`, and the first one writes.
        """
        found = self.find(kind, inputs)
        if found:
            return found
        artifact = self._named(kind, fingerprint(inputs))
        if collective and rank():
            make(self.partial(kind, inputs))
            while not self.find(kind, inputs):
                time.sleep(0.1)
            return artifact
        with self.guard(), self._lock(artifact.name):
            found = self.find(kind, inputs)
            if found:
                return found
            folder = self.partial(kind, inputs)
            if folder.exists() and not resumable:
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
            for half in folder.rglob(".*.tmp"):  # of a killed run; the lock says nobody writes it
                half.unlink()
            facts = make(folder)
            write_json(
                folder / MANIFEST,
                {
                    "kind": kind,
                    "fingerprint": artifact.fingerprint,
                    "inputs": inputs,
                    "facts": facts,
                    "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                },
            )
            if artifact.path.exists():  # without a manifest: somebody began to remove it
                shutil.rmtree(artifact.path)
            commit(folder, artifact.path)
        return artifact

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn a full disk or a read-only folder into one line that names the workspace."""
        try:
            yield
        except OSError as error:
            raise self._explain(error) from error
        except Exception as error:
            # safetensors reports an OS error as text: "I/O error: No space left (os error 28)"
            for number in _FULL | {errno.EROFS, errno.EACCES}:
                if f"(os error {number})" in str(error):
                    raise self._explain(OSError(number, os.strerror(number))) from error
            raise

    def _explain(self, error: OSError) -> Exception:
        where = f"workspace = {self.root}"
        if error.errno is None and _SHORT_WRITE.search(str(error)):
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if error.errno in _FULL:
            return WorkspaceError(
                f"{where}: {error.strerror} (the disk or quota is full); free some space, or set "
                "workspace=FOLDER on another disk. What was committed is kept: run the same "
                "command again"
            )
        if error.errno in _CLOSED and self._is_elsewhere(error.filename):
            return DataError(f"{error.filename}: {error.strerror}")
        if error.errno in _CLOSED:
            return WorkspaceError(
                f"{where}: {error.strerror}; set workspace=FOLDER, or DISTILLKIT_WORKSPACE, to a "
                "folder that can be written"
            )
        return error

    def _is_elsewhere(self, name: Any) -> bool:
        if not isinstance(name, str):
            return False
        path = Path(name).absolute()
        return not (path.is_relative_to(self.root) or self.root.is_relative_to(path))

    def _named(self, kind: str, digest: str) -> Artifact:
        return Artifact(kind, digest, self.root / f"{kind}-{digest}")

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"{name}: another run is making it; waiting")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the whole new one, never a part."""
    with atomic(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name to write to, which becomes `path` (durably) when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def commit(folder: Path, final: Path) -> None:
    """Rename a finished folder to its own name, its content on disk before its name is."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)
    folder.rename(final)
    _sync(final.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
