"""How a run is killed, and what it has left when it was started again."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from tests import tiny


def weights(workspace: Path) -> dict[str, str]:
    """Every trained model's folder name and the sha256 of its weights."""
    found = {}
    for path in workspace.glob("*/manifest.json"):
        facts = json.loads(path.read_text())["facts"]
        if "weights_sha256" in facts:
            found[path.parent.name] = facts["weights_sha256"]
    return found


def kill_when(words: list[str], cwd: Path, sign: str) -> bool:
    """Start distillkit and SIGKILL it once there is a path like `sign`; False if it ended first."""
    process = subprocess.Popen(
        tiny.command("train", *words),
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=tiny.env(),
        start_new_session=True,
    )
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if any(cwd.glob(sign)):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.002)
    process.kill()
    process.wait()
    return False
