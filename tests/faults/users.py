"""Children that run as other users of the machine; for a test that runs as root."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests import tiny

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sysconfig.get_path("purelib")
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
GROUP = 23456  # of those who share


@dataclass(frozen=True)
class User:
    """A user by number, with a home and a place for outputs; `groups` beside the own one."""

    number: int
    home: Path
    groups: tuple[int, ...] = ()
    umask: int = 0o022

    def start(self, command: list[str], **environment: str) -> subprocess.Popen[str]:
        """Start a command of Python's in the user's home."""
        return subprocess.Popen(
            [interpreter(), *command[1:]],
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=self.number,
            group=self.number,
            extra_groups=self.groups,
            umask=self.umask,
            start_new_session=True,
            env=tiny.env(
                HOME=str(self.home),
                PYTHONPATH=f"{ROOT}:{PACKAGES}",
                TMPDIR=str(self.home),
                **environment,
            ),
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run distillkit."""
        return self.call(tiny.command(*words))

    def call(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        process = self.start(command)
        try:
            out, err = process.communicate(timeout=200)
        finally:
            process.kill()
        return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextmanager
def commons() -> Iterator[Path]:
    """A folder that every user may look into."""
    folder = Path(tempfile.mkdtemp(prefix="distillkit-users-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def user(folder: Path, number: int, *groups: int, umask: int = 0o022) -> User:
    """A user with a home in `folder`."""
    home = folder / f"home-{number}"
    home.mkdir()
    os.chown(home, number, number)
    return User(number, home, groups, umask)


@cache
def interpreter() -> str:
    """This Python if all users can start it, or else the system's of the same version, or ""."""
    for path in (sys.executable, shutil.which(PYTHON, path="/usr/local/bin:/usr/bin")):
        with suppress(PermissionError):
            if (
                path
                and subprocess.run([path, "-V"], user=34567, group=34567, cwd="/").returncode == 0
            ):
                return path
    return ""


def why_not(folder: Path) -> str:
    """Why no other user can run distillkit here; empty if they can."""
    if os.geteuid():
        return "only root can start processes of other users"
    if not interpreter():
        return f"other users cannot start {sys.executable}"
    done = user(folder, 34567).call([sys.executable, "-c", "import distillkit.artifacts.workspace"])
    return "" if done.returncode == 0 else f"other users cannot read {ROOT} or {PACKAGES}"
