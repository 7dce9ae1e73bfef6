"""Repositories as the hub has them: commits of files under names, tags and pull requests."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGE = (".safetensors", ".parquet", ".bin", ".h5", ".msgpack")  # in Git LFS, as on the hub


@dataclass(frozen=True)
class StoredFile:
    """One file of a commit."""

    content: bytes
    large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def blob_id(self) -> str:
        """Git's name of the file: of a large one that of its pointer."""
        text = self.content
        if self.large:
            text = b"version https://git-lfs\noid sha256:" + self.sha256.encode()
        return hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.blob_id

    def entry(self, path: str) -> dict[str, Any]:
        """The file as `tree` and `paths-info` list it."""
        large = {"oid": self.sha256, "size": len(self.content), "pointerSize": 134}
        listed = {"type": "file", "oid": self.blob_id, "size": len(self.content), "path": path}
        return listed | ({"lfs": large} if self.large else {})


Files = dict[str, StoredFile]


@dataclass
class Repository:
    """A model or data set: its commits by sha, and what its branches point to."""

    name: str
    kind: str  # models, datasets
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False  # wants a token, and that its user accepted the terms
    private: bool = False

    def commit(self, folder: Path | dict[str, bytes], ref: str = "main") -> str:
        """Make the files of a folder the newest commit of a branch; return its sha."""
        found = folder if isinstance(folder, dict) else read_folder(folder)
        files = {path: StoredFile(data, path.endswith(LARGE)) for path, data in found.items()}
        said = json.dumps([self.name, self.refs.get(ref), {p: f.etag for p, f in files.items()}])
        sha = hashlib.sha1(said.encode()).hexdigest()
        self.commits[sha] = files
        self.refs[ref] = sha
        return sha

    def sha(self, revision: str) -> str | None:
        """The commit of a branch, a tag, a pull request, or a sha."""
        if revision in self.commits:
            return revision
        return self.refs.get(revision)

    def info(self, sha: str, *, blobs: bool) -> dict[str, Any]:
        """What /api/models/NAME tells of a commit."""
        siblings: list[dict[str, Any]] = []
        for path, file in sorted(self.commits[sha].items()):
            siblings.append({"rfilename": path})
            if blobs:
                siblings[-1] |= {"size": len(file.content), "blobId": file.blob_id}
                if file.large:
                    siblings[-1]["lfs"] = {"sha256": file.sha256, "size": len(file.content)}
        return {
            "_id": sha[:24],
            "id": self.name,
            "modelId": self.name,
            "sha": sha,
            "private": self.private,
            "gated": "manual" if self.gated else False,
            "disabled": False,
            "tags": [],
            "downloads": 1,
            "likes": 0,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2022-03-02T23:29:04.000Z",
            "siblings": siblings,
        }

    def tree(self, sha: str, under: str, *, recursive: bool) -> list[dict[str, Any]]:
        """The files and folders below a folder."""
        prefix = f"{under.rstrip('/')}/" if under else ""
        listed: dict[str, dict[str, Any]] = {}
        for path, file in sorted(self.commits[sha].items()):
            if not path.startswith(prefix):
                continue
            *folders, _ = path.removeprefix(prefix).split("/")
            for depth in range(1, len(folders) + 1 if recursive else min(2, len(folders) + 1)):
                listed.setdefault(*_folder(prefix + "/".join(folders[:depth])))
            if recursive or not folders:
                listed[path] = file.entry(path)
        return list(listed.values())

    def paths_info(self, sha: str, paths: list[str]) -> list[dict[str, Any]]:
        """Those of the paths that there are."""
        files, found = self.commits[sha], []
        for path in (path.strip("/") for path in paths):
            if path in files:
                found.append(files[path].entry(path))
            elif any(name.startswith(f"{path}/") for name in files):
                found.append(_folder(path)[1])
        return found


def _folder(path: str) -> tuple[str, dict[str, Any]]:
    oid = hashlib.sha1(path.encode()).hexdigest()
    return path, {"type": "directory", "oid": oid, "size": 0, "path": path}


def read_folder(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
