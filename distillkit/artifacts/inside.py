"""What lies inside of an artifact: a file that is put there would count as damage."""

import os
import re
from pathlib import Path

from distillkit.errors import OutputError

MANIFEST = "manifest.json"
OWN = (".partial", ".locks", ".verified", ".runs", ".trash", "assets")  # folders of a workspace
_NAME = re.compile(r"[a-z][a-z_]*-[0-9a-f]{16}")


def artifact_around(path: Path, workspace: Path | None = None) -> Path | None:
    """The artifact, or one of a workspace's own folders, that a path is or lies in.

    In `workspace` an artifact that is not made yet counts, too. Links are followed.
    """
    root = Path(os.path.realpath(workspace)) if workspace else None
    real = Path(os.path.realpath(path))
    for place in (*reversed(real.parents), real):
        is_below = place.parent == root
        if is_below and (place.name in OWN or _NAME.fullmatch(place.name)):
            return place
        if _NAME.fullmatch(place.name) and (place / MANIFEST).is_file():
            return place
    return None


def check_outside(path: Path, key: str, workspace: Path | None = None) -> None:
    """Raise `OutputError` for a place for outputs, which `key` names, inside of an artifact."""
    around = artifact_around(path, workspace)
    if around:
        raise OutputError(
            f"{key}: lies in {around}, of a workspace, where nothing else is written; choose "
            "another place"
        )
