"""Folders that `datasets` reads as a whole: by a card, as a clone of the hub, or `save_to_disk`'s.

What a card or a record there names is a file of the folder, of those that its digest is made of: a
card may name any place of the machine or the network, and what lies there changes unseen.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from distillkit.console.wording import brief, first_line, listed
from distillkit.data.sources import files_sha256, is_hidden
from distillkit.data.split_folders import card
from distillkit.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

CARD, SPLITS = "README.md", "dataset_dict.json"
BESIDE_CARD = ".huggingface.yaml"  # says what a card says, and counts before it


def with_card(folder: Path, split: str, at: str, cache: Path) -> "Dataset":
    """A folder as the hub has it, whose README says which files are which split's."""
    from datasets import load_dataset_builder

    _check_card(folder, at)
    # datasets' own cache does not see that a file has changed
    tables = cache / "tables" / files_sha256(folder, folder.rglob("*"))[:16]
    try:
        builder = load_dataset_builder(str(folder), cache_dir=str(tables))
        files = getattr(builder.config, "data_files", None) or {}
        named = (Path(file) for files_of in files.values() for file in files_of)
        _check_inside(named, folder.resolve(), at, CARD)
        builder.download_and_prepare()
        return builder.as_dataset(split=split)
    except DataError:
        raise
    except Exception as error:  # builders' errors have no common base
        raise DataError(
            f"{at}: not a data set that can be read (split {split}: {first_line(error)})"
        ) from error


def saved(folder: Path, split: str, at: str) -> "Dataset":
    """What `save_to_disk` wrote: a data set, or several splits by name."""
    from datasets import DatasetDict, load_from_disk

    _check_inside(_files_of_record(folder), folder, at, "record (state.json)")
    try:
        dataset = load_from_disk(str(folder))
    except Exception as error:  # arrow's errors, json's and those of files have no common base
        raise DataError(f"{at}: cannot be read ({first_line(error)})") from error
    if isinstance(dataset, DatasetDict):
        if split not in dataset:
            raise DataError(
                f"{at}: it has no split {split}; it holds {listed(dataset)} (FOLDER#split=NAME "
                "takes one)"
            )
        dataset = dataset[split]
    return dataset


def _check_card(folder: Path, at: str) -> None:
    """Raise `DataError` where a card leads out of the folder, before anything is looked up."""
    if (folder / BESIDE_CARD).exists():
        raise DataError(
            f"{at}: its {BESIDE_CARD} counts before its {CARD}; write what it says into that, "
            "and remove it"
        )
    content = card(folder)
    configs = content.get("configs") if isinstance(content, dict) else None
    addresses = [text for text in _texts(configs) if "::" in text or "://" in text]
    # a place that is walked through before anybody sees which files it has
    elsewhere = [*addresses, *filter(_leads_out, _places(configs))]
    if elsewhere:
        raise DataError(
            f"{at}: its {CARD} names {brief(elsewhere[0], 100)} as data, which lies elsewhere; put "
            "it into the folder, and name it by its place there"
        )


def _places(configs: Any) -> Iterator[str]:
    """The folders and patterns of files that a card's configs name."""
    for config in configs if isinstance(configs, list) else [configs]:
        if isinstance(config, dict):
            yield from _texts([config.get("data_dir"), config.get("data_files")])


def _leads_out(place: str) -> bool:
    path = PurePosixPath(place)
    return path.is_absolute() or place.startswith("~") or ".." in path.parts


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def _files_of_record(folder: Path) -> Iterator[Path]:
    """The files that `save_to_disk`'s records name; those that cannot be read are told later."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        splits = [""]
        if (folder / SPLITS).is_file():
            splits = json.loads((folder / SPLITS).read_text(encoding="utf-8"))["splits"]
        for split in splits:
            record = folder / split / "state.json"
            yield record
            for file in json.loads(record.read_text(encoding="utf-8"))["_data_files"]:
                yield folder / split / file["filename"]


def _check_inside(files: Iterable[Path], folder: Path, at: str, owner: str) -> None:
    """Raise `DataError` for files other than those whose content decides the folder's digest."""
    own = {path for path in folder.rglob("*") if path.is_file() and not is_hidden(path, folder)}
    for file in files:
        if file not in own and file.exists():
            raise DataError(
                f"{at}: its {owner} names {brief(file, 100)} as data, which is hidden, behind a "
                "link, or outside of the folder; put the file into it"
            )
