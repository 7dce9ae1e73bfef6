"""Removing things from a workspace: each vanishes in one step, or stays.

What is removed is renamed into `<workspace>/.trash` under the lock of its maker, and deleted there:
a removal that is broken off leaves no half of an artifact under its name.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from distillkit.artifacts import locks, permissions
from distillkit.artifacts.holdings import TRASH, Held, Holdings, locks_of
from distillkit.artifacts.os_errors import in_the_way
from distillkit.console.progress import warn
from distillkit.console.wording import listed, nearest
from distillkit.errors import WorkspaceError


class InUseError(WorkspaceError):
    """A command that runs has to do with what was to be removed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What `remove` was asked to remove: by name, and all of a sort."""

    names: tuple[str, ...] = ()
    unused: bool = False
    partial: bool = False
    damaged: bool = False
    earlier: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked for."""
        return not (self.names or self.unused or self.partial or self.damaged or self.earlier)


def chosen(holdings: Holdings, choice: Choice) -> list[Held]:
    """The things that are to be removed, in the order in which they may be.

    What needs others goes before them. Raises `WorkspaceError` for a name that is not there, and
    for what was named and is in use; what is in use is otherwise left out.
    """
    picked = [named(holdings, name) for name in choice.names]
    for it in picked:
        check_free(holdings, it)
    found = {it.path: it for it in picked}
    for it in holdings.held:
        if _is_wanted(it, choice) and not in_use(holdings, it):
            found[it.path] = it
    return sorted(found.values(), key=lambda it: (_order(it, holdings), it.name))


def _is_wanted(it: Held, choice: Choice) -> bool:
    return (
        (choice.unused and it.is_unused and not it.damage)
        or (choice.partial and it.group in ("partial", "rest"))
        or (choice.damaged and bool(it.damage))
        or (choice.earlier and it.is_earlier)
    )


def named(holdings: Holdings, name: str) -> Held:
    """The thing of this name, or of which the name begins so; what is foreign is not touched."""
    known = {it.name: it for it in holdings.held if it.group != "foreign"}
    begin = name.rstrip("/")  # as a shell completes a folder
    matching = [it for known_name, it in known.items() if begin and known_name.startswith(begin)]
    if begin in known or len(matching) == 1:
        return known.get(begin) or matching[0]
    if matching:
        raise WorkspaceError(f"{name}: begins {listed(it.name for it in matching)}; name one")
    if any(it.name == begin for it in holdings.of("foreign")):
        raise WorkspaceError(
            f"{name}: is not distillkit's own, and is not touched; remove it by hand"
        )
    how = "`distillkit workspace list` names all"
    hint = nearest(name, known, how=how) if known else "nothing is in it"
    raise WorkspaceError(f"{name}: not in {holdings.root}; {hint}")


def _order(it: Held, holdings: Holdings) -> int:
    """How far below others a thing is: what needs it has a smaller number."""
    needed_by = {held.name: held.needed_by for held in holdings.held}
    level, seen, above = 0, {it.name}, set(it.needed_by)
    while above:
        level += 1
        seen |= above
        above = {name for other in above for name in needed_by.get(other, ())} - seen
    return level


def in_use(holdings: Holdings, it: Held) -> str:
    """Who has to do with a thing now; empty if nobody."""
    running = [record for record in it.used_by if record.is_under_way]
    if it.group == "asset":  # nobody writes down which of them it reads
        running = [record for record in holdings.records if record.is_under_way]
    if running:
        return f"a run that is under way uses it ({running[0].name or running[0].command})"
    with suppress(OSError, WorkspaceError), _lock(holdings.root, it):
        return ""
    return "another command makes or removes it just now" if _is_locked(holdings.root, it) else ""


def check_free(holdings: Holdings, it: Held) -> None:
    """Raise `InUseError` if somebody has to do with it now."""
    why = in_use(holdings, it)
    if why:
        raise InUseError(f"{it.name}: {why}; wait until it has ended, or stop it")


def remove(root: Path, it: Held) -> bool:
    """Remove one thing; False where somebody else has done so, or has begun to use it.

    Raises `WorkspaceError` if it may not be removed, and then it is there as before.
    """
    try:
        with _lock(root, it):
            trash = root / TRASH
            permissions.make_folders(trash)
            place = it.path if it.path.parent == trash else _free(trash, it.path.name)
            if place != it.path:
                it.path.rename(place)
    except (FileNotFoundError, InUseError):
        return False
    except OSError as error:
        shut = in_the_way(error, root)
        raise WorkspaceError(
            f"{it.name}: cannot be removed: {shut}"
            if shut
            else f"{it.name}: cannot be removed ({error.strerror or error}); it is another user's, "
            f"or {root} may only be read"
        ) from error
    _delete(place)
    with suppress(OSError):
        trash.rmdir()
    return True


def free_locks(root: Path) -> list[Path]:
    """The files of locks that nobody holds."""
    every = [path for path in locks_of(root) if not path.is_symlink() and path.is_file()]
    return [path for path in every if locks.is_held(path) is False]


def remove_locks(root: Path) -> int:
    """Remove the files of locks that nobody holds; their number."""
    count = 0
    for path in locks_of(root):
        if not path.is_symlink() and path.is_file():
            with suppress(OSError, locks.HeldError), _held(root, path):
                # who waits for it finds that the file is gone, and makes another
                path.unlink()
                count += 1
    return count


def _held(root: Path, path: Path) -> AbstractContextManager[None]:
    """The lock of an artifact's maker, with the workspace's group and mode."""
    sharing = permissions.sharing_of(root)
    mode = sharing.top & 0o666
    return locks.held_at_once(path, mode=mode, group=sharing.group, tell=warn)


def _free(trash: Path, name: str) -> Path:
    number = 0
    while os.path.lexists(trash / f"{name}-{os.getpid()}-{number}"):
        number += 1
    return trash / f"{name}-{os.getpid()}-{number}"


def _delete(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        raise WorkspaceError(
            f"{path}: could not be deleted whole; what is left of it is used by nobody, and "
            "`distillkit workspace remove --partial` deletes it"
        )


@contextmanager
def _lock(root: Path, it: Held) -> Iterator[None]:
    """The lock of whoever makes the artifact; raises `InUseError` where another has it."""
    if it.group not in ("artifact", "partial"):
        yield
        return
    folder = root / ".locks"
    permissions.make_folders(folder)
    with ExitStack() as stack:
        try:
            stack.enter_context(_held(root, folder / f"{it.path.name}.lock"))
        except locks.HeldError as error:
            raise InUseError(
                f"{it.name}: another command makes or removes it just now ({error})"
            ) from error
        yield


def _is_locked(root: Path, it: Held) -> bool:
    try:
        with _lock(root, it):
            return False
    except InUseError:
        return True
    except OSError:
        return False  # the workspace may only be read: removing it will say so
