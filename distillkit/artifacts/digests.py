"""What files hold, and whether they still do: sizes and sha256, and what was verified before.

A record of files is {relative name: {"size": bytes, "sha256": hex}}. A *sealed* record holds a
digest of the rest of itself, so that no part of it can change unseen.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeGuard, get_args

from distillkit.artifacts.file_kinds import not_a_file as not_a_file

Mode = Literal["always", "once", "never"]
MODES: tuple[Mode, ...] = get_args(Mode)
Files = Mapping[str, Mapping[str, Any]]
Signature = list[Any]  # size, mtime, inode, ctime and sha256 of a file when it was read

VERSION = 2  # of an artifact's manifest; 1 had no version, and recorded no files
DIGEST = "digest"
LARGE = 2**28  # bytes of a store's shards, from which they are verified as they are read
SHARD = "shard-*.arrow"
_THREADS, _MANY = 4, 2**25  # bytes, from which threads are worth their start
_DAYS = 30  # after which the cache of a machine's earlier session is removed
_ARTIFACT = re.compile(r"\w+-[0-9a-f]{16}")
_READ: dict[str, Signature] = {}  # by this process, whether or not it was as it should be
_VERIFIED: dict[str, Signature] = {}  # by this process


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    before = _signature(path)
    with path.open("rb") as file:
        current = hashlib.file_digest(file, "sha256").hexdigest()
    _READ[str(path)] = [*before, current]
    return current


def sha256_as_it_stands(path: Path) -> str:
    """The same; read once a process, as long as its size, times and inode stay as they are.

    A model's folder is asked for by every stage whose name hangs on it.
    """
    began = time.time_ns()
    before = _signature(path)
    signature = _VERIFIED.get(str(path), [])
    if signature[:-1] == before:
        return str(signature[-1])
    current = file_sha256(path)
    if _settled([*before, current], began) and _signature(path) == before:
        _VERIFIED[str(path)] = [*before, current]
    return current


def read_before(path: Path, sha256: str) -> None:
    """Take a file as hashed: this process has written it, or read it under another name."""
    _READ[str(path)] = [*_signature(path), sha256]


def digest_of(record: Mapping[str, Any]) -> str:
    """The sha256 of a record's canonical JSON, without its own digest."""
    fields = {key: value for key, value in record.items() if key != DIGEST}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as JSON gives it back, with its digest."""
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return {**plain, DIGEST: digest_of(plain)}


def is_sealed(record: Mapping[str, Any]) -> bool:
    """Whether the record is the one that was sealed."""
    return record.get(DIGEST) == digest_of(record)


def recorded(folder: Path, *, leave_out: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """The record of every file below a folder, but for those that a pattern of `leave_out` fits.

    What this process wrote and hashed already is not read again.
    """
    paths = {name: folder / name for name in _names(folder, leave_out)}
    unread = [path for path in paths.values() if not _is_read(path)]
    if sum(path.stat().st_size for path in unread) > _MANY:
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(file_sha256, unread))
    return {
        name: {
            "size": path.stat().st_size,
            "sha256": _READ[str(path)][-1] if _is_read(path) else file_sha256(path),
        }
        for name, path in paths.items()
    }


def trust(folder: Path, files: Files) -> None:
    """Take files as verified: this process has just written and hashed them."""
    time_now = time.time_ns()
    for name, record in files.items():
        signature = [*_signature(folder / name), record["sha256"]]
        if _settled(signature, time_now):
            _VERIFIED[str(folder / name)] = signature


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


class Verifier:
    """Holds files against their record.

    `always` reads every file once a process, `once` once in a machine's session (it remembers
    what it has read in the first of the `caches` folders that can be written), and `never` looks
    at names and sizes only. `write` writes such a file, and makes its folder. One that `defers`
    leaves the shards of a store of more than `LARGE` bytes to whoever reads them, each at its
    first reading.
    """

    def __init__(
        self,
        mode: Mode = "once",
        caches: Sequence[Path] = (),
        write: Callable[[Path, str], None] = _write,
        *,
        defers: bool = False,
    ) -> None:
        self.mode, self.caches, self._write = mode, tuple(caches), write
        self.defers = defers

    def damage(self, folder: Path, files: Files) -> list[str]:
        """One line for each file that is missing, cut short, altered or unreadable."""
        lines = {name: _difference(folder / name, record) for name, record in files.items()}
        if self.mode != "never":
            whole = [name for name, line in lines.items() if not line]
            lines |= self._check_files(folder, {name: files[name] for name in whole})
        return [f"{name}: {line}" for name, line in lines.items() if line]

    def damage_so_far(self, folder: Path, files: Files) -> list[str]:
        """The same, but that of deferred shards names and sizes are looked at alone."""
        later = deferred(files) if self.defers else {}
        now = {name: record for name, record in files.items() if name not in later}
        return Verifier("never").damage(folder, later) + self.damage(folder, now)

    def _check_files(self, folder: Path, files: Files) -> dict[str, str]:
        """name -> what is wrong, of the files that are not known to be whole."""
        signatures = _signatures(folder, files)
        unread, before = self._unread(folder, signatures)
        began = time.time_ns()
        current = dict(zip(unread, _hashed([folder / name for name in unread]), strict=True))
        differing = {
            name: f"cannot be read ({value[1:]})"
            if value.startswith("!")
            else "altered (its sha256 is not the one recorded)"
            for name, value in current.items()
            if value != files[name]["sha256"]
        }
        whole = {
            n: signature
            for n, signature in signatures.items()
            if n not in differing and _settled(signature, began)
        }
        _VERIFIED.update((str(folder / name), signature) for name, signature in whole.items())
        if self.mode == "once" and not whole.keys().isdisjoint(unread):
            self._remember(folder, before | whole)
        return differing

    def unread(self, folder: Path, files: Files) -> list[str]:
        """The names of the files that `damage` would read; all of them must be there."""
        return self._unread(folder, _signatures(folder, files))[0] if self.mode != "never" else []

    def remember(self, folder: Path, files: Files) -> None:
        """Keep for later processes that this one has read these files and found them whole."""
        signatures = _signatures(folder, files)
        whole = {n: s for n, s in signatures.items() if s == _VERIFIED.get(str(folder / n))}
        if self.mode == "once" and whole:
            self._remember(folder, self._remembered(folder) | whole)

    def _unread(
        self, folder: Path, signatures: Mapping[str, Signature]
    ) -> tuple[list[str], dict[str, Signature]]:
        """(names that no process of this session has read, what others remember of the folder)."""
        unread = [n for n, value in signatures.items() if value != _VERIFIED.get(str(folder / n))]
        before = self._remembered(folder) if unread and self.mode == "once" else {}
        return [name for name in unread if signatures[name] != before.get(name)], before

    def _remembered(self, folder: Path) -> dict[str, Signature]:
        signatures: dict[str, Signature] = {}
        for path in self._paths(folder):
            with contextlib.suppress(OSError, ValueError, RecursionError):
                if not_a_file(path):  # a pipe would be waited for
                    continue
                current = json.loads(path.read_text(encoding="utf-8"))
                signatures |= current if isinstance(current, dict) else {}
        return signatures

    def _remember(self, folder: Path, verified: dict[str, Signature]) -> None:
        for path in self._paths(folder):
            with contextlib.suppress(OSError):  # to be read only, or another user's
                is_new = not path.parent.is_dir()
                self._write(path, json.dumps(verified))
                if is_new:
                    _remove_old(path.parent)
                return

    def _paths(self, folder: Path) -> list[Path]:
        place = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:8]
        return [
            folder_of_cache / session() / f"{folder.name}-{place}.json"
            for folder_of_cache in self.caches
        ]


def deferred(files: Files) -> dict[str, Mapping[str, Any]]:
    """The shards of a target store, where they are too large to be read before they are needed."""
    shards = {
        name: record
        for name, record in files.items()
        if fnmatchcase(PurePosixPath(name).name, SHARD)
    }
    return shards if sum(record["size"] for record in shards.values()) > LARGE else {}


def place_of(path: Path) -> str:
    """The artifact that a file or folder belongs to, and where in it; outside of one "".

    Written into what a killed run leaves, it tells that from another artifact's.
    """
    for home in (path, *path.parents):
        if _ARTIFACT.fullmatch(home.name):
            return f"{home.name}/{path.relative_to(home).as_posix()}"
    return ""


def strays(folder: Path, files: Collection[str], *, leave_out: Collection[str] = ()) -> list[str]:
    """The files below a folder that no record names; names that begin with a dot do not count."""
    return [name for name in _names(folder, leave_out) if name not in files]


def are_files(record: Any) -> TypeGuard[Files]:
    """Whether `record` is a record of files, none of them outside of its folder."""
    return isinstance(record, Mapping) and all(
        isinstance(name, str)
        and _is_inside(name)
        and isinstance(file, Mapping)
        and type(file.get("size")) is int
        and isinstance(file.get("sha256"), str)
        for name, file in record.items()
    )


@cache
def session() -> str:
    """A name for the time since this machine was started."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    started = int(time.time() - time.monotonic()) // 60
    return f"{platform.node()}-{started}"


