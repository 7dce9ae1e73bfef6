"""Words with a tag each: column files as of the CoNLL shared tasks, and tables with lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from distillkit.console.progress import say, warn
from distillkit.console.wording import brief, listed
from distillkit.data.agreement import Agreement
from distillkit.data.column_lines import ColumnLines
from distillkit.data.data import Reader, no_columns
from distillkit.data.duplicates import Duplicates
from distillkit.data.encoding import class_order, say_absent
from distillkit.data.encodings import decoded, unpacked
from distillkit.data.filters import matching_rows
from distillkit.data.labels import as_list, check_names, is_nothing, without_blanks
from distillkit.data.rows import Rows, say_dropped, write_labels, write_split
from distillkit.data.shares import share_out
from distillkit.data.sources import COLUMN_FILES, spec_text, suffix
from distillkit.data.tables import Table, each_file, read_table, say_parts
from distillkit.data.tag_schemes import SCHEMES, scheme
from distillkit.data.text_format import TextFormat
from distillkit.data.texts import Texts
from distillkit.errors import DataError


@dataclass(frozen=True, slots=True)
class _Part:
    """Sentences of one file, (words, tags); their row numbers `places` from 0, of all its `rows`.

    `classes` are the names of tags' ids, where the file has them.
    """

    sentences: list[tuple[list[str], list[Any]]]
    places: Sequence[int]
    rows: int
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class TaggedText(Texts):
    """Sentences of words, each word with a tag.

    In a table, `tokens` and `tags` are columns of lists. In a column file, one word stands in a
    line with what is said of it, and a blank line between sentences; `columns` names its columns
    in their order, `tokens` and `tags` among them. `label_names` names the tags 0, 1, … of numbers,
    or fixes the order of strings. Of sentences that stand in `train` again with other tags,
    `duplicates` says which count. With `stratify` each tag has about its share of the sentences
    that are held out of `train`.
    """

    tokens: str = "tokens"
    tags: str = "tags"
    label_names: list[str] | None = None
    duplicates: Duplicates = "first"
    stratify: bool = True

    kind = "tagged"
    rows = "sentences"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names(self.label_names)

    @property
    def table_form(self) -> TextFormat:
        """The `columns` are those of column files."""
        return replace(self.form, columns=None)

    def prepare(self, task: Reader, *, cache: Path, out: Path) -> dict[str, Any]:
        """Write the splits into `out`; return their counts, and say what was dropped."""
        splits, dropped = share_out(
            self,
            partial(self._read, cache, Agreement()),
            duplicates=self.duplicates,
            label_kind="tags",
            compare=_tags,
            strata=_distinct_tags if self.stratify else None,
        )
        splits = self.sized(splits)
        sentences = [sentence for rows in splits.values() for sentence in rows.labels]
        key = f"data.tags = {self.tags}"
        tags = without_blanks((tag for _, tags in sentences for tag in tags), key=key)
        if any(is_nothing(tag) for tag in tags):
            raise DataError(f"{key}: a word has an empty tag; each needs one (O stands for none)")
        names, is_whole = class_order(map(str, tags), splits["train"].classes, self.label_names)
        space, ids = task.read_labels(tags, names)
        space = replace(space, numeric=True) if is_whole else space
        if self.train is not None:
            _check_tags(splits["train"].labels, tags)
        own = [name for name in ("validation", "test") if getattr(self, name)]
        tags_by_split = {name: tags_of(splits[name].labels) for name in own}
        say_absent(sorted(tags_of(splits["train"].labels)), tags_by_split, label_kind="tags")
        start = 0
        for name, rows in splits.items():
            words = [words for words, _ in rows.labels]
            labels = []
            for sentence in words:
                labels.append(ids[start : start + len(sentence)].tolist())
                start += len(sentence)
            write_split(out / name, rows.texts, None, labels, rows.numbers, words=words)
        write_labels(out, space)
        counts = self.counted(splits)
        say_dropped("sentences", dropped)
        return {"counts": counts, "dropped": dropped}

    def columns_of(self, role: str, columns: Mapping[str, str], *, cache: Path) -> Table:
        """Further columns of a table; those of a column file are of words."""
        spec, key = getattr(self, role), f"data.{role}"
        for item, _, path in each_file(spec, key=key, split=role, cache=cache):
            if _is_column_file(path):
                raise no_columns(columns, f"a column file ({item}), whose columns are of words")
        return super().columns_of(role, columns, cache=cache)

    def _read(self, cache: Path, agreement: Agreement, role: str, dropped: dict[str, int]) -> Rows:
        """The sentences of a source: texts, and (words, tags) as what is known of each.

        By the `agreement` the tags of all files are of one scheme.
        """
        spec, key = getattr(self, role), f"data.{role}"
        sentences_read: list[tuple[list[str], list[Any]]] = []
        numbers: list[int] = []  # of the kept sentences, from 1 through all files
        parts, before, classes = [], 0, []
        for item, name, path in each_file(spec, key=key, split=role, cache=cache):
            part = self._part(item, path, key, role, cache)
            sentences = part.sentences
            classes.append(part.classes)
            parts.append((name, len(sentences)))
            scheme_found = scheme([self._names(tags) for _, tags in sentences])
            if scheme_found:
                at, advice = f"{key} = {item}", "write the tags of all files in one scheme"
                agreement.settle("the tags", SCHEMES[scheme_found], at=at, advice=advice)
            sentences_read += sentences
            numbers += [before + place + 1 for place in part.places]
            before += part.rows
        if len(parts) > 1:
            say_parts(spec, key, parts)
        indices = [place for place, (words, _) in enumerate(sentences_read) if words]
        sentences_left = [sentences_read[place] for place in indices]
        if len(sentences_left) < len(sentences_read):
            dropped[f"empty ({role})"] = len(sentences_read) - len(sentences_left)
        if not sentences_left:
            raise DataError(f"{key} = {spec_text(spec)}: no sentence in it")
        return Rows(
            [" ".join(words) for words, _ in sentences_left],
            None,
            sentences_left,
            numbers=[numbers[place] for place in indices],
            classes=classes[0] if len({*classes}) == 1 else None,
        )

    def _part(self, spec: str, path: Path | None, key: str, role: str, cache: Path) -> "_Part":
        """The sentences of one file."""
        if path is not None and _is_column_file(path):
            if self.where:
                raise DataError(
                    f"data.where: {spec} is a column file, of which all is read; unset it"
                )
            of_file = column_sentences(
                path, self.form, tokens=self.tokens, tags=self.tags, at=f"{key} = {spec}"
            )
            return _Part(of_file, range(len(of_file)), len(of_file))
        columns = {"data.tokens": self.tokens, "data.tags": self.tags}
        where = self.where if role == "train" else None
        table = read_table(
            spec,
            key=key,
            split=role,
            cache=cache,
            columns=columns,
            texts=columns,
            where=where,
            form=self.table_form,
        )
        numbers = matching_rows(table, where, key="data.where", spec=spec)
        sentences = self._of_table(table.select(numbers), spec)
        return _Part(sentences, numbers, len(table), table.classes.get(self.tags) or None)

    def _names(self, tags: Sequence[Any]) -> list[str]:
        """Tags by their names, where `label_names` names numbers."""
        names = {str(place): name for place, name in enumerate(self.label_names or ())}
        return [names.get(str(tag).strip(), str(tag).strip()) for tag in tags]

    def _of_table(self, table: Table, spec: str) -> list[tuple[list[str], list[Any]]]:
        sentences = []
        rows = zip(table[self.tokens], table[self.tags], strict=True)
        for number, row in enumerate(rows, start=1):
            words, tags = (as_list(value, None) if value else value for value in row)
            for setting, values in (("tokens", words), ("tags", tags)):
                if not isinstance(values, list):
                    raise DataError(
                        f"data.{setting} = {getattr(self, setting)}: holds {brief(values, 60)!r} "
                        f"in {spec}, which is no list; each row needs a list of words and a list "
                        "of their tags (a text with one label is for task=classification)"
                    )
            if None in words or None in tags:
                raise DataError(
                    f"data.tokens = {self.tokens}, data.tags = {self.tags}: row {number} of {spec} "
                    "holds a null among its words or tags"
                )
            if len(words) != len(tags):
                raise DataError(
                    f"data.tags = {self.tags}: row {number} of {spec} has {len(words)} words and "
                    f"{len(tags)} tags; each word needs one"
                )
            sentences.append(([str(word) for word in words], tags))
        return sentences


def column_sentences(
    path: Path, form: TextFormat, *, tokens: str, tags: str | None, at: str
) -> list[tuple[list[str], list[Any]]]:
    """(words, tags) of the sentences of a column file: its first column and its last.

    Unless the form's `columns` say where `tokens` and `tags` stand. Without `tags` words alone are
    read, and come twice.
    """
    text, encoding = decoded(unpacked(path, at=at), form.encoding, at=at)
    if encoding:
        say(f"{at}: encoding {encoding}")
    word_at, tag_at = _places(form, tokens, tags, at)
    lines = ColumnLines(text, numbered=suffix(path) == ".conllu")
    width = lines.width
    if form.columns is not None and width and width != len(form.columns):
        raise DataError(
            f"{at}: data.columns gives {len(form.columns)} names, and its lines have {width} "
            "columns"
        )
    sentences = list(lines.sentences(word_at, tag_at, at=at))
    if lines.comments:
        say(f"{at}: {lines.comments:,} comment lines left out")
    return sentences


def _places(form: TextFormat, tokens: str, tags: str | None, at: str) -> tuple[int, int | None]:
    """The columns of words and of tags, from 0."""
    if form.columns is None:
        return 0, None if tags is None else -1
    columns = list(form.columns)
    for name in (tokens, tags):
        if name is not None and name not in columns:
            both = f"data.tokens = {tokens}" + (f" and data.tags = {tags} ask" if tags else " asks")
            raise DataError(
                f"{at}: data.columns = [{', '.join(columns)}] has no {name}, which {both} for"
            )
    return columns.index(tokens), None if tags is None else columns.index(tags)


def _is_column_file(path: Path | None) -> bool:
    return path is not None and path.is_file() and suffix(path) in COLUMN_FILES


def _tags(sentence: tuple[list[str], list[Any]]) -> str:
    """The tags of a sentence, to be compared."""
    return " ".join(map(str, sentence[1]))


def _distinct_tags(sentence: tuple[list[str], list[Any]]) -> list[str]:
    """The tags that a sentence has."""
    return sorted(set(map(str, sentence[1])))


def tags_of(sentences: list[tuple[list[str], list[Any]]]) -> set[str]:
    """The tags of some sentences."""
    return {str(tag).strip() for _, of_sentence in sentences for tag in of_sentence}


def _check_tags(train: list[tuple[list[str], list[Any]]], tags: list[Any]) -> None:
    """Warn of tags that no word to train on has."""
    unseen = sorted(set(map(str, tags)) - tags_of(train))
    if unseen:
        warn(f"data.tags: {listed(unseen, limit=8)} stand in no training row and are not learnt")
