"""The texts to predict: out of words of the command line, lines, or a table's columns."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distillkit.console.progress import say
from distillkit.console.wording import listed, nearest
from distillkit.data.encodings import decoded, unpacked
from distillkit.data.labels import is_nothing
from distillkit.data.sources import LocalSource, parse, suffix
from distillkit.data.tables import Table, read_table
from distillkit.data.text_format import TextFormat
from distillkit.errors import ConfigError, DataError
from distillkit.prediction.purpose import Purpose
from distillkit.tasks import QuestionAnswering, TokenClassification

COLUMN = "--column"
DEFAULTS = {"text": "text", "question": "question", "context": "context", "tokens": "tokens"}
SHOWN = "text"  # the column of texts that have no other


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts [rows], None where nothing stands, with what else their source has of them.

    `pairs` are the second texts, or the contexts of questions. `columns` are the input's own, as
    they are written out again.
    """

    texts: list[str | None]
    pairs: list[str | None] | None = None
    words: list[list[str] | None] | None = None
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def filled(self) -> list[int]:
        """The rows in which something stands wherever it is needed."""
        columns_there: list[Sequence[Any]] = [self.texts]
        columns_there += [self.pairs] if self.pairs is not None else []
        return [
            i
            for i in range(len(self))
            if not any(is_nothing(values[i]) for values in columns_there)
        ]


def columns_needed(purpose: Purpose) -> list[str]:
    """What a text consists of: the settings of its columns, as training names them."""
    if isinstance(purpose.task, QuestionAnswering):
        return ["question", "context"]
    if isinstance(purpose.task, TokenClassification):
        return ["tokens"]
    return ["text", "text_pair"] if "text_pair" in purpose.columns else ["text"]


def of_texts(texts: Sequence[str], pairs: Sequence[str], purpose: Purpose) -> Rows:
    """The texts of a command line; raises `ConfigError` where pairs and texts are not as many."""
    needs = len(columns_needed(purpose)) > 1
    if needs and not pairs:
        names = ", ".join(purpose.columns.values()) or ", ".join(columns_needed(purpose))
        raise ConfigError(f"--text: this student reads pairs ({names}); add --pair for each --text")
    if pairs and isinstance(purpose.task, TokenClassification):
        raise ConfigError("--pair: this student tags the words of one text; leave it out")
    if pairs and len(pairs) != len(texts):
        raise ConfigError(f"--pair: {len(pairs)} of them for {len(texts)} --text; give one each")
    firsts = [whole_characters(text) for text in texts]
    seconds = [whole_characters(text) for text in pairs] if pairs else None
    return _rows(firsts, seconds, purpose)


