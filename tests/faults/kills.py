"""How a run is killed, and what it has left when it was started again."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from distillkit.artifacts import locks
from tests import tiny


def weights(workspace: Path) -> dict[str, str]:
    """Every trained model's folder name and the sha256 of its weights."""
    found = {}
    for path in workspace.glob("*/manifest.json"):
        facts = json.loads(path.read_text())["facts"]
        if "weights_sha256" in facts:
            found[path.parent.name] = facts["weights_sha256"]
    return found


def made_elsewhere(lock: Path) -> AbstractContextManager[None]:
    """Within, somebody makes the artifact of a lock."""

    def never(text: str) -> None:
        raise AssertionError(text)

    return locks.hold(lock, mode=0o666, group=-1, waiting=never, tell=never)


Start = Callable[[list[str]], "subprocess.Popen[Any]"]


def kill_when(words: list[str], cwd: Path, sign: str, *, start: Start | None = None) -> bool:
    """Start distillkit and SIGKILL it once there is a path like `sign`; False if it ended first.

    `start` starts a command otherwise than in `cwd`, in a session of its own.
    """
    command = tiny.command("train", *words)
    process = start(command) if start else _started(command, cwd)
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if any(cwd.glob(sign)):
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(0.002)
    process.kill()
    process.communicate()
    return False


def _started(command: list[str], cwd: Path) -> "subprocess.Popen[Any]":
    return subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=tiny.env(),
        start_new_session=True,
    )
