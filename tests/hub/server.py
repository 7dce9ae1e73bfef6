"""The hub's HTTP API as huggingface_hub and datasets use it, over repositories made for a test."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.repositories import Repository, StoredFile

TOKEN = "hf_stand_in"  # whose user accepted every gate's terms
STRANGER = "hf_stranger"  # a user who did not
WORDS = ("revision", "tree", "paths-info", "refs", "resolve")
ALIASES = {"glue": "nyu-mll/glue", "squad": "rajpurkar/squad", "gpt2": "openai-community/gpt2"}


class Hub:
    """What the server serves, what it was asked for, and whether it answers at all."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.makers: dict[tuple[str, str], Callable[[Repository], None]] = {}
        self.requests: list[tuple[str, str]] = []
        self.broken: int | None = None  # a status that every answer has
        self.gone = False  # True: connections end without an answer
        self.url = ""
        self._making = threading.RLock()

    def repository(self, kind: str, name: str) -> Repository:
        """A repository of models or datasets, new where there was none."""
        key = (kind, name)
        return self.repositories.setdefault(key, Repository(name, kind))

    def add(self, kind: str, name: str, make: Callable[[Repository], None]) -> None:
        """Promise a repository: it is made when it is first asked for."""
        self.makers[kind, name] = make

    def find(self, kind: str, name: str) -> Repository | None:
        """A repository, made if it was only promised."""
        with self._making:
            make = self.makers.pop((kind, name), None)
            if make:
                make(self.repository(kind, name))
            return self.repositories.get((kind, name))

    def environment(self, home: Path) -> dict[str, str]:
        """The variables of a process that takes this for the hub, its caches in `home`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_DATASETS_CACHE": str(home / "datasets"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_TOKEN": "",
            "NO_PROXY": "127.0.0.1",
        }


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Answer for the hub on a free port of this machine."""

    class Bound(Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    served: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def log_message(self, *_: Any) -> None:
        """Nothing: requests are kept in a list."""

    def answer(self) -> None:
        """Answer a request, and keep it."""
        hub, parts = self.served, urlsplit(self.path)
        given = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.requests.append((self.command, unquote(parts.path)))
        if hub.gone:
            self.close_connection = True
            return
        if hub.broken:
            self.send_text(hub.broken, b"out of order", {})
            return
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.of_repository([unquote(p) for p in parts.path.strip("/").split("/")], query, given)

    def of_repository(self, path: list[str], query: dict[str, str], given: bytes) -> None:
        """Find the repository and revision of a request, and what of it is asked for."""
        api = path[0] == "api"
        path = path[1:] if api else path
        kind = path.pop(0) if path[0] in ("models", "datasets") else "models"
        place = next((i for i, part in enumerate(path) if part in WORDS), len(path))
        name, word, rest = "/".join(path[:place]), path[place : place + 1], path[place + 1 :]
        if name in ALIASES:
            moved = self.path.replace(f"/{name}", f"/{ALIASES[name]}", 1)
            self.send_text(307, b"", {"Location": self.served.url + moved})
            return
        repository = self.served.find(kind, name)
        if repository is None or not (api or word):
            self.refuse(401 if not self.token else 404, "RepoNotFound", "Repository not found")
            return
        if repository.private and self.token != TOKEN:
            self.refuse(401 if not self.token else 404, "RepoNotFound", "Repository not found")
            return
        self.of_word(repository, word[0] if word else "", rest, query, given)

    def of_word(
        self, it: Repository, word: str, rest: list[str], query: dict[str, str], given: bytes
    ) -> None:
        """Answer about a repository that the asker may see."""
        if word == "refs":
            branches = [{"name": n, "ref": n, "targetCommit": sha} for n, sha in it.refs.items()]
            self.send_json({"branches": branches, "tags": [], "converts": []})
            return
        revision, below = _split_revision(it, rest) if rest else ("main", "")
        sha = it.sha(revision)
        if sha is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif it.gated and self.token != TOKEN and word in ("tree", "paths-info", "resolve"):
            status = 403 if self.token else 401
            self.refuse(status, "GatedRepo", f"Access to {it.kind} {it.name} is restricted.", sha)
        elif word == "tree":
            recursive = query.get("recursive", "").lower() in ("true", "1")
            self.send_json(it.tree(sha, below, recursive=recursive))
        elif word == "paths-info":
            self.send_json(it.paths_info(sha, _paths(given, self.headers["Content-Type"] or "")))
        elif word == "resolve":
            self.send_file(it.commits[sha].get(below), sha)
        else:
            self.send_json(it.info(sha, blobs=query.get("blobs", "").lower() in ("true", "1")))

    @property
    def token(self) -> str:
        """The token that came with the request."""
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip()

    def refuse(self, status: int, code: str, message: str, sha: str = "") -> None:
        """An error as the hub sends it."""
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        headers |= {"X-Repo-Commit": sha} if sha else {}
        text = json.dumps({"error": message}).encode()
        self.send_text(status, text, headers)

    def send_json(self, content: Any) -> None:
        """An answer of the API."""
        text = json.dumps(content).encode()
        self.send_text(200, text, {"Content-Type": "application/json"})

    def send_file(self, file: StoredFile | None, sha: str) -> None:
        """A file of a commit, or the part of it that is asked for."""
        if file is None:
            self.refuse(404, "EntryNotFound", "Entry not found", sha)
            return
        headers = {"X-Repo-Commit": sha, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if file.large:  # the hub sends on to another host with these; here it has the file itself
            headers["X-Linked-Etag"] = f'"{file.sha256}"'
            headers["X-Linked-Size"] = str(len(file.content))
        asked, size = self.headers.get("Range", ""), len(file.content)
        if not asked.startswith("bytes="):
            self.send_text(200, file.content, headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), int(last or size - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
        self.send_text(206, file.content[start : end + 1], headers)

    def send_text(self, status: int, text: bytes, headers: dict[str, str]) -> None:
        """The bytes of an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)


def _split_revision(it: Repository, rest: list[str]) -> tuple[str, str]:
    """(the revision, what stands below it): a revision such as refs/pr/1 has slashes of its own."""
    for length in range(len(rest), 0, -1):
        if it.sha("/".join(rest[:length])):
            return "/".join(rest[:length]), "/".join(rest[length:])
    return rest[0], "/".join(rest[1:])


def _paths(given: bytes, kind: str) -> list[str]:
    if "json" in kind:
        paths = json.loads(given)["paths"]
        return [paths] if isinstance(paths, str) else list(paths)
    return parse_qs(given.decode()).get("paths", [])
