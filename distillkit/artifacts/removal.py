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


def selection(holdings: Holdings, choice: Choice) -> list[Held]:
    """The things that are to be removed, in the order in which they may be.

    What needs others goes before them. Raises `WorkspaceError` for a name that is not there, and
    for what was named and is in use; what is in use is otherwise left out.
    """
    holdings_named = [named(holdings, name) for name in choice.names]
    for holding in holdings_named:
        check_free(holdings, holding)
    by_path = {holding.path: holding for holding in holdings_named}
    for holding in holdings.entries:
        if _is_wanted(holding, choice) and not in_use(holdings, holding):
            by_path[holding.path] = holding
    return sorted(by_path.values(), key=lambda holding: (_order(holding, holdings), holding.name))


def is_gone(holdings: Holdings, name: str) -> bool:
    """Whether an artifact of this whole name was here, and is not: a removal was broken off then.

    A run that made or used it says so, or the lock that its removal took.
    """
    plain = name.rstrip("/")
    if any(holding.name.startswith(plain) for holding in holdings.entries):
        return False
    locked = [path.stem for path in locks_of(holdings.root)]
    return plain in locked or any(plain in record.artifacts for record in holdings.records)


def _is_wanted(holding: Held, choice: Choice) -> bool:
    return (
        (choice.unused and holding.is_unused and not holding.damage)
        or (choice.partial and holding.group in ("partial", "rest"))
        or (choice.damaged and bool(holding.damage))
        or (choice.earlier and holding.is_earlier)
    )


def named(holdings: Holdings, name: str) -> Held:
    """The thing of this name, or of which the name begins so; what is foreign is not touched."""
    by_name = {holding.name: holding for holding in holdings.entries if holding.group != "foreign"}
    begin = name.rstrip("/")  # as a shell completes a folder
    matching = [
        holding for known_name, holding in by_name.items() if begin and known_name.startswith(begin)
    ]
    if begin in by_name or len(matching) == 1:
        return by_name.get(begin) or matching[0]
    if matching:
        raise WorkspaceError(
            f"{name}: begins {listed(holding.name for holding in matching)}; name one"
        )
    if any(holding.name == begin for holding in holdings.of("foreign")):
        raise WorkspaceError(
            f"{name}: is not distillkit's own, and is not touched; remove it by hand"
        )
    advice = "`distillkit workspace list` names all"
    hint = nearest(name, by_name, hint=advice) if by_name else "nothing is in it"
    raise WorkspaceError(f"{name}: not in {holdings.root}; {hint}")


def _order(holding: Held, holdings: Holdings) -> int:
    """How far below others a thing is: what needs it has a smaller number."""
    needed_by = {entry.name: entry.needed_by for entry in holdings.entries}
    level, visited, above = 0, {holding.name}, set(holding.needed_by)
    while above:
        level += 1
        visited |= above
        above = {name for user in above for name in needed_by.get(user, ())} - visited
    return level


def in_use(holdings: Holdings, holding: Held) -> str:
    """Who has to do with a thing now; empty if nobody."""
    running = [record for record in holding.used_by if record.is_under_way]
    if holding.group == "asset":  # nobody writes down which of them it reads
        running = [record for record in holdings.records if record.is_under_way]
    if running:
        return f"a run that is under way uses it ({running[0].name or running[0].command})"
    with suppress(OSError, WorkspaceError), _lock(holdings.root, holding):
        return ""
    return (
        "another command makes or removes it just now" if _is_locked(holdings.root, holding) else ""
    )


def check_free(holdings: Holdings, holding: Held) -> None:
    """Raise `InUseError` if somebody has to do with it now."""
    why = in_use(holdings, holding)
    if why:
        raise InUseError(f"{holding.name}: {why}; wait until it has ended, or stop it")


def remove(root: Path, holding: Held) -> bool:
    """Remove one thing; False where somebody else has done so, or has begun to use it.

    Raises `WorkspaceError` if it may not be removed, and then it is there as before.
    """
    try:
        with _lock(root, holding):
            trash = root / TRASH
            permissions.make_folders(trash)
            place = (
                holding.path if holding.path.parent == trash else _free(trash, holding.path.name)
            )
            if place != holding.path:
                holding.path.rename(place)
    except (FileNotFoundError, InUseError):
        return False
    except OSError as error:
        shut = in_the_way(error, root)
        raise WorkspaceError(
            f"{holding.name}: cannot be removed: {shut}"
            if shut
            else f"{holding.name}: cannot be removed ({error.strerror or error}); it is another "
            f"user's, or {root} may only be read"
        ) from error
    _delete(place)
    with suppress(OSError):
        trash.rmdir()
    return True


def free_locks(root: Path) -> list[Path]:
    """The files of locks that nobody holds."""
    paths = [path for path in locks_of(root) if not path.is_symlink() and path.is_file()]
    return [path for path in paths if locks.is_held(path) is False]


def remove_locks(root: Path) -> int:
    """Remove the files of locks that nobody holds; their number."""
    count = 0
    for path in locks_of(root):
        if not path.is_symlink() and path.is_file():
            with suppress(OSError, locks.HeldError), _hold_free(root, path):
                # who waits for it finds that the file is gone, and makes another
                path.unlink()
                count += 1
    return count


def _hold_free(root: Path, path: Path) -> AbstractContextManager[None]:
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
def _lock(root: Path, holding: Held) -> Iterator[None]:
    """The lock of whoever makes the artifact; raises `InUseError` where another has it."""
    if holding.group not in ("artifact", "partial"):
        yield
        return
    folder = root / ".locks"
    permissions.make_folders(folder)
    with ExitStack() as stack:
        try:
            stack.enter_context(_hold_free(root, folder / f"{holding.path.name}.lock"))
        except locks.HeldError as error:
            raise InUseError(
                f"{holding.name}: another command makes or removes it just now ({error})"
            ) from error
        yield


def _is_locked(root: Path, holding: Held) -> bool:
    try:
        with _lock(root, holding):
            return False
    except InUseError:
        return True
    except OSError:
        return False  # the workspace may only be read: removing it will say so
