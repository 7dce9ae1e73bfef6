"""llama.cpp: where it is installed, and the process that runs a GGUF file.

It is a process of its own (`llama_worker.py`), by the C interface of the library that the package
xllamacpp brings: what stops it ends no run, and its memory can be told apart.
"""

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from distillkit.errors import ModelError
from distillkit.models.runtimes import llama_worker

PACKAGE, EXTRA = "xllamacpp", "gguf"


def library() -> Path | None:
    """The library with llama.cpp in it; None where the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = [Path(it) for it in (spec.submodule_search_locations or ())] if spec else []
    return next((file for it in folders for file in sorted(it.glob("xllamacpp*.so"))), None)


def runtime() -> str | None:
    """The name and version of what runs GGUF files; None where that is PyTorch."""
    if library() is None:
        return None
    try:
        return f"llama.cpp ({PACKAGE} {version(PACKAGE)})"
    except PackageNotFoundError:
        return f"llama.cpp ({PACKAGE})"


def in_runtime(digest: str) -> str:
    """A GGUF file's fingerprint, together with what runs it here, if that is llama.cpp."""
    return " ".join(filter(None, (digest, runtime())))


class Worker:
    """The process that runs llama.cpp; it ends with this object, or with this process."""

    def __init__(self, library: Path, file: Path, threads: int, *, at: str) -> None:
        self.at = at
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
        command = [sys.executable, "-P", llama_worker.__file__]
        self._process = subprocess.Popen(
            [*command, str(library), str(file.absolute()), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        weakref.finalize(self, _end, self._process, self._log)
        head, _ = self._read()
        self.rows, self.width, self.memory = head["rows"], head["width"], head["memory"]

    def outputs(self, rows: Sequence[Tensor], **options: bool) -> np.ndarray:
        """float32 [tokens, width] of rows of token ids; `options` are those of a request."""
        request = {"lengths": [len(row) for row in rows]} | options
        ids = torch.cat(list(rows)).to("cpu", torch.int32).numpy().tobytes()
        head, content = self._ask(request, ids)
        return np.frombuffer(content, np.float32).reshape(-1, head["width"])

    def peak(self) -> int:
        """The most bytes in use since it was asked before; the context's memory is given back."""
        head, _ = self._ask({"memory": True})
        return int(head["peak"])

    def _ask(
        self, request: Mapping[str, Any], ids: bytes = b""
    ) -> tuple[dict[str, Any], bytearray]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # why it ended is told where it is read
            self._process.stdin.write(json.dumps(request).encode() + b"\n" + ids)
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> tuple[dict[str, Any], bytearray]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        head: dict[str, Any] = json.loads(line) if line else {"error": self._last_words()}
        if "error" in head:
            raise ModelError(f"{self.at}: llama.cpp cannot run it ({head['error'][:300]})")
        content = bytearray(self._process.stdout.read(head["bytes"]))
        if len(content) < head["bytes"]:
            raise ModelError(f"{self.at}: llama.cpp cannot run it ({self._last_words()[:300]})")
        return head, content

    def _last_words(self) -> str:
        """Why the process ended, by its own words."""
        self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines()]
        lines = [line for line in lines if line]
        named = [line for line in lines if "error" in line.lower() or "ASSERT" in line]
        return (named or lines or [f"its process ended with status {self._process.returncode}"])[-1]


def _end(process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    """Close what a worker reads, which ends it."""
    for file in (process.stdin, process.stdout, log):
        with contextlib.suppress(OSError):
            assert file is not None
            file.close()
    process.wait()
