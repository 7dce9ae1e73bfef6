"""What `predict` and `generate` have in common: the student, texts on stdin, the file to write."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distillkit.artifacts.homes import expanded
from distillkit.cli.settings import STUDENT, Words
from distillkit.console.progress import say, stdout
from distillkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from distillkit.models.saved import SavedModel

CACHE = Path(".distillkit") / "assets"


def check_sources(arguments: Any, settings: Words, *, command: str, word: str) -> None:
    """Raise `ConfigError` for what shows on the command line alone, before anything is loaded.

    `word` is what a text is called, as the option and the attribute of `arguments` have it.
    """
    given = getattr(arguments, f"{word}s")
    if given and settings.file:
        raise ConfigError(f"--{word}: {settings.file} has the {word}s; leave out one of them")
    if arguments.column and (given or settings.file in (None, "-")):
        raise ConfigError("--column: names a column of FILE; leave it out, or name a file")
    if not given and settings.file is None and sys.stdin.isatty():
        raise ConfigError(
            f"{command}: no {word}; add --{word} {word.upper()}, a FILE, or lines on stdin"
        )
    if arguments.out == "":
        raise ConfigError("--out: is empty; name a csv, tsv or jsonl file")
    if arguments.out:
        from distillkit.prediction.output import check_output

        check_output(expanded(arguments.out), overwrite=arguments.overwrite, source=settings.file)


class Opening:
    """The student of a command line: its `folder`, of the hub without weights at first."""

    def __init__(self, settings: Words) -> None:
        from distillkit.data.folders import model_folder
        from distillkit.prediction.purpose import newest, student_folder

        self.settings, self._spec = settings, newest(settings.student)
        self._light = model_folder(self._spec, key=STUDENT, cache=CACHE, weights=False)
        self.folder = student_folder(self._light)

    def saved(self) -> "SavedModel":
        """The model, ready to be opened; one of the hub has its weights fetched now."""
        from distillkit.data.folders import model_folder
        from distillkit.models.saved import SavedModel

        folder = self.folder
        if folder == self._light:
            folder = model_folder(self._spec, key=STUDENT, cache=CACHE)
        return SavedModel(folder, STUDENT, self.settings.labels, self.settings.trusts_code)


def text_of_stdin(settings: Words, *, word: str) -> str:
    """What stands on stdin; raises `DataError` where that is nothing."""
    from distillkit.data.encodings import decoded

    data = sys.stdin.buffer.read()
    if not data.strip():
        name = word.upper()
        raise DataError(f"stdin: no {word} in it; give one a line, --{word} {name}, or a FILE")
    text, encoding = decoded(data, settings.form.encoding, at="stdin")
    if encoding:
        say(f"stdin: encoding {encoding}")
    return text


def write_file(out: str, records: Iterator[dict[str, Any]], *, counted: str) -> None:
    """Write a row a record, all or none; `counted` says how many there are answers of."""
    from distillkit.prediction.output import whole_file, write_rows

    path = expanded(out)
    with whole_file(path) as file:
        write_rows(file, records, suffix=path.suffix.lower())
    say(counted)
    stdout().print(f"written: {out}", soft_wrap=True)
