"""What a workspace holds: artifacts, what is damaged, what was begun, what nothing needs.

Nothing here writes, and whatever lies in the folder is named: a workspace may be another user's.
"""

import calendar
import json
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from distillkit.artifacts.digests import Verifier, not_a_file
from distillkit.artifacts.inside import OWN
from distillkit.artifacts.run_records import Record, read_all
from distillkit.artifacts.versions import is_earlier, with_what_needs_them
from distillkit.artifacts.workspace import MANIFEST, Artifact, fingerprint
from distillkit.console.wording import brief
from distillkit.errors import WorkspaceError

TRASH = ".trash"
LARGEST = 2**28  # bytes of a manifest
DEEPEST = 4  # levels of inputs at which another artifact's inputs may be written out
_ARTIFACT = re.compile(r"([a-z][a-z_]*)-([0-9a-f]{16})")
_HEX = re.compile(r"[0-9a-f]{16,}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

Group = Literal["artifact", "partial", "asset", "rest", "foreign"]


@dataclass(frozen=True, slots=True)
class Held:
    """One thing in a workspace. `name` is what `remove` takes."""

    group: Group
    name: str
    path: Path
    size: int
    changed_at: float  # seconds since the epoch
    description: str = ""
    damage: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()  # the first 16 digits of all digests in what decides it
    needed_by: tuple[str, ...] = ()
    used_by: tuple[Record, ...] = ()  # runs that count: under way, or recent
    is_earlier: bool = False  # an earlier version's, or made of such a one: no run will use it

    @property
    def kind(self) -> str:
        """ "student" of `student-0123456789abcdef`; of what is no artifact its group."""
        return self.name.rpartition("-")[0] if self.group == "artifact" else self.group

    @property
    def is_unused(self) -> bool:
        """Whether no complete artifact and no recent run names it."""
        return self.group in ("artifact", "asset") and not (self.needed_by or self.used_by)

    @property
    def is_under_way(self) -> bool:
        """Whether a run that is under way has to do with it."""
        return any(record.is_under_way for record in self.used_by)


@dataclass(frozen=True, slots=True)
class Holdings:
    """All of a workspace."""

    root: Path
    entries: tuple[Held, ...]
    records: tuple[Record, ...] = ()

    def of(self, group: Group) -> list[Held]:
        """The things of one group."""
        return [entry for entry in self.entries if entry.group == group]


def look(root: Path, *, days: float, verifier: Verifier | None = None) -> Holdings:
    """What is in a workspace; `verifier` reads the files, without it names and sizes are looked at.

    Raises `WorkspaceError` if it is no folder that can be read.
    """
    try:
        files = sorted(os.scandir(root), key=lambda file: file.name)
    except OSError as error:
        raise WorkspaceError(
            f"workspace = {root}: {error.strerror}; set workspace=FOLDER, or DISTILLKIT_WORKSPACE, "
            "to a workspace that can be read"
        ) from error
    records = read_all(root)
    entries: list[Held] = []
    for file in files:
        if file.name in OWN and file.is_dir(follow_symlinks=False):
            continue
        entries.append(_top(Path(file.path), verifier or Verifier("never")))
    entries += [_partial(path) for path in _listed(root / ".partial")]
    entries += [
        _plain(path, "asset", f"assets/{path.name}", "downloaded, and unpacked")
        for path in _listed(root / "assets")
        if path.name != ".verified"
    ]
    entries += [
        _plain(path, "rest", f"{TRASH}/{path.name}", "of a removal that was broken off")
        for path in _listed(root / TRASH)
    ]
    counting = [record for record in records if record.counts(days)]
    whole = _related(entries, counting)
    return Holdings(root, tuple(whole), tuple(records))


def inputs_of(root: Path) -> dict[str, dict[str, Any]]:
    """The inputs of every artifact of which the manifest can be read, by its name."""
    by_name = {}
    for path in _listed(root):
        if _ARTIFACT.fullmatch(path.name):
            with suppress(OSError):
                inputs = _readable(path).get("inputs")
                if isinstance(inputs, dict):
                    by_name[path.name] = inputs
    return by_name


def locks_of(root: Path) -> list[Path]:
    """The files of locks, held or not."""
    return [path for path in _listed(root / ".locks") if path.suffix == ".lock"]


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files below a folder; what a link leads to is not counted."""
    total = 0
    for status in _statuses(path):
        if stat.S_ISREG(status.st_mode):
            total += status.st_size
    return total


def _statuses(path: Path) -> Iterator[os.stat_result]:
    """The status of all below a path; folders that cannot be read are passed over."""
    pending = [str(path)]
    while pending:
        folder = pending.pop()
        try:
            status = os.lstat(folder)
            yield status
            if stat.S_ISDIR(status.st_mode):
                with os.scandir(folder) as entries:
                    pending += [entry.path for entry in entries]
        except OSError:
            continue


def _listed(folder: Path) -> list[Path]:
    """What is in one of the workspace's own folders; a link in its place is not followed."""
    if folder.is_symlink():
        return []
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _top(path: Path, verifier: Verifier) -> Held:
    """Something right below the workspace: an artifact, or what is none."""
    match = _ARTIFACT.fullmatch(path.name)
    if match and path.is_dir():
        return _artifact(Artifact(match[1], match[2], path), verifier)
    if path.name.startswith(".probe-"):
        return _plain(path, "rest", path.name, "of a run that was killed at its start")
    kind_of_file = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "a file"
    return _plain(path, "foreign", path.name, f"{kind_of_file} that is no artifact")


def _plain(path: Path, group: Group, name: str, description: str) -> Held:
    return Held(group, name, path, size_of(path), _changed(path), description)


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return time.time()


def _partial(path: Path) -> Held:
    """What a run makes, or a killed one began; its age is that of the newest file in it."""
    newest = max((status.st_mtime for status in _statuses(path)), default=_changed(path))
    return Held(
        "partial", f".partial/{path.name}", path, size_of(path), newest, "begun; a run goes on here"
    )


def _artifact(artifact: Artifact, verifier: Verifier) -> Held:
    path = artifact.path
    holding = Held("artifact", artifact.name, path, size_of(path), _changed(path))
    if path.is_symlink():
        holding = replace(holding, description=f"a link to {path.readlink()}")
    try:
        damage = _unfit(path) or artifact.damage(verifier)
        manifest: Any = {} if damage else artifact.manifest()
    except (OSError, ValueError, WorkspaceError, RecursionError) as error:
        damage, manifest = [_reason(path, error)], {}
    if damage and not manifest:
        # what it needs is told of a record that can be read, whatever else is wrong
        manifest = _readable(path)
    description, changed_at = holding.description, holding.changed_at
    inputs = manifest.get("inputs")
    if isinstance(inputs, dict):
        description = "; ".join(filter(None, (description, described(artifact.kind, manifest))))
    created = manifest.get("created")
    if isinstance(created, str) and _TIME.fullmatch(created):
        changed_at = _seconds(created, changed_at)
    return replace(
        holding,
        description=description,
        changed_at=changed_at,
        damage=tuple(damage),
        needs=frozenset(digests(inputs)),
        is_earlier=isinstance(inputs, dict) and is_earlier(artifact.kind, inputs),
    )


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, WorkspaceError):
        return str(error).removeprefix(f"{path}: ").removeprefix(f"{path}/")
    why = error.strerror if isinstance(error, OSError) else brief(error, 80)
    return f"cannot be read ({why or type(error).__name__})"


