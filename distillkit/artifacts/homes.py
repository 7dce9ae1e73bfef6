"""Folders that begin with ~: a user may have no home here, and a machine no such user."""

import os
from pathlib import Path

from distillkit.errors import WorkspaceError


def expanded(spec: str | Path) -> Path:
    """The path that a word spells, with the home folder for ~ where there is one."""
    try:
        return Path(spec).expanduser()
    except RuntimeError:  # ~somebody who is not known here; ~ of a user without an entry
        return Path(spec)


def workspace_folder(spec: str | Path) -> Path:
    """The folder of a workspace; raises `WorkspaceError` where it is in a home that is not known.

    As it stands it would be a folder of that very name in the current one.
    """
    path = expanded(spec)
    if path.parts[:1] and path.parts[0].startswith("~"):
        raise WorkspaceError(
            f"workspace = {spec}: {path.parts[0]} has no home here; write the folder out, from / on"
        )
    return path.absolute()


def users_cache() -> list[Path]:
    """The user's own folder for what was read and found whole; none where there is no home."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", ""))
    cache = folder if folder.is_absolute() else expanded("~/.cache")  # as its specification says
    return [cache / "distillkit" / "verified"] if cache.is_absolute() else []
