"""Run a module of the tests in two processes that train together, over gloo."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import tiny

ROOT = Path(__file__).resolve().parents[1]


def found_by_two(module: str, model: Path, folder: Path) -> dict[tuple[str, str], Any]:
    """What `python -m module MODEL OUT` leaves in OUT as two processes."""
    import torch

    run_two(module, model, folder / "steps.pt")
    found: dict[tuple[str, str], Any] = torch.load(folder / "steps.pt")
    return found


def run_two(module: str, *words: object, timeout: float = 120) -> None:
    """`python -m module words…` as ranks 0 and 1; fails with what either said on stderr."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-m", module, *map(str, words)]
    children = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            env=tiny.env(**shared, RANK=rank, LOCAL_RANK=rank, ACCELERATE_USE_CPU="true"),
        )
        for rank in "01"
    ]
    try:
        said = [child.communicate(timeout=timeout)[1] for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0], "\n".join(said)
