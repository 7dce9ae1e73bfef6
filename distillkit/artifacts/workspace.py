"""Artifacts: what a stage made, named by the hash of all that decides its content.

    <workspace>/<kind>-<fingerprint>/manifest.json     complete, never written again
    <workspace>/.partial/<kind>-<fingerprint>/         being made; a killed run goes on here
    <workspace>/.locks/                                one maker at a time, across processes
    <workspace>/.verified/<session of a machine>/      what was read and found whole

An artifact is complete when, and only when, its folder stands under its own name: the work is
done in `.partial` and renamed at the end. Its manifest holds the size and the sha256 of each of its
files and a digest of itself, and all are verified before the artifact is used. What is written has
the workspace folder's group and mode: several users may share it.
"""

import errno
import json
import os
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial as bound
from pathlib import Path
from typing import Any

from distillkit import stopping
from distillkit.artifacts import locks, permissions
from distillkit.artifacts.claims import Claims
from distillkit.artifacts.digests import (
    VERSION,
    Mode,
    Verifier,
    fault_of,
    is_unrecorded,
    known_before,
    manifest_of,
    not_a_file,
    strays,
    trust,
)
from distillkit.artifacts.digests import fingerprint as fingerprint
from distillkit.artifacts.facts import fault_of_facts
from distillkit.artifacts.homes import users_cache, workspace_folder
from distillkit.artifacts.inside import MANIFEST as MANIFEST
from distillkit.artifacts.inside import artifact_around
from distillkit.artifacts.os_errors import guard, still_there
from distillkit.artifacts.shared_work import TakePart, not_shared, remove_drafts, shared_work
from distillkit.artifacts.timing import stopwatch
from distillkit.console.progress import say, warn, written_out
from distillkit.console.wording import brief
from distillkit.errors import WorkspaceError

SHARED_SOON = 90.0  # seconds until a network disk shows what another machine has written
_NO_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP}


