"""A folder a class, a text a file: pos/1.txt, neg/1.txt, or train/pos/1.txt, test/neg/1.txt.

Files may have no ending, as those of the 20 newsgroups: sci.space/59848.
"""

from pathlib import Path

from distillkit.data.sources import COLUMN_FILES, KINDS, suffix
from distillkit.data.split_folders import NO_DATA, WORDS, split_of

FEWEST = 2  # classes, and files of each
ENDINGS = (".txt", "")


def classes_of(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """split -> class -> its files, of a folder that is so built; nothing of another.

    A class is the folder below the split's, or else above it. Without splits all is `train`. Files
    that are in no class's folder are left out, as long as they are few.
    """
    files_by_class: dict[str, dict[str, list[Path]]] = {}
    loose = 0
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if not path.is_file() or any(part.startswith((".", "__")) for part in place.parts):
            continue
        if suffix(path) not in ENDINGS:
            if suffix(path) in {*KINDS, *COLUMN_FILES} and not NO_DATA.fullmatch(path.name):
                return {}  # a table
            continue
        if not suffix(path) and NO_DATA.fullmatch(path.name):
            continue
        split, name = _named(place.parts[:-1])
        if name is None:
            loose += 1
        else:
            files_by_class.setdefault(split or "", {}).setdefault(name, []).append(path)
    if len(files_by_class) > 1 and "" in files_by_class:
        loose += sum(map(len, files_by_class.pop("").values()))
    files = [paths for classes in files_by_class.values() for paths in classes.values()]
    names = {name for classes in files_by_class.values() for name in classes}
    is_so_built = (
        len(names) >= FEWEST
        and all(len(paths) >= FEWEST for paths in files)
        and loose < sum(map(len, files))
    )
    return (
        {split or "train": classes for split, classes in files_by_class.items()}
        if is_so_built
        else {}
    )


def of_split(folder: Path, split: str) -> dict[str, list[Path]]:
    """class -> its files of one split; of a folder that is the split's, all of them."""
    files_by_class = classes_of(folder)
    if {*files_by_class} == {"train"} and split_of(Path(folder.name)) == split:
        return files_by_class["train"]
    return files_by_class.get(split, {})


def _named(folders: tuple[str, ...]) -> tuple[str | None, str | None]:
    """(the split, the class) that the folders above a file name."""
    place = next((i for i, part in enumerate(folders) if _split(part)), None)
    if place is None:
        return None, folders[0] if folders else None
    below, above = folders[place + 1 :], folders[:place]
    name = below[0] if below else above[-1] if above else None
    return _split(folders[place]), name


def _split(name: str) -> str | None:
    return next((split for split, words in WORDS.items() if name.lower() in words), None)