def of_lines(text: str, purpose: Purpose, *, at: str) -> Rows:
    """A text a line; of pairs, the second behind a tab. Blank lines stay rows, without a text."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if not any(line.strip() for line in lines):
        raise DataError(f"{at}: no text in it")
    if len(columns_needed(purpose)) == 1:
        return _rows(list(lines), None, purpose)
    parts = [line.partition("\t") for line in lines]
    alone = next((i for i, (a, tab, _) in enumerate(parts, 1) if a.strip() and not tab), None)
    if alone is not None:
        raise DataError(
            f"{at}: line {alone} has no tab; this student reads pairs "
            f"({', '.join(columns_needed(purpose))}), the second behind a tab"
        )
    return _rows([a for a, _, _ in parts], [b for _, _, b in parts], purpose)


def of_file(
    spec: str,
    purpose: Purpose,
    *,
    columns: Sequence[str],
    form: TextFormat,
    cache: Path,
    key: str = "data",
) -> Rows:
    """The rows of a file, or of whatever else data may be, in their order.

    `columns` names those of the texts; without, the training's, `text`, or the only one. Raises
    `DataError`, before any model is loaded.
    """
    source = parse(spec, key=key)
    at = f"{key} = {spec}"
    if isinstance(source, LocalSource) and suffix(source.path) == ".txt" and not columns:
        text, _ = decoded(unpacked(source.path, at=at), form.encoding, at=at)
        return of_lines(text, purpose, at=at)

    def choose(names: Sequence[str]) -> list[str]:
        return chosen_columns(names, purpose, columns, at=at)

    table, columns_read, once = whole_table(spec, choose, key=key, form=form, cache=cache)
    return _of_table(table, columns_read, once, purpose, at)


def whole_table(
    spec: str,
    choose: Callable[[Sequence[str]], list[str]],
    *,
    key: str,
    form: TextFormat,
    cache: Path,
) -> tuple[Table, list[str], list[str]]:
    """(all columns of a source, those chosen as text, the names of all that have one name)."""
    options: dict[str, Any] = {"key": key, "split": "test", "cache": cache, "form": form}
    with redirect_stderr(io.StringIO()):  # what is worth a word the second reading says
        names = [n for n in read_table(spec, columns={}, **options).columns if n]
    columns_read = choose(names)
    once = [name for name in dict.fromkeys(names) if names.count(name) == 1 or name in columns_read]
    if several := [name for name in dict.fromkeys(names) if name not in once]:
        say(f"{key} = {spec}: several columns are named {listed(several)}, and are left out")
    table = read_table(
        spec,
        columns={f"{COLUMN} {place}": name for place, name in enumerate([*columns_read, *once])},
        texts=[f"{COLUMN} {place}" for place in range(len(columns_read))],
        **options,
    )
    return table, columns_read, once


def chosen_columns(
    names: Sequence[str], purpose: Purpose, columns_given: Sequence[str], *, at: str
) -> list[str]:
    """The columns of a student's texts among `names`; raises `DataError` or `ConfigError`."""
    needs = columns_needed(purpose)
    missing = next((name for name in columns_given if name not in names), None)
    if missing is not None:
        raise DataError(f"{COLUMN} {missing}: no such column in {at}; {nearest(missing, names)}")
    if columns_given:
        limit = 1 if isinstance(purpose.task, TokenClassification) else 2
        if not len(needs) <= len(columns_given) <= limit:
            names_text = (
                f"{len(needs)} ({', '.join(needs)})" if len(needs) == limit else "one or two"
            )
            raise ConfigError(
                f"{COLUMN} {' '.join(columns_given)}: this student reads {names_text} columns"
            )
        return list(columns_given)
    recorded = [purpose.columns.get(setting, "") for setting in needs]
    for names_of in (recorded, [DEFAULTS.get(setting, "") for setting in needs]):
        if all(name in names for name in names_of):
            return list(names_of)
    single = needs in (["text"], ["tokens"])
    if single and "text" in names:
        return ["text"]
    if single and len(set(names)) == 1:
        return [names[0]]
    usual = [
        own or DEFAULTS.get(values, values) for own, values in zip(recorded, needs, strict=True)
    ]
    flags = "".join(f" {COLUMN} {setting.upper()}" for setting in needs)
    raise DataError(
        f"{at}: it has no {' and '.join(usual)}, which this student was trained on; its columns "
        f"are {listed(names)}; name the one that is meant:{flags}"
    )


def _of_table(
    table: Table, columns_read: Sequence[str], once: Sequence[str], purpose: Purpose, at: str
) -> Rows:
    texts = [_text(value, purpose, at, columns_read[0]) for value in table[columns_read[0]]]
    pairs = None
    if len(columns_read) > 1:
        pairs = [_text(value, purpose, at, columns_read[1]) for value in table[columns_read[1]]]
    extra: dict[str, list[Any]] = {name: table[name] for name in once}
    return _rows(texts, pairs, purpose, extra)


def _text(value: Any, purpose: Purpose, at: str, column: str) -> Any:
    """A cell as text, or as words; raises `DataError` for a mapping."""
    if is_nothing(value) or isinstance(value, str):
        return None if is_nothing(value) else value
    if isinstance(value, list) and isinstance(purpose.task, TokenClassification):
        return [str(word) for word in value if not is_nothing(word)] or None
    raise DataError(f"{at}: its column {column} holds something that is no text ({value!r:.60})")


def _rows(
    texts: Sequence[Any],
    pairs: Sequence[Any] | None,
    purpose: Purpose,
    columns: Mapping[str, list[Any]] | None = None,
) -> Rows:
    if isinstance(purpose.task, TokenClassification):
        words = [_words(value) for value in texts]
        joined = [" ".join(values) if values else None for values in words]
        columns_given = columns if columns is not None else {SHOWN: list(texts)}
        return Rows(joined, None, words, dict(columns_given))
    own = columns
    if own is None:
        own = {SHOWN: list(texts)} if pairs is None else {}
        if pairs is not None:
            names = ["question", "context"]
            if not isinstance(purpose.task, QuestionAnswering):
                names = ["text", "text_pair"]
            own = dict(zip(names, ([*texts], [*pairs]), strict=True))
    return Rows(list(texts), None if pairs is None else list(pairs), None, dict(own))


def _words(value: Any) -> list[str] | None:
    """The words of a text: between its blanks; of a list, or text that spells one, its items."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value_read = json.loads(value)
        except (ValueError, RecursionError):
            value_read = None
        if isinstance(value_read, list):
            return [str(word) for word in value_read if not is_nothing(word)] or None
    if isinstance(value, str):
        return value.split() or None
    return value or None


def whole_characters(text: str) -> str:
    """A word of the command line without bytes that are no characters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
