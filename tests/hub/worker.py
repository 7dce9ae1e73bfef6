"""distillkit in a process of its own, which has the stand-in for the hub from its first import on.

One process runs many commands, so that torch and transformers are imported once.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from tests import tiny

if TYPE_CHECKING:
    from tests.conftest import Result

ROOT = Path(__file__).parents[2]


class Worker:
    """A running process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def run(self, folder: Path, *words: object, **changed: str) -> "Result":
        """Run a command line in `folder`, `HF_HUB_OFFLINE` or `HF_TOKEN` changed for it."""
        from tests.conftest import Result

        assert self.process.stdin and self.process.stdout
        asked = {"folder": str(folder), "words": [*map(str, words)], "changed": changed}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return Result(**json.loads(self.process.stdout.readline()))


@contextmanager
def worker(environment: Mapping[str, str]) -> Iterator[Worker]:
    """A process with this environment, ended with the block."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-c", "from tests.hub.worker import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=tiny.env(PYTHONPATH=path, **environment),
    )
    try:
        yield Worker(process)
    finally:
        assert process.stdin and process.stdout
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()


@contextmanager
def changed(variables: dict[str, str]) -> Iterator[None]:
    """Let variables have other values, also where libraries read them once, at their import."""
    import datasets
    import huggingface_hub

    with mock.patch.dict(os.environ, variables), contextlib.ExitStack() as stack:
        if "HF_HUB_OFFLINE" in variables:
            for module in (huggingface_hub.constants, datasets.config):
                off = variables["HF_HUB_OFFLINE"] == "1"
                stack.enter_context(mock.patch.object(module, "HF_HUB_OFFLINE", off))
        yield


def main() -> None:
    """Run each command line that is read, and write how it ended."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print stays out of the answers
    offline = os.environ["HF_HUB_OFFLINE"]
    from tests.cli.runs import run  # whose conftest shuts the hub off

    os.environ["HF_HUB_OFFLINE"] = offline
    for line in sys.stdin:
        asked = json.loads(line)
        with contextlib.suppress(BrokenPipeError), changed(asked["changed"]):
            done = run(Path(asked["folder"]), *asked["words"])
            answers.write(json.dumps({"code": done.code, "out": done.out, "err": done.err}) + "\n")
            answers.flush()
