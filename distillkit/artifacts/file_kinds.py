"""What stands in the place of a file: a file, or what must not be opened as one."""

import errno
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def not_a_file(path: Path) -> str:
    """What stands in a file's place, which must not be opened; "" where it is a file.

    A link is what it leads to. Raises `PermissionError` where that may not be seen.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except PermissionError:
        raise
    except OSError as error:
        if not path.is_symlink():
            return "missing"
        if error.errno == errno.ELOOP:
            return "is a link that leads back to itself, not a file"
        return f"is a link to {str(path.readlink())[:80]}, where nothing is"
    return "" if kind == stat.S_IFREG else f"is {_KINDS.get(kind, 'something else')}, not a file"
