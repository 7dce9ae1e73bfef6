"""Errors of the operating system below a workspace, each as one line with a way out."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distillkit.artifacts import permissions
from distillkit.errors import DataError, DistillkitError, WorkspaceError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # numpy, which drops the number
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


@contextmanager
def guard(root: Path) -> Iterator[None]:
    """Turn a full disk or a closed folder into one line that names the workspace `root`."""
    try:
        yield
    except OSError as error:
        raise _explained(error, root) from error
    except Exception as error:
        # safetensors reports an OS error as text: "I/O error: No space left (os error 28)"
        for number in _FULL | {errno.EROFS, errno.EACCES}:
            if f"(os error {number})" in str(error):
                raise _explained(OSError(number, os.strerror(number)), root) from error
        raise


@contextmanager
def still_there(folder: Path) -> Iterator[None]:
    """Raise `WorkspaceError` if a folder is removed meanwhile, whatever else fails then.

    What libraries say has no number, or names a file of their own; and what was made before the
    removal would be missing in a folder that was made anew.
    """
    before = _identity(folder)
    try:
        yield
    except DistillkitError:
        raise
    except Exception as error:
        if _identity(folder) == before:
            raise
        raise _gone(folder) from error
    if _identity(folder) != before:
        raise _gone(folder)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _gone(folder: Path) -> WorkspaceError:
    gone = next((it for it in (*reversed(folder.parents), folder) if not it.is_dir()), folder)
    return WorkspaceError(
        f"{gone}: was removed, or is not reached any more, while the command worked in it; the "
        "same command makes anew what was there"
    )


def _explained(error: OSError, root: Path) -> Exception:
    place = f"workspace = {root}"
    if error.errno is None and _SHORT_WRITE.search(str(error)):
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if error.errno in _FULL:
        return WorkspaceError(
            f"{place}: {error.strerror} (the disk or quota is full); free some space, or set "
            "workspace=FOLDER on another disk. What was committed is kept: run the same "
            "command again"
        )
    if error.errno not in _CLOSED:
        return error
    path = Path(error.filename).absolute() if isinstance(error.filename, str) else root
    if not (path.is_relative_to(root) or root.is_relative_to(path)):
        return DataError(f"{error.filename}: {error.strerror}")
    if obstacle := in_the_way(error, root):
        return WorkspaceError(f"{obstacle}, or set workspace=FOLDER to another place")
    return WorkspaceError(
        f"{place}: {error.strerror}; set workspace=FOLDER, or DISTILLKIT_WORKSPACE, to a folder "
        "that can be written"
    )


def in_the_way(error: OSError, root: Path) -> str:
    """What in the workspace itself an error comes from, and what to do about it; else empty.

    That is a file in place of a folder, or a folder that is closed.
    """
    if not isinstance(error.filename, str) or error.errno not in (errno.ENOTDIR, errno.EACCES):
        return ""
    path = Path(error.filename).absolute()
    below = [folder for folder in (*reversed(path.parents), path) if root in folder.parents]
    for folder in below:
        if (
            os.path.lexists(folder)
            and not folder.is_dir()
            and (folder != path or error.errno == errno.ENOTDIR)
        ):
            return (
                f"{folder}: is no folder, and distillkit needs one there; remove it (rm '{folder}')"
            )
        if folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            is_own = folder.lstat().st_uid == os.geteuid()
            way = f"chmod u+rwx '{folder}'" if is_own else f"ask {permissions.owner(folder)}"
            return f"{folder}: is closed to this user; have it opened ({way})"
    return ""
