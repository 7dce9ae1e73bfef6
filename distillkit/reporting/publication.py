"""A student's folder on the Hugging Face hub: what goes there, whether it is whole, and its way."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.console.masking import masked
from distillkit.console.wording import first_line, size
from distillkit.data.sources import is_hidden, model_files
from distillkit.errors import ConfigError, DataError, ModelError
from distillkit.models.folders import check_folder

CARD, CONFIG = "README.md", "config.json"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
LOCAL_PATH = re.compile(r"(?<![\w/])(?:/(?:home|Users|root|tmp|mnt|data|work)/[^\s`'\",;)]+)")
WEIGHTS = ("*.safetensors", "*.onnx", "*.gguf")
LOG_IN = "log in first (`hf auth login`), or set HF_TOKEN to a token that may write"


@dataclass(frozen=True, slots=True)
class Publication:
    """Files of a folder for a repository, and what is worth a word before they go."""

    folder: Path
    repository: str
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(path.stat().st_size for path in self.files)

    def lines(self) -> Iterator[str]:
        """What goes, a line a file, and the notes."""
        for path in self.files:
            name = path.relative_to(self.folder).as_posix()
            yield f"  {name}  {size(path.stat().st_size)}"
        yield from (f"  note: {note}" for note in self.notes)


def publication(path: Path, repository: str) -> Publication:
    """What of a folder would go to a repository, owner/name.

    Raises `ConfigError`, `DataError` or `ModelError` for what is no complete model.
    """
    if not REPOSITORY.fullmatch(repository) or repository.endswith((".git", ".ipynb")):
        raise ConfigError(f"{repository}: no repository of the hub; write owner/name")
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; name that of a student")
    files = tuple(
        sorted(it for it in model_files(path) if it.is_file() and not is_hidden(it, path))
    )
    names = {it.name for it in files}
    if not any(it.match(pattern) for it in files for pattern in WEIGHTS):
        raise ModelError(
            f"{path}: no weights in it ({', '.join(WEIGHTS)}); name a student's folder"
        )
    outside = next((it for it in files if not it.resolve().is_relative_to(path.resolve())), None)
    if outside is not None:
        raise DataError(f"{path}: {outside.name} in it is a link to elsewhere; put the file there")
    if any(it.suffix == ".safetensors" for it in files):
        check_folder(str(path), key="publish")
    return Publication(path, repository, files, tuple(_notes(path, names)))


def _notes(path: Path, names: set[str]) -> Iterator[str]:
    """What a reader of the repository will miss, or what it tells of this machine."""
    if CARD not in names:
        yield f"no {CARD}: nobody will know what it is"
        return
    card = (path / CARD).read_text(encoding="utf-8", errors="replace")
    if not re.search(r"^license: (?!unknown$)", card, re.MULTILINE):
        yield f"{CARD} names no license: write `license: …` at its head, as teacher and data allow"
    if "model-index:" not in card:
        yield f"{CARD} has no model-index: the hub shows no figures of it"
    found = sorted({*LOCAL_PATH.findall(card)})
    if found:
        yield f"{CARD} names {len(found)} paths of this machine, as {found[0]}"
    if not names & {"tokenizer.json", "vocab.txt", "tokenizer.model"} and CONFIG in names:
        yield "no tokenizer: nobody can use it"


def publish(planned: Publication, *, private: bool, message: str) -> str:
    """Make the repository where there is none, and upload the files in one commit; its address.

    Raises `DataError` in one line, without the token, for all that the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(library_name="distillkit")
    with _refusals(planned.repository):
        address = api.create_repo(planned.repository, private=private, exist_ok=True)
        operations: list[Any] = [
            CommitOperationAdd(path.relative_to(planned.folder).as_posix(), str(path))
            for path in planned.files
        ]
        api.create_commit(planned.repository, operations, commit_message=message)
    return str(address)


@contextmanager
def _refusals(repository: str) -> Iterator[None]:
    """Turn what the hub or the network raises into one line."""
    try:
        yield
    except Exception as error:  # hub and network errors have no common base
        status = getattr(getattr(error, "response", None), "status_code", None)
        reasons = {
            401: LOG_IN,
            403: f"this token may not write to {repository}; {LOG_IN}",
            404: f"there is no such owner, or this token may not see it; {LOG_IN}",
            413: "a file is too large for the hub",
        }
        offline = type(error).__name__ in ("OfflineModeIsEnabled", "LocalTokenNotFoundError")
        reason = reasons.get(status or 0, first_line(error))
        if offline and "offline" in str(error).lower():
            reason = "HF_HUB_OFFLINE is set; unset it"
        elif offline:
            reason = LOG_IN
        raise DataError(f"publish {repository}: {masked(reason)}") from None
