"""Drafts beside what is being written, of processes that were killed: the next one removes them.

Who writes a draft holds a lock of the kernel on it, which ends with the process.
"""

import fcntl
import glob
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distillkit.artifacts import permissions

YOUNGEST = 5.0  # seconds; a younger draft may be one whose lock is yet to be taken


@contextmanager
def marked(draft: Path) -> Iterator[None]:
    """Within, a folder, or a file, which is made if it is not there, is somebody's draft."""
    handle = -1
    try:
        with suppress(OSError):  # a disk without locks: such drafts stay
            make = 0 if draft.is_dir() else os.O_CREAT
            handle = os.open(draft, os.O_RDONLY | os.O_CLOEXEC | make, 0o666)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def remove_left(folder: Path, begin: str, end: str = "") -> None:
    """Remove the drafts in a folder that nobody writes any more, by how their names begin and end.

    Those of other users, and on disks without locks, stay.
    """
    for path in folder.glob(f"{glob.escape(begin)}*{glob.escape(end)}"):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            continue
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > YOUNGEST and _is_nobodys(path):
                permissions.delete(path)


def _is_nobodys(draft: Path) -> bool:
    handle = os.open(draft, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