def first_difference(expected: Any, actual: Any, at: str = "") -> tuple[str, Any, Any] | None:
    """The first field in which two nested records differ: (field, expected, found)."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key in sorted({*expected, *actual}):
            key_path = f"{at}.{key}" if at else str(key)
            difference = first_difference(expected.get(key), actual.get(key), key_path)
            if difference:
                return difference
        return None
    return None if expected == actual else (at, expected, actual)


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

    def damage(self, verifier: Verifier, *, scratch: Collection[str] = ()) -> list[str]:
        """One line for each thing in it that is not as it was made, the manifest first.

        `scratch` are patterns of files that may be there beside what the manifest lists. Of what an
        earlier version made, only what that recorded can be told. Raises
        `WorkspaceError` for what a newer version made, and for what may not be read.
        """
        try:
            return self._damage(verifier, scratch)
        except PermissionError as error:
            raise WorkspaceError(
                f"{error.filename}: cannot be read ({error.strerror}); ask whoever made it to let "
                "others read the workspace"
            ) from error

    def _damage(self, verifier: Verifier, scratch: Collection[str]) -> list[str]:
        not_file = not_a_file(self.path / MANIFEST)  # opening a pipe would wait for ever
        if not_file:
            return [f"{MANIFEST}: {not_file}"]
        try:
            manifest = self.manifest()
        except PermissionError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            return [f"{MANIFEST}: {type(error).__name__}: {brief(error)}"]
        fault = fault_of(manifest, kind=self.kind, digest=self.fingerprint)
        if fault:
            return [f"{MANIFEST}: {fault}"]
        if is_unrecorded(manifest):
            return verifier.damage(self.path, known_before(self.path, manifest))
        if manifest["version"] > VERSION:
            raise WorkspaceError(
                f"{self.path}: made by a newer distillkit (version {manifest['version']} of "
                f"{MANIFEST}; this one reads {VERSION}); use that one, or another workspace=FOLDER"
            )
        files = manifest["files"]
        extra = strays(self.path, files, leave_out=(MANIFEST, *scratch))
        lines = verifier.damage_so_far(self.path, files)
        return lines + [f"{name}: is not in its {MANIFEST}" for name in extra]

    def manifest(self) -> dict[str, Any]:
        """What made it: `inputs`, the `facts` that its stage found out, and its `files`."""
        return read_json(self.path / MANIFEST)

    def facts(self) -> dict[str, Any]:
        """What its stage found out while making it.

        Raises `WorkspaceError` where they are not those of its kind, whatever the digest says.
        """
        facts: dict[str, Any] = self.manifest()["facts"]
        fault = fault_of_facts(self.kind, facts)
        if fault:
            raise WorkspaceError(
                f"{self.path}: damaged: {MANIFEST}: facts.{fault}; remove it (`distillkit "
                f"workspace remove {self.name}`), and the same command makes it again"
            )
        return facts


class Workspace:
    """The folder that artifacts live in; may be shared by any number of runs and users.

    `verify` says when what is found is read and held against its manifest. For a damaged artifact
    `WorkspaceError` is raised; with `repair` it counts as not there, and is replaced when it is
    made. `others` are the kinds that another command makes, which this one leaves as they are.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        verify: Mode = "once",
        repair: bool = False,
        others: Collection[str] = (),
    ) -> None:
        self.root = workspace_folder(root)
        self.repair, self.others = repair, frozenset(others)
        caches = [self.root / ".verified", *users_cache()]
        self.verifier = Verifier(
            verify, caches, permissions.write_shared, defers=verify == "once" and not repair
        )
        self._closed: WorkspaceError | None = None  # why nothing can be written
        self._verified: dict[str, bool] = {}  # artifact's name -> whether it is whole

    @property
    def assets(self) -> Path:
        """Where downloaded wheels and the files taken from them are kept."""
        return self.root / "assets"

    def check_writable(self) -> None:
        """Raise `WorkspaceError` now, rather than after an hour's work.

        One that is there and is closed or full can be read: it is raised where something is made.
        """
        around = artifact_around(self.root)
        if around:
            raise WorkspaceError(
                f"workspace = {self.root}: lies in the artifact {around}; set workspace=FOLDER, or "
                "DISTILLKIT_WORKSPACE, to another place"
            )
        with self.guard():
            try:
                self.root.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                if error.errno not in _NO_PLACE:
                    raise
                raise WorkspaceError(
                    f"workspace = {brief(str(self.root))}: no folder can be made there "
                    f"({error.strerror}); set workspace=FOLDER, or DISTILLKIT_WORKSPACE, to one "
                    "that can be written"
                ) from error
        try:
            with self.guard():
                probe = self.root / f".probe-{socket.gethostname()}-{os.getpid()}"
                probe.write_text("distillkit")
                probe.unlink()
        except WorkspaceError as error:
            self._closed = error

    def find(self, kind: str, inputs: Mapping[str, Any]) -> Artifact | None:
        """The artifact that `inputs` decide, if it is there and complete.

        Raises `WorkspaceError` if it is damaged, unless its kind is made again.
        """
        artifact = self._named(kind, fingerprint(inputs))
        with self.guard():
            is_closed = artifact.path.is_dir() and not os.access(artifact.path, os.X_OK)
            if not is_closed and not_a_file(artifact.path / MANIFEST) == "missing":
                return None
        return artifact if self._is_whole(artifact) else None

    def is_damaged(self, kind: str, inputs: Mapping[str, Any]) -> bool:
        """Whether the artifact was looked for, was damaged, and is not made again yet."""
        return self._verified.get(f"{kind}-{fingerprint(inputs)}") is False

    def _is_whole(self, artifact: Artifact) -> bool:
        files = self._verified.get(artifact.name)
        if files:
            return True
        damaged = artifact.damage(self.verifier)
        self._verified[artifact.name] = not damaged
        if not damaged:
            if is_unrecorded(artifact.manifest()):
                warn(
                    f"{artifact.path}: made by an earlier version, which wrote no checksums; what "
                    "can be told of it is right. Remove the folder to have it made again"
                )
            return True
        suffix = f" (and {len(damaged) - 1:,} more)" if len(damaged) > 1 else ""
        line = f"{artifact.path}: damaged: {damaged[0]}{suffix}"
        if artifact.kind in self.others:
            raise WorkspaceError(
                f"{line}; `distillkit train` with the same arguments and --repair makes it again"
            )
        if not self.repair:
            raise WorkspaceError(f"{line}; the same command with --repair makes it again")
        if files is None:
            say(f"{line}; it is made again")
        return False

    def await_artifact(
        self, kind: str, inputs: Mapping[str, Any], seconds: float = SHARED_SOON
    ) -> Artifact:
        """The artifact, which another process of this run has made before.

        Raises `WorkspaceError` if it is not to be seen: the folder is not shared by all machines.
        """
        late = time.monotonic() + seconds
        while not (artifact := self.find(kind, inputs)):
            if time.monotonic() > late:
                raise not_shared(self.root, f"{kind}-{fingerprint(inputs)}")
            time.sleep(0.1)
        return artifact

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
        scratch: Collection[str] = (),
        take_part: TakePart | None = None,
    ) -> Artifact:
        """Find the artifact, or `make` it: one run works, the others wait for it, or take part.

        `make(folder)` fills the folder and returns its facts. With `resumable` it finds there what
        a killed run left; without, it begins with an empty folder. Files that a pattern of
        `scratch` fits are there to go on from, and go once the artifact is complete. Who waits
        calls `take_part(folder)` again and again, which does what is free to be done. Of the
        processes of one run the first alone comes here.
        """
        with stopping.scope():
            return self._obtained(
                kind, inputs, make, resumable=resumable, scratch=scratch, take_part=take_part
            )

    def _obtained(
        self,
        kind: str,
        inputs: Mapping[str, Any],
        make: Callable[[Path], Mapping[str, Any]],
        *,
        resumable: bool,
        scratch: Collection[str],
        take_part: TakePart | None,
    ) -> Artifact:
        stored = self.find(kind, inputs)
        if stored:
            return stored
        artifact = self._named(kind, fingerprint(inputs))
        if self._closed:
            raise self._closed
        shared, folder = permissions.shared_like(self.root), self.partial(kind, inputs)
        work = bound(shared_work, folder, take_part) if take_part else None
        with self.guard(), shared as sharing, self._lock(artifact.name, sharing, work):
            stored = self.find(kind, inputs)
            if stored:
                return stored
            if os.path.lexists(artifact.path) and not os.path.lexists(artifact.path / MANIFEST):
                say(f"{artifact.path}: damaged: {MANIFEST}: missing; it is made again")
            if folder.is_symlink():  # what it leads to is not ours to work in
                folder.unlink()
            if not self._is_complete(Artifact(kind, artifact.fingerprint, folder), scratch):
                folder = self._partial_folder(folder, sharing, resumable=resumable)
                with still_there(folder):
                    with stopwatch() as seconds:
                        facts, spent = make(folder), seconds()
                    stopping.hold()  # what is made is committed before a signal ends the run
                    sync_files(folder)
                    leave_out = (MANIFEST, *scratch)
                    manifest = manifest_of(
                        folder, kind, inputs, facts, leave_out=leave_out, seconds=spent
                    )
                    write_json(folder / MANIFEST, manifest)
            self._publish(folder, artifact, scratch)
        return artifact

    def _partial_folder(
        self, folder: Path, sharing: permissions.Sharing, *, resumable: bool
    ) -> Path:
        """The folder to work in, with what a killed run left there if that is of use."""
        permissions.make_folder(folder.parent, sharing, top=True)
        closed = permissions.take_over(folder) if folder.exists() else None
        if closed:
            user = permissions.owner(closed)
            raise WorkspaceError(
                f"{closed}: of a run of {user} that has not ended well, and closed to others; "
                f"{user} can run the same command or remove the folder, or set workspace=FOLDER to "
                "another one"
            )
        if folder.exists() and not resumable:
            permissions.delete(folder)
        permissions.make_folder(folder, sharing)
        if not Claims(folder).others():
            remove_drafts(folder)
        return folder

    def _is_complete(self, partial: Artifact, scratch: Collection[str]) -> bool:
        """Whether a run was killed just before it gave a complete artifact its name."""
        manifest = partial.path / MANIFEST
        if not os.path.lexists(manifest):
            return False
        damaged = partial.damage(Verifier("always"), scratch=scratch)
        if damaged:
            say(f"{partial.path}: damaged: {damaged[0]}; it is made again")
            permissions.delete(manifest)
        return not damaged

    def _publish(self, folder: Path, artifact: Artifact, scratch: Collection[str]) -> None:
        """Give a complete artifact its name; what a killed run would have gone on from goes."""
        for pattern in scratch:
            for path in folder.glob(pattern):
                permissions.delete(path)
        if os.path.lexists(artifact.path):  # damaged, or somebody began to remove it
            permissions.delete(artifact.path)
        commit(folder, artifact.path)
        trust(artifact.path, artifact.manifest()["files"])
        self._verified[artifact.name] = True

    def guard(self) -> AbstractContextManager[None]:
        """Turn a full disk or a read-only folder into one line that names the workspace."""
        return guard(self.root)

    def _named(self, kind: str, digest: str) -> Artifact:
        return Artifact(kind, digest, self.root / f"{kind}-{digest}")

    @contextmanager
    def _lock(
        self, name: str, sharing: permissions.Sharing, work: Callable[[], Any] | None = None
    ) -> Iterator[None]:
        folder = self.root / ".locks"
        permissions.make_folder(folder, sharing, top=True)
        mode = sharing.top & 0o666  # whoever may make artifacts may lock them
        with locks.hold(
            folder / f"{name}.lock",
            mode=mode,
            group=sharing.group,
            waiting=lambda holder: say(
                f"{name}: {holder} is making it; {'taking part' if work else 'waiting'}"
            ),
            tell=warn,
            meanwhile=work or (lambda: None),
        ):
            yield


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises `OSError` where there is none, or something else."""
    fault = not_a_file(path)  # opening a pipe would wait for ever
    if fault and fault != "missing":
        raise OSError(errno.EINVAL, fault, str(path))
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the whole new one, never a part.

    A terminal that is shown the file obeys nothing of it: JSON can write every character out.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False)
    with atomic(path) as temporary:
        temporary.write_text(written_out(text) + "\n", encoding="utf-8")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name to write to, which becomes `path` (durably) when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        permissions.share(temporary)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def commit(folder: Path, final: Path) -> None:
    """Rename a finished folder to its own name, its content on disk before its name is."""
    for path in [*folder.rglob("*"), folder]:
        permissions.share(path)
    sync_files(folder)
    folder.rename(final)
    _sync(final.parent)


def sync_files(folder: Path) -> None:
    """Return when all files below a folder are on disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
