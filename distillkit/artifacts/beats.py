"""Signs of life on a shared disk: who holds a file touches it every few seconds.

Whether a process of another machine lives cannot be asked. What counts is how often this process
looked in vain, not the clocks of two machines.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

EVERY = 5.0  # seconds between two touches
SILENT = 60.0  # seconds of looks in vain, after which whoever held it counts as gone

_touched: set[Path] = set()
_thread: threading.Thread | None = None
_changed = threading.Lock()
# path -> (what was seen, when it was looked at last, seconds of looks that saw nothing else)
_looks: dict[Path, tuple[tuple[int, int], float, float]] = {}


def begin(path: Path) -> None:
    """Touch a file of this process's from now on, until `end` or the end of the process."""
    global _thread
    with _changed:
        _touched.add(path)
        if _thread is None or not _thread.is_alive():  # the first one, or after a fork
            _thread = threading.Thread(target=_touch, name="beats", daemon=True)
            _thread.start()


def end(path: Path) -> None:
    """Touch it no more."""
    with _changed:
        _touched.discard(path)


def is_silent(path: Path) -> bool:
    """Whether nobody has touched a file for so long, as far as this process has looked.

    Two looks that are further apart than two touches count as if they were not.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # NFS: looks anew
    except OSError:
        _looks.pop(path, None)
        return False
    try:
        status = os.fstat(handle)
    finally:
        os.close(handle)
    state, now = (status.st_ino, status.st_mtime_ns), time.monotonic()
    before = _looks.get(path)
    if before is None or before[0] != state:
        _looks[path] = (state, now, 0.0)
        return False
    silent = before[2] + min(now - before[1], EVERY)
    _looks[path] = (state, now, silent)
    return silent >= SILENT


def _touch() -> None:
    pause = threading.Event()
    while not pause.wait(EVERY):
        with _changed:
            paths = [*_touched]
        for path in paths:
            with suppress(OSError):
                os.utime(path)
