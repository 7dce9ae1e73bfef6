"""Work on an artifact that another process makes: what of it is free is done by whoever waits."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from distillkit import stopping
from distillkit.errors import WorkspaceError

TakePart = Callable[[Path], bool]  # folder -> whether nothing of the work in it is left
LOOK = 0.2  # seconds between two looks at what another process makes


def shared_work(folder: Path, take_part: TakePart) -> bool:
    """Do what is free of what is made in a folder; whether nothing of it is left.

    Where the folder is gone meanwhile, the artifact is made, or removed: that is no error.
    """
    before = _identity(folder)
    if before is None or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return False  # not begun, or of another user, who does not share it
    try:
        with stopping.scope():
            return take_part(folder)
    except Exception:
        if _identity(folder) == before:
            raise
        return False


def remove_drafts(folder: Path) -> None:
    """Remove what is half written below a folder in which nobody else writes."""
    for pattern in (".*.tmp", ".tmp*"):  # our own, and those of safetensors
        for half in folder.rglob(pattern):
            half.unlink()


def not_shared(root: Path, name: str) -> WorkspaceError:
    """That the first process's artifact, or what it has of it, is not to be seen here."""
    return WorkspaceError(
        f"workspace = {root}: no {name} on {socket.gethostname()}, which the first process has "
        "there; set workspace=FOLDER to one that all machines share"
    )


def _identity(folder: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        status = folder.stat()
        return status.st_dev, status.st_ino
    return None