def _unfit(path: Path) -> list[str]:
    """Why an artifact's manifest is not even opened."""
    manifest = path / MANIFEST
    fault = not_a_file(manifest)  # opening a pipe would wait for ever
    if fault:
        return [f"{MANIFEST}: {fault}"]
    size = manifest.stat().st_size
    return [f"{MANIFEST}: {size / 1e6:,.0f} MB, and none is so large"] if size > LARGEST else []


def _readable(path: Path) -> dict[str, Any]:
    """A manifest in which something is wrong, as far as it can be read."""
    with suppress(OSError, ValueError, RecursionError):
        if not _unfit(path):
            record = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            return record if isinstance(record, dict) else {}
    return {}


def _seconds(created: str, otherwise: float) -> float:
    try:
        return float(calendar.timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ")))
    except (ValueError, OverflowError):
        return otherwise


# what needs what


def digests(value: Any) -> Iterator[str]:
    """The first 16 digits of every digest in nested inputs, and the fingerprint of each record.

    Inputs name others by their fingerprints; a store's origin has the inputs of its text in full.
    """
    pending = [(value, 0)]
    while pending:
        part, depth = pending.pop()
        if isinstance(part, str):
            yield from (match[:16] for match in _HEX.findall(part))
        elif isinstance(part, list):
            pending += [(member, depth + 1) for member in part]
        elif isinstance(part, dict):
            pending += [(member, depth + 1) for member in part.values()]
            if depth <= DEEPEST:
                try:
                    yield fingerprint(part)
                except (RecursionError, ValueError, TypeError):
                    continue


def _related(entries: Iterable[Held], records: Iterable[Record]) -> list[Held]:
    all_entries = [*entries]
    users: dict[str, list[Record]] = {}
    for record in records:
        for name in record.artifacts:
            users.setdefault(name, []).append(record)
    needing: dict[str, list[str]] = {}
    for entry in all_entries:
        if entry.group == "artifact" and not entry.damage:
            for digest in entry.needs:
                needing.setdefault(digest, []).append(entry.name)
    artifacts = {
        entry.path.name.rpartition("-")[2]: entry
        for entry in all_entries
        if entry.group == "artifact"
    }
    own = [digest for digest, entry in artifacts.items() if entry.is_earlier]
    earlier = with_what_needs_them(
        own, {digest: entry.needs for digest, entry in artifacts.items()}
    )
    related = []
    for entry in all_entries:
        digest = entry.path.name.rpartition("-")[2][:16]
        needed_by = needing.get(digest, []) if entry.group in ("artifact", "asset") else []
        name = entry.path.name  # of a partial folder that of the artifact that it becomes
        by = tuple(sorted(user for user in needed_by if user != entry.name))
        related.append(
            replace(
                entry,
                needed_by=by,
                used_by=tuple(users.get(name, ())),
                is_earlier=entry.group == "artifact" and digest in earlier,
            )
        )
    return related


# in a few words


def described(kind: str, manifest: Mapping[str, Any]) -> str:
    """What made an artifact, out of its inputs; of whatever kind and shape they are."""
    inputs, facts = manifest.get("inputs"), manifest.get("facts")
    inputs = inputs if isinstance(inputs, dict) else {}
    facts = facts if isinstance(facts, dict) else {}
    words = [
        *_named(inputs, kind),
        _size_in(facts),
        f"seed {inputs['seed']}" if isinstance(inputs.get("seed"), int) else "",
    ]
    return ", ".join(brief(word, 60) for word in words if word)


def _named(inputs: Mapping[str, Any], kind: str) -> Iterator[str]:
    if kind in ("data", "transfer", "augmented"):
        yield str(inputs.get("kind", ""))
        sources = inputs.get("sources", inputs.get("source"))
        for source in sources.values() if isinstance(sources, dict) else [sources]:
            yield _source(source)
    elif kind == "tokens":
        yield f"of the {inputs.get('split')} texts"
    elif kind == "evaluation":
        models = inputs.get("models")
        yield f"of {', '.join(map(str, models))}" if isinstance(models, dict) else ""
    elif kind in ("student", "quantized"):
        yield "before training" if inputs.get("untrained") else _class(inputs.get("loss"))
        yield "in int8" if kind == "quantized" else ""
        yield _model(inputs.get("student"))
    elif kind == "compressed":
        yield str(inputs.get("format", ""))
    elif kind == "teacher":
        yield _source(inputs.get("body"))
    elif kind == "targets":
        codec = inputs.get("codec")
        yield str(codec.get("name", "")) if isinstance(codec, dict) else ""
    if isinstance(inputs.get("task"), str) and kind != "tokens":
        yield inputs["task"]


def _class(node: Any) -> str:
    target = node.get("_target_") if isinstance(node, dict) else None
    return str(target).rpartition(".")[2] if target else ""


def _model(student: Any) -> str:
    config = student.get("config") if isinstance(student, dict) else None
    return str(config.get("model_type", "")) if isinstance(config, dict) else ""


def _source(value: Any) -> str:
    """ "file 06cb73b", or what a source is called."""
    text = str(value or "")
    name, _, digest = text.partition(":")
    return f"{name} {digest[:7]}" if _HEX.match(digest) else text


def _size_in(facts: Mapping[str, Any]) -> str:
    counts = facts.get("counts")
    if isinstance(counts, dict):
        numbers = {k: v for k, v in counts.items() if isinstance(v, int)}
        return ", ".join(f"{count:,} {name}" for name, count in numbers.items())
    examples = facts.get("examples")
    return f"{examples:,} examples" if isinstance(examples, int) else ""
