"""Files that others may use: they get the group and the mode of the folder that is shared.

Whatever the user's umask is, and although some libraries write files for their owner alone. Below
a folder with the sticky bit (as /tmp) each user's files are his own to write.
"""

import errno
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_active: "Sharing | None" = None


@dataclass(frozen=True, slots=True)
class Sharing:
    """The group and the modes of what is made in a shared folder.

    `top` is the mode of a folder that all users make theirs in, `folder` that of such a one.
    """

    group: int
    top: int
    folder: int
    file: int


def sharing_of(folder: Path) -> Sharing:
    """The group and mode of a folder, as those of files and folders in it."""
    status = folder.stat()
    bits = status.st_mode & 0o777 | 0o700
    own = bits & ~0o022 if status.st_mode & stat.S_ISVTX else bits
    # a further user's files in it get the group from the folder
    setgid = stat.S_ISGID if own & 0o020 else status.st_mode & stat.S_ISGID
    top = bits | setgid | status.st_mode & stat.S_ISVTX
    return Sharing(status.st_gid, top, own | setgid, own & 0o666)


@contextmanager
def shared_like(folder: Path) -> Iterator[Sharing]:
    """Within, new files get the mode of a folder; `share` sees to those that did not."""
    global _active
    sharing, outer = sharing_of(folder), _active
    umask = os.umask(0o777 & ~sharing.folder)
    _active = sharing
    try:
        yield sharing
    finally:
        _active = outer
        os.umask(umask)


@contextmanager
def shared_below(folder: Path) -> Iterator[Sharing]:
    """The same as `shared_like` the first folder on the way up that is there."""
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    with shared_like(existing) as sharing:
        yield sharing


def make_shared(path: Path, *, top: bool = False) -> None:
    """The same, within `shared_like`."""
    assert _active is not None
    make_folder(path, _active, top=top)


def share(path: Path) -> None:
    """Give a file or folder the group and mode of what is shared, where something is."""
    if _active is not None:
        apply(path, _active)


def apply(path: Path, sharing: Sharing, *, top: bool = False) -> None:
    """Give a file or folder its group and mode, as far as its owner is this user."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return
    is_folder = stat.S_ISDIR(status.st_mode)
    mode = (sharing.top if top else sharing.folder) if is_folder else sharing.file
    with suppress(PermissionError):
        if status.st_gid != sharing.group:
            os.chown(path, -1, sharing.group)
    with suppress(PermissionError):
        if stat.S_IMODE(status.st_mode) != mode:
            path.chmod(mode)


def make_folder(path: Path, sharing: Sharing, *, top: bool = False) -> None:
    """Make a folder, with the group and mode of what is shared.

    Raises `NotADirectoryError` where something else has its name.
    """
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise no_folder(path) from None
        return
    apply(path, sharing, top=top)


def no_folder(path: Path) -> NotADirectoryError:
    """That a file, or whatever it is, stands in the place of a folder."""
    return NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def make_folders(path: Path) -> Sharing:
    """Make a folder that all users make theirs in, and those above it that are not there.

    Each has the group and mode of the first on the way up that is there; they are returned.
    """
    missing = []
    for folder in (path, *path.parents):
        if folder.is_dir():
            break
        missing.append(folder)
    sharing = sharing_of(folder)
    for folder_made in reversed(missing):
        make_folder(folder_made, sharing, top=True)
    return sharing


def write_shared(path: Path, text: str) -> None:
    """Write a file whole or not at all, with the group and mode of its folder, which is made.

    Raises `OSError` where that is not possible; it leaves nothing then.
    """
    sharing = make_folders(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        apply(temporary, sharing)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def delete(path: Path) -> None:
    """Delete a folder with all in it, or a file, pipe or link; what a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def take_over(folder: Path) -> Path | None:
    """Make what another user left in a folder usable; return a folder in it that is closed.

    A file that only its owner can use was not done: it is removed.
    """
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return folder
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            closed = take_over(path)
            if closed:
                return closed
        elif not os.access(path, os.R_OK | os.W_OK):
            path.unlink()
    return None


def owner(path: Path) -> str:
    """The name, or else the number, of the user that a file belongs to."""
    return user_name(path.lstat().st_uid)


def user_name(number: int) -> str:
    """The name of a user, or else the number."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
