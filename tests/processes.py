"""Run something in two processes that train together, over gloo."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests import tiny
from tests.conftest import Result

# what `accelerate launch` sets for a config with `distributed_type: FSDP`, version 2
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
}
ROOT = Path(__file__).resolve().parents[1]


def steps_of_two_processes(module: str, model: Path, folder: Path) -> dict[tuple[str, str], Any]:
    """What `python -m module MODEL OUT` leaves in OUT as two processes."""
    import torch

    run_two(module, model, folder / "steps.pt")
    found: dict[tuple[str, str], Any] = torch.load(folder / "steps.pt")
    return found


def save_steps(found: dict[tuple[str, str], Any], path: str) -> None:
    """Write the steps that all ranks found, by the first of them, then leave the process group.

    A thread of gloo that is still at work while Python ends aborts the process.
    """
    import torch
    from accelerate import PartialState

    from distillkit.models.device import leave_process_group

    if PartialState(cpu=True).is_main_process:
        torch.save(found, path)
    leave_process_group()


def last_line(module: str, *words: str, minutes: float) -> str:
    """The last line on stderr of `python -m module words…`: a process of its own may fork."""
    result = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env=tiny.env(PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        timeout=60 * minutes,
    )
    assert result.returncode == 0, result.stderr[-6000:]
    return result.stderr.splitlines()[-1]


def run_two(module: str, *words: object, timeout: float = 120) -> None:
    """`python -m module words…` as ranks 0 and 1; fails with what either said on stderr."""
    run_ranks(module, *words, world=2, timeout=timeout)


def run_ranks(
    module: str, *words: object, world: int, timeout: float = 120, **environment: str
) -> None:
    """The same as so many ranks, with more variables."""
    command = [sys.executable, "-m", module, *map(str, words)]
    shared = {"ACCELERATE_USE_CPU": "true"} | environment
    ended = Ranks(command, ROOT, world=world, **shared).end(timeout)
    assert [it.code for it in ended] == [0] * world, "\n".join(it.err for it in ended)


class Ranks:
    """A command as so many processes, each told which it is by the variables that torchrun sets.

    `last` is what the last one runs instead.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        *,
        world: int = 2,
        last: Sequence[str] = (),
        **environment: str,
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        shared = {
            "WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "DISTILLKIT_MEETING_SECONDS": "240",  # on a busy machine
        }
        self.children = [
            subprocess.Popen(
                last if last and rank == world - 1 else command,
                cwd=cwd,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=tiny.env(**shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} | environment),
            )
            for rank in range(world)
        ]

    def end(self, timeout: float = 300) -> list[Result]:
        """How each ended, and what it said; those that outlive the timeout are killed."""
        late = time.monotonic() + timeout
        found = []
        try:
            for child in self.children:
                out, err = child.communicate(timeout=max(1.0, late - time.monotonic()))
                found.append(Result(child.returncode, out, err))
        finally:
            for child in self.children:
                child.kill()
                child.communicate()
        return found

    def kill_when(self, rank: int, cwd: Path, sign: str, number: int = signal.SIGKILL) -> bool:
        """Signal one once there is a path like `sign`; False if any ended first."""
        late = time.monotonic() + 300
        while time.monotonic() < late and all(it.poll() is None for it in self.children):
            if any(cwd.glob(sign)):
                os.kill(self.children[rank].pid, number)
                return True
            time.sleep(0.005)
        self.end(1)
        return False


def distillkit(*words: str, cwd: Path, world: int = 2, **environment: str) -> Ranks:
    """A command line of distillkit as several processes."""
    return Ranks(tiny.command(*words), cwd, world=world, **environment)


def torchrun(*words: str, cwd: Path) -> subprocess.Popen[str]:
    """A command line of distillkit as the README's words start it as two processes."""
    return launched("torchrun", *words, cwd=cwd)


def launched(launcher: str, *words: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """The same by any launcher that the README has a line of."""
    lines = (ROOT / "README.md").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{launcher} "))
    _, *rest = shlex.split(line, comments=True)
    options = rest[: rest.index("distillkit") + 1]
    return subprocess.Popen(
        [str(Path(sys.executable).parent / launcher), *options, *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=tiny.env(**{"DISTILLKIT_MEETING_SECONDS": "240"} | environment),
    )
