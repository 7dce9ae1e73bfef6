"""Which files of a folder are a split: by the word train, validation or test in their names."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from yaml import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    SafeLoader,
    YAMLError,
    parse,
    safe_load,
)

from distillkit.console.wording import listed
from distillkit.data.sources import COLUMN_FILES, KINDS, PROSE, suffix
from distillkit.errors import DataError

WORDS = {  # as `datasets` reads a folder
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
NO_DATA = re.compile(
    r"(readme|licen[cs]e|notice|requirements|asset|state|dataset_infos?|dataset_dict)\b.*", re.I
)
MOST_OF_CARD = 200_000  # values; that of a data set in a hundred languages has some 20,000
SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk writes


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote the folder."""
    return any((folder / name).is_file() for name in SAVED)


def is_whole(folder: Path) -> bool:
    """Whether `datasets` knows more of the folder than its files' names say."""
    return is_saved(folder) or has_card(folder)


def has_card(folder: Path) -> bool:
    """Whether a dataset card says which files are which split, as in a clone from the hub."""
    return bool(re.search(r"^configs:", _card(folder), re.MULTILINE))


def _card(folder: Path) -> str:
    """The YAML at the head of a folder's README; nothing where there is none."""
    card = folder / "README.md"
    if not card.is_file():
        return ""
    text = card.read_text(encoding="utf-8", errors="replace")
    head = re.match(r"---\n(.*?)\n---", text.replace("\r", ""), re.DOTALL)
    return head[1] if head else ""


def card(folder: Path) -> Any:
    """What a folder's card says, as plain data; None where that cannot be read.

    Raises `DataError` for one that stands for more than a card has.
    """
    text = _card(folder)
    try:
        _check_size(text, f"{folder / 'README.md'}")
        return safe_load(text)
    except (YAMLError, ValueError, RecursionError):
        return None


def _check_size(text: str, at: str) -> None:
    """Count the values of a YAML text, an alias as all that it stands for: a few lines can do."""
    total, sizes = 0, dict[str, int]()
    opened: list[tuple[str | None, int]] = []  # (anchor, values before it)
    for event in parse(text, SafeLoader):
        if isinstance(event, AliasEvent):
            total += sizes.get(str(event.anchor), 1)
        elif isinstance(event, CollectionStartEvent):
            opened.append((event.anchor, total))
        elif isinstance(event, CollectionEndEvent):
            anchor, before = opened.pop()
            sizes |= {anchor: total - before} if anchor else {}
        total += 1
        if total > MOST_OF_CARD:
            raise DataError(
                f"{at}: its head stands for more than {MOST_OF_CARD:,} values once its aliases are "
                "written out, and no card has as many; write less"
            )


def card_splits(folder: Path) -> set[str]:
    """The splits that a folder's card names files for, in its default configuration."""
    content = card(folder)
    configs = content.get("configs") if isinstance(content, dict) else None
    config_list = [c for c in configs if isinstance(c, dict)] if isinstance(configs, list) else []
    main = [c for c in config_list if c.get("default") or c.get("config_name") == "default"]
    files = (main or config_list)[0].get("data_files") if len(config_list) == 1 or main else None
    entries = files if isinstance(files, list) else []
    return {str(e["split"]) for e in entries if isinstance(e, dict) and "split" in e}


def splits(folder: Path) -> dict[str, list[Path]]:
    """The data files of a folder by split; all are `train` where no name says anything."""
    names = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and suffix(path) in {*KINDS, *COLUMN_FILES}
        and not NO_DATA.fullmatch(path.name)
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    ]
    names = names or _prose(folder)
    splits_found: dict[str, list[Path]] = {}
    for path in names:
        split = split_of(path.relative_to(folder))
        if split:
            splits_found.setdefault(split, []).append(path)
    return splits_found or ({"train": names} if names else {})


def _prose(folder: Path) -> list[Path]:
    """The files of a folder that are running text, where it has no others."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and suffix(path) in PROSE
        and not NO_DATA.fullmatch(path.name)
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    ]


def files_of(folder: Path, split: str, *, at: str) -> list[Path]:
    """The files of a split; raises `DataError` for none, or several kinds of them."""
    files_by_split = splits(folder)
    if {*files_by_split} == {"train"} and split_of(Path(folder.name)) == split:
        split = "train"  # the folder is the split's, and all of it is
    if split not in files_by_split:
        has = f"it holds {listed(files_by_split)}" if files_by_split else "it holds no data file"
        raise DataError(f"{at}: no file of this folder is of the split {split}; {has}")
    kinds = Counter(suffix(path) for path in files_by_split[split])
    if len(kinds) > 1:
        names = listed((path.name for path in files_by_split[split]), limit=4)
        raise DataError(f"{at}: its files are of several kinds ({names}); name those to be read")
    return files_by_split[split]


def split_of(path: Path) -> str | None:
    """The split that the file's name speaks of, or else a folder's above it."""
    for part in reversed(path.parts):
        words = set(re.split(r"[-._ 0-9]+", part.lower()))
        splits_found = [split for split, names in WORDS.items() if words & set(names)]
        if len(splits_found) == 1:
            return splits_found[0]
    return None
