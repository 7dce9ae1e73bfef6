"""How large what others wrote may grow, and where it ends; the environment alone raises a limit.

A recipe or a model folder cannot raise them: it is what they are there for.
"""

import os
import re
from pathlib import Path

from distillkit.errors import ConfigError

UNPACKED = "DISTILLKIT_MAX_UNPACKED"  # of a wheel or a packed file, once it is unpacked
MODEL = "DISTILLKIT_MAX_MODEL"  # of a model's weights in memory, as its config describes them
DEFAULT_UNPACKED = 4 * 10**9  # bytes
ADVISED = 20 * 10**9  # bytes, or more
BLOCK = 4096  # bytes that a file takes on a disk at least

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?)I?B?", re.IGNORECASE)


def is_of_system(path: Path) -> bool:
    """Whether a file is none, but what the system shows of itself: the environment is there."""
    return path.resolve().parts[1:2] in (("proc",), ("sys",))


def unpacked() -> int:
    """The most bytes that a packed file may unpack to."""
    return _of_environment(UNPACKED) or DEFAULT_UNPACKED


def model() -> int | None:
    """The most bytes of a model's weights that the user names; None: the memory decides."""
    return _of_environment(MODEL)


def too_large(at: str, size: str, *, minimum: int = 0) -> str:
    """That the file which `at` names unpacks to `size` (in words), and the way out.

    The limit that is advised takes the file, of which `minimum` bytes are known (0: it was given up
    at the present limit), or is five times the present one.
    """
    advised = max(ADVISED, minimum or 5 * unpacked())
    return (
        f"{at}: unpacks to {size}, where {in_words(unpacked())} is the limit; if you trust it and "
        f"have the room, set {UNPACKED} in the environment, as {UNPACKED}={-(-advised // 10**9)}G"
    )


def in_words(size: float) -> str:
    """A number of bytes as a message shows it."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:,.0f} bytes"


def _of_environment(name: str) -> int | None:
    """A variable's size in bytes; raises `ConfigError` for what is none."""
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if not size:
        raise ConfigError(f"{name} = {text}: must be a size above 0, as 500M, 20G or 1T")
    return size
