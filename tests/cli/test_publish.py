"""`distillkit publish`: what goes to the hub, over a stand-in of the API that takes it."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.cli.runs import Finished, assert_refused
from tests.conftest import Distillkit

TOKEN = "hf_writes0123456789abcdefghijklmnopqrstuv"


class Taker:
    """A hub that takes uploads: `files` of each repository, and whether it is private."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.blobs: dict[str, bytes] = {}
        self.messages: list[str] = []
        self.url = ""

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        """(status, JSON) of a POST."""
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if asked["organization"] == "stranger":
                return 403, {"error": "You don't have the rights"}
            is_new = name not in self.files
            self.files.setdefault(name, {})
            self.private.setdefault(name, asked.get("visibility") == "private")
            return (200 if is_new else 409), {"url": f"{self.url}/{name}", "id": name, "name": name}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if "/preupload/" in path:
            names = [it["path"] for it in json.loads(body)["files"]]
            modes = {
                n: "lfs" if n.endswith((".safetensors", ".onnx")) else "regular" for n in names
            }
            return 200, {
                "files": [
                    {"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()
                ]
            }
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            return 200, {
                "transfer": "basic",
                "objects": [
                    {**it, "actions": {"upload": {"href": f"{self.url}/lfs/{it['oid']}"}}}
                    for it in objects
                ],
            }
        name = path.removeprefix("/api/models/").partition("/commit/")[0]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.messages.append(value["summary"])
            elif line["key"] == "file":
                self.files[name][value["path"]] = base64.b64decode(value["content"])
            else:
                self.files[name][value["path"]] = self.blobs[value["oid"]]
        return 200, {
            "success": True, "commitUrl": f"{self.url}/{name}/commit/abc", "commitOid": "a" * 40,
            "hookOutput": "",
        }  # fmt: skip


@pytest.fixture
def taker() -> Iterator[Taker]:
    hub = Taker()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _body(self) -> bytes:
            if "Content-Length" in self.headers:
                return self.rfile.read(int(self.headers["Content-Length"]))
            parts = []  # in chunks, each with its size before it
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _send(self, status: int, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            body = self._body()
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._send(401, {"error": "Invalid credentials"})
                return
            self._send(*hub.answer(self.path.partition("?")[0], body))

        def do_GET(self) -> None:
            self._send(404, {"error": "not here"})

        def do_PUT(self) -> None:
            body = self._body()
            oid = self.path.rpartition("/")[2]
            assert hashlib.sha256(body).hexdigest() == oid
            hub.blobs[oid] = body
            self._send(200, {})

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def environment(taker: Taker, tmp_path: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": taker.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """A student with a card, and what does not belong on a hub beside it."""
    folder = tiny.write_model(tmp_path / "student", labels=("bad", "good"))
    card = "---\nlicense: apache-2.0\nmodel-index:\n- name: x\n---\n# x\nof /home/ada/secret.csv\n"
    (folder / "README.md").write_text(card)
    (folder / ".cache").write_text("mine")
    (folder / "checkpoint-5").mkdir()
    (folder / "checkpoint-5" / "optimizer.safetensors").write_text("mine")
    return folder


WHOLE = {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
WHOLE |= {"tokenizer_config.json", "vocab.txt"}


def test_all_files_of_a_student_go_in_one_commit(
    student: Path, taker: Taker, environment: dict[str, str], tmp_path: Path
) -> None:
    words = ("publish", str(student), "ada/small", "--private", "--message", "The first one")
    for _ in ("new", "there already"):
        result = tiny.run(*words, cwd=tmp_path, **environment)
        assert result.returncode == 0, result.stderr
        assert set(taker.files["ada/small"]) == WHOLE
        for name, data in taker.files["ada/small"].items():
            assert data == (student / name).read_bytes(), name
        assert f"published: {taker.url}/ada/small" in result.stdout
        assert TOKEN not in result.stdout + result.stderr
    assert taker.private == {"ada/small": True}
    assert taker.messages == ["The first one"] * 2


def test_a_dry_run_shows_and_sends_nothing(
    student: Path, taker: Taker, environment: dict[str, str], tmp_path: Path
) -> None:
    words = ("publish", str(student), "ada/small", "--dry-run")
    result = tiny.run(*words, cwd=tmp_path, **environment)
    assert result.returncode == 0, result.stderr
    assert "6 files, " in result.stdout and "would go to ada/small" in result.stdout
    assert all(f"  {name}  " in result.stdout for name in WHOLE)
    assert "note: README.md names 1 paths of this machine, as /home/ada/secret.csv" in result.stdout
    assert taker.files == {}


@pytest.mark.parametrize(
    ("token", "repository", "says"),
    [
        ("hf_of_nobody_0123456789abcdefghijkl", "ada/small", "log in first (`hf auth login`)"),
        (TOKEN, "stranger/small", "this token may not write to stranger/small"),
    ],
)
def test_what_the_hub_refuses_is_one_line_without_the_token(
    student: Path, taker: Taker, environment: dict[str, str], tmp_path: Path,
    token: str, repository: str, says: str,
) -> None:  # fmt: skip
    words = ("publish", str(student), repository)
    result = tiny.run(*words, cwd=tmp_path, **environment | {"HF_TOKEN": token})
    assert result.returncode == 2
    (line,) = [it for it in result.stderr.splitlines() if it.startswith("distillkit:")]
    assert says in line
    assert token not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_what_is_no_student_is_refused_before_anything_is_sent(
    distillkit: Distillkit, student: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for words, part in (
        ((student, "noslash"), "noslash: no repository of the hub; write owner/name"),
        ((student, "a/b/c"), "a/b/c: no repository of the hub"),
        (("none", "a/b"), "none: no such folder"),
        (("empty", "a/b"), "empty: no weights in it"),
    ):
        assert_refused(distillkit("publish", *words, "--dry-run"), part)
    weights = student / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    line = assert_refused(distillkit("publish", student, "a/b", "--dry-run"), "model.safetensors")
    assert "bytes of" in line
    weights.unlink()
    weights.symlink_to("/etc/hostname")
    assert_refused(distillkit("publish", student, "a/b", "--dry-run"), "is a link to elsewhere")


def test_a_reports_student_is_complete(distillkit: Distillkit, finished: Finished) -> None:
    folder = next(finished.folder.glob("outputs/*/*/student"))
    result = distillkit("publish", folder.parent, "a/b", "--dry-run")
    assert result.code == 0, result.err
    names = {"README.md", "config.json", "distillkit.json", "model.safetensors", "tokenizer.json"}
    assert all(f"  {name}  " in result.out for name in names)
    assert "no model-index" not in result.out
    assert "no tokenizer" not in result.out
