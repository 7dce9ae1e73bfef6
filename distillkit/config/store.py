"""The entries that Hydra composes with beside our own files: what each says, in Hydra's store."""

import json
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

RECIPE = "recipe"

_contents: dict[tuple[str, str], str] = {}  # (group, name) -> what it says


def put(group: str, name: str, content: dict[str, Any], path: Path) -> None:
    """Make an entry, or a recipe, one of Hydra's choices; `path` is where it was read."""
    package = "_global_" if group == RECIPE else None
    ConfigStore.instance().store(
        group=group, name=name, node=content, package=package, provider=str(path)
    )
    _contents[group, name] = json.dumps(content, default=repr)  # the order of keys counts


def clear() -> None:
    """Take all entries out of Hydra's store."""
    repo = ConfigStore.instance().repo
    for group, name in _contents:
        if isinstance(repo.get(group), dict):
            repo[group].pop(f"{name}.yaml", None)
    _contents.clear()


def contents() -> frozenset[tuple[tuple[str, str], str]]:
    """All entries with what they say: whoever composes with the same ones has the same config."""
    return frozenset(_contents.items())
