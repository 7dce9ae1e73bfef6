"""The texts to predict: out of words of the command line, lines, or a table's columns."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distillkit.console.progress import say
from distillkit.console.wording import listed, nearest
from distillkit.data.encodings import decoded, unpacked
from distillkit.data.labels import is_nothing
from distillkit.data.questions import squad_articles, squad_questions
from distillkit.data.sources import COLUMN_FILES, LocalSource, parse, suffix
from distillkit.data.tables import Table, read_table
from distillkit.data.tagged import column_sentences
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


def _usual_columns(purpose: Purpose) -> list[list[str]]:
    """The names that the columns of a student's texts may have: its training's, the usual ones."""
    needs = columns_needed(purpose)
    names = [[purpose.columns.get(it, "") for it in needs], [DEFAULTS.get(it, "") for it in needs]]
    return [columns for columns in names if all(columns)]


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
    if isinstance(source, LocalSource) and source.path.is_file() and not columns:
        rows = _of_form(source.path, purpose, form, at)
        if rows is not None:
            return rows

    def choose(names: Sequence[str]) -> list[str]:
        return chosen_columns(names, purpose, columns, at=at)

    settings = [f"data.{name}" for name in columns_needed(purpose)]
    table, columns_read, once = whole_table(
        spec,
        choose,
        key=key,
        readings=[
            dict(zip(settings, names, strict=True))
            for names in ([columns] if columns else _usual_columns(purpose))
            if len(names) == len(settings)
        ],
        form=form,
        cache=cache,
    )
    return _of_table(table, columns_read, once, purpose, at)


def _of_form(path: Path, purpose: Purpose, form: TextFormat, at: str) -> Rows | None:
    """The rows of a file that is no table: lines of text, words in columns, SQuAD's own form."""
    ending = suffix(path)
    if isinstance(purpose.task, TokenClassification) and _is_column_file(
        path, ending, purpose, form, at
    ):
        if form.columns is None and purpose.file_columns:
            form = replace(form, columns=purpose.file_columns)
        tokens = purpose.columns.get("tokens", "tokens")
        sentences = column_sentences(path, form, tokens=tokens, tags=None, at=at)
        words = [words for words, _ in sentences]
        return Rows([" ".join(row) for row in words], None, [*words], {"tokens": [*words]})
    if ending == ".txt":
        text, _ = decoded(unpacked(path, at=at), form.encoding, at=at)
        return of_lines(text, purpose, at=at)
    articles = squad_articles(path, form, at=at) if _is_of_questions(purpose) else None
    if articles is None:
        return None
    questions = [*squad_questions(articles, at=at)]
    columns: dict[str, list[Any]] = {
        "id": [question.get("id") for question, _ in questions],
        "question": [question["question"] for question, _ in questions],
        "context": [context for _, context in questions],
    }
    return _rows(columns["question"], columns["context"], purpose, columns)


def _is_of_questions(purpose: Purpose) -> bool:
    return isinstance(purpose.task, QuestionAnswering)


def _is_column_file(path: Path, ending: str, purpose: Purpose, form: TextFormat, at: str) -> bool:
    """Whether a file for a tagger has a word a line; a .txt has a text, a .tsv may be a table."""
    if ending not in COLUMN_FILES:
        return False
    if ending == ".tsv":
        text, _ = decoded(unpacked(path, at=at), form.encoding, at=at)
        header = text.split("\n", 1)[0].rstrip("\r").split("\t")
        return not {*header} & {purpose.columns.get("tokens", "tokens"), "tokens", "text"}
    return ending != ".txt"


def whole_table(
    spec: str,
    choose: Callable[[Sequence[str]], list[str]],
    *,
    key: str,
    readings: Sequence[Mapping[str, str]],
    form: TextFormat,
    cache: Path,
) -> tuple[Table, list[str], list[str]]:
    """(all columns of a source, those chosen as text, the names of all that have one name).

    `readings` are the columns, setting -> name, that training would read of it, the likeliest
    first: what a file of JSON has for rows is told by the names that are looked for.
    """
    options: dict[str, Any] = {"key": key, "split": "test", "cache": cache, "form": form}
    names = _names(spec, readings, options)
    columns_read = choose(names)
    once = [name for name in dict.fromkeys(names) if names.count(name) == 1 or name in columns_read]
    if several := [name for name in dict.fromkeys(names) if name not in once]:
        say(f"{key} = {spec}: several columns are named {listed(several)}, and are left out")
    plain = {f"{COLUMN} {place}": name for place, name in enumerate(columns_read)}
    chosen = next((dict(it) for it in readings if [*it.values()] == columns_read), plain)
    others = {f"column {place}": name for place, name in enumerate(once)}
    table = read_table(spec, columns=chosen | others, texts=[*chosen], **options)
    return table, columns_read, once


def _names(
    spec: str, readings: Sequence[Mapping[str, str]], options: Mapping[str, Any]
) -> list[str]:
    """The columns of the rows that the first reading finds; of all there is, where none does."""
    with redirect_stderr(io.StringIO()):  # what is worth a word the last reading says
        for reading in readings:
            with suppress(DataError):
                return [n for n in read_table(spec, columns=reading, **options).columns if n]
        return [n for n in read_table(spec, columns={}, **options).columns if n]


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
    for names_of in _usual_columns(purpose):
        if all(name in names for name in names_of):
            return list(names_of)
    single = needs in (["text"], ["tokens"])
    if single and "text" in names:
        return ["text"]
    if single and len(set(names)) == 1:
        return [names[0]]
    usual = [purpose.columns.get(setting) or DEFAULTS.get(setting, setting) for setting in needs]
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