# manifests of artifacts


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """The name of what `inputs` decide: 16 hex digits of the sha256 of their canonical JSON."""
    inputs = json.loads(json.dumps(inputs))  # a key that is a number is sorted as text
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def manifest_of(
    folder: Path,
    kind: str,
    inputs: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    leave_out: Collection[str],
    seconds: float | None = None,
) -> dict[str, Any]:
    """The manifest of a folder that is complete, without the files that `leave_out` fits.

    `seconds` is how long it was made, without the artifacts that were made for it.
    """
    return sealed(
        {
            "version": VERSION,
            "kind": kind,
            "fingerprint": fingerprint(inputs),
            "inputs": inputs,
            "facts": facts,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **({} if seconds is None else {"seconds": round(seconds, 3)}),
            "files": recorded(folder, leave_out=leave_out),
        }
    )


def fault_of(manifest: Any, *, kind: str, digest: str) -> str | None:
    """What is wrong in the manifest of the artifact `kind`-`digest`; not of its files."""
    if not isinstance(manifest, dict):
        return "is no JSON object"
    if not is_unrecorded(manifest) and not is_sealed(manifest):
        return "altered (its digest is not that of its content)"
    match manifest:
        case {"inputs": dict(inputs), "facts": dict(), "kind": its_kind, "fingerprint": its_digest}:
            if (its_kind, its_digest) != (kind, digest):
                return f"is that of {its_kind}-{its_digest}"
            if fingerprint(inputs) != digest:
                return "altered (its inputs do not give its fingerprint)"
        case _:
            return "lacks some of kind, fingerprint, inputs and facts"
    if not is_unrecorded(manifest) and not (
        type(manifest.get("version")) is int and are_files(manifest.get("files"))
    ):
        return "has no version, or lists its files in a way that cannot be read"
    return None


