"""Parts of an artifact that is being made, each claimed by one process at a time.

A claim is a lock (`locks`) on a small file with the name of its holder, in a folder beside what is
made. It ends with its process: on the same machine at once, on another one when the holder's signs
of life (`beats`) stay away, whether the disk's locks work across machines or not.
"""

import os
from contextlib import ExitStack, suppress
from pathlib import Path

from distillkit.artifacts import beats, locks, permissions
from distillkit.console.progress import warn

FOLDER = "claims"  # in the folder of what is being made
PATTERNS = (FOLDER,)  # of what does not belong to the artifact


class Claims:
    """The claims on what is made in a folder; those that this process holds end with `close`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._held: dict[str, ExitStack] = {}

    def open(self) -> None:
        """Make the folder of the claims: whoever leads the work does so before others come."""
        self._folder.mkdir(exist_ok=True)
        permissions.share(self._folder)

    def take(self, name: str) -> bool:
        """Claim a part; False where another process has it.

        Raises `FileNotFoundError` where the folder is not there: all is done, or nothing has begun.
        """
        path = self._folder / name
        if self._is_others(path):
            return False
        status = self._folder.stat()
        stack = ExitStack()
        try:
            stack.enter_context(
                locks.held_at_once(
                    path, mode=status.st_mode & 0o666, group=status.st_gid, tell=warn
                )
            )
        except locks.HeldError:
            return False
        beats.begin(path)
        self._held[name] = stack
        return True

    def release(self, name: str) -> None:
        """Give up a claim; its file goes."""
        path = self._folder / name
        beats.end(path)
        with self._held.pop(name), suppress(OSError):
            if locks.holder_of(path) == locks.myself():
                path.unlink()

    def close(self) -> None:
        """Give up all claims of this process."""
        for name in [*self._held]:
            self.release(name)

    def others(self) -> list[Path]:
        """The claims that other processes hold, as far as can be told."""
        with suppress(OSError):
            names = {locks.hard(Path(entry.path)) for entry in os.scandir(self._folder)}
            return [path for path in sorted(names) if path.name not in self._held and _lives(path)]
        return []

    def neighbours(self) -> set[int]:
        """The other processes of this machine that hold claims."""
        holders = [locks.holder_of(path) for path in self.others()]
        return {holder.pid for holder in holders if holder is not None and holder.is_here()}

    def _is_others(self, path: Path) -> bool:
        """Whether a living process of another machine has it; its lock may not be seen here."""
        holder = locks.holder_of(path)
        return holder is not None and not holder.is_here() and not beats.is_silent(path)


def _lives(path: Path) -> bool:
    """Whether a claim is somebody's."""
    holder = locks.holder_of(path)
    if holder is not None and not holder.is_here():
        return not beats.is_silent(path)
    return locks.is_held(path) is not False
