"""The recipes, and the group entries of a user's own folder, as Hydra's choices.

They are read and checked here, and Hydra is handed what was checked: it looks into no folder of a
user's. So what a file there is named, or is changed to later, is no concern of a run's.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from distillkit.config import file_checks, paths, store
from distillkit.config.compose import load_yaml
from distillkit.config.store import RECIPE
from distillkit.errors import ConfigError

EVERY_RECIPE = "recipe=glob(*)"
SEARCH_PATH = re.compile(r"[+~]*hydra\.searchpath\b")
NOT_READ = ("run.yaml", "hydra")

_folder: Path | None = None


def user_folder() -> Path | None:
    """The folder of --config-dir, whose entries are registered."""
    return _folder


def use_folder(folder: Path | None) -> None:
    """Say which folder a run's entries are from, in a process that a launcher has started."""
    global _folder
    _folder = folder


def register(folder: Path | None = None, words: Iterable[str] = (EVERY_RECIPE,)) -> None:
    """Make the recipes and entries that words speak of, and what these choose, Hydra's choices.

    The others are not read: there are many, and a command that fails should fail at once. Raises
    `ConfigError` with all that these files may not say.
    """
    words = list(words)
    if any(SEARCH_PATH.match(word) for word in words):
        raise ConfigError(
            "hydra.searchpath: entries are read where --config-dir DIR says, and nowhere else"
        )
    if folder != _folder:
        store.clear()
        use_folder(folder)
    _check_folder(folder)
    files = {RECIPE: paths.recipe_files(folder), **paths.entries(folder)}
    pending, loaded = list(mentioned(words, files)), set[tuple[str, str]]()
    faults: list[str] = []
    while pending:
        group, name = pending.pop()
        if (group, name) in loaded or name not in files.get(group, {}):
            continue
        loaded.add((group, name))
        path = files[group][name]
        try:
            content = load(path, group)
        except ConfigError as error:
            faults += error.problems
            continue
        pending += file_checks.choices_in(content, "" if group == RECIPE else group)
        pending += mentioned(file_checks.words_of_phases(content), files)
        store.put(group, name, content, path)
    if faults:
        raise ConfigError(faults)


def load(path: Path, group: str) -> dict[str, Any]:
    """A recipe or an entry of a group as plain data; raises `ConfigError` for what it may not say.

    A recipe gives its run its own name.
    """
    content = load_yaml(path)
    if group == RECIPE:
        content.setdefault("run_name", path.stem)
    files = (
        file_checks.of_recipe(content) if group == RECIPE else file_checks.of_entry(content, group)
    )
    place = f"{path.parent.name}/{path.name}"
    faults = [f"{key}: {fault} (in {place})" for key, fault in files]
    if faults:
        raise ConfigError(faults)
    return content


def mentioned(
    words: Iterable[str], files: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """(group, entry) that words may choose: group=a, group=a,b and group=glob(*) among them."""
    for word in words:
        key, _, value = word.partition("=")
        group = key.lstrip("+").partition("@")[0]
        if group not in files:
            continue
        names = {value, value.strip("'\""), *re.split(r"[^\w.+-]+", value)}
        yield from ((group, name) for name in files[group] if "(" in value or name in names)


def _check_folder(folder: Path | None) -> None:
    """An entry with a name of ours, or a file for Hydra itself, would be passed over in silence."""
    if folder is None:
        return
    faults = [
        f"--config-dir: {folder / name} would not be read; a folder has recipes and entries of "
        "groups, and all else is set on the command line"
        for name in NOT_READ
        if (folder / name).exists()
    ]
    own = {group: dict.fromkeys(choices) for group, choices in paths.groups().items()}
    own[RECIPE] = dict.fromkeys(paths.recipe_files())
    users = {**paths.entries(folder), RECIPE: paths.recipe_files(folder, own=False)}
    for group, choices in users.items():
        for name in sorted(set(choices) & set(own.get(group, ()))):
            faults.append(
                f"{group}/{name}: {folder} has an entry of a name that distillkit has itself; give "
                "yours another name"
            )
    if faults:
        raise ConfigError(faults)