def is_unrecorded(manifest: Mapping[str, Any]) -> bool:
    """Whether an earlier version made the artifact, and recorded no files."""
    return not manifest.keys() & {"version", "files", DIGEST}


def known_before(folder: Path, manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The files of which an earlier version wrote the sha256: a trained model's weights.

    A target store has its shards' in a record of its own, and is held against it when it is opened.
    """
    weights, facts = folder / "model" / "model.safetensors", manifest["facts"]
    if not isinstance(facts.get("weights_sha256"), str):
        return {}
    size = weights.stat().st_size if weights.is_file() else 0
    return {"model/model.safetensors": {"size": size, "sha256": facts["weights_sha256"]}}


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _names(folder: Path, leave_out: Collection[str] = ()) -> list[str]:
    """Every file below a folder as a relative name, but for those that begin with a dot."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    names = (
        path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)
    )
    return sorted(name for name in names if not _fits(name, leave_out))


def _fits(name: str, patterns: Collection[str]) -> bool:
    """Whether a pattern fits the file, or a folder that it is in."""
    path = PurePosixPath(name)
    places = [part.as_posix() for part in (path, *path.parents)]
    return any(fnmatchcase(place, pattern) for place in places for pattern in patterns)


def _difference(path: Path, record: Mapping[str, Any]) -> str:
    """What a look at the file's name and size shows to be wrong."""
    current = not_a_file(path)
    if current:
        return current
    size = path.stat().st_size
    return "" if size == record["size"] else f"{size:,} bytes, not {record['size']:,}"


def _hashed(paths: Sequence[Path]) -> Iterable[str]:
    """The sha256 of each file; of one that cannot be read "!" and why."""
    if len(paths) > 1 and sum(path.stat().st_size for path in paths) > _MANY:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(_sha256_or_reason, paths))
    return [_sha256_or_reason(path) for path in paths]


def _sha256_or_reason(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        return f"!{error.strerror}"


def _signature(path: Path) -> Signature:
    current = path.stat()
    return [current.st_size, current.st_mtime_ns, current.st_ino, current.st_ctime_ns]


def _signatures(folder: Path, files: Files) -> dict[str, Signature]:
    """What each file should be when it is whole, as it stands now."""
    return {n: [*_signature(folder / n), record["sha256"]] for n, record in files.items()}


def _is_read(path: Path) -> bool:
    """Whether this process has hashed the file as it is."""
    return _READ.get(str(path), [])[:-1] == _signature(path)


def _settled(signature: Signature, began: int) -> bool:
    """Whether a later change would show in the file's times.

    A clock of files ticks slowly: what was changed just before it was read may be changed again
    within the same tick.
    """
    changed = max(signature[1], signature[3])
    tick = 2_000_000_000 if changed % 1_000_000_000 == 0 else 20_000_000  # nanoseconds
    return bool(changed < began - tick)


def _remove_old(folder: Path) -> None:
    """Remove what other sessions left beside this one's folder a long time ago."""
    for sibling in folder.parent.iterdir():
        if sibling != folder and sibling.stat().st_mtime < time.time() - _DAYS * 86_400:
            shutil.rmtree(sibling, ignore_errors=True)
