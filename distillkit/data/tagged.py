"""Words with a tag each: column files as of the CoNLL shared tasks, and tables with lists."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from distillkit.artifacts import write_json
from distillkit.data.duplicates import Duplicates
from distillkit.data.labels import check_names
from distillkit.data.rows import Rows, say_dropped, write_split
from distillkit.data.shares import share_out
from distillkit.data.tables import Table, local_path, matching_rows, read_table, shortened
from distillkit.data.texts import ReadLabels, Texts
from distillkit.errors import DataError

COLUMN_FILES = (".txt", ".conll", ".iob", ".bio", ".tsv")
BEGINS_DOCUMENT = "-DOCSTART-"


@dataclass(frozen=True, kw_only=True)
class TaggedText(Texts):
    """Sentences of words, each word with a tag.

    In a table, `tokens` and `tags` are columns of lists. In a column file, one word stands in a
    line with what is said of it, and a blank line between sentences; `columns` names its columns
    in their order, `tokens` and `tags` among them. `label_names` names the tags 0, 1, … of numbers,
    or fixes the order of strings. Of sentences that stand in `train` again with other tags,
    `duplicates` says which count.
    """

    tokens: str = "tokens"
    tags: str = "tags"
    columns: list[str] | None = None
    label_names: list[str] | None = None
    duplicates: Duplicates = "first"

    kind = "tagged"
    rows = "sentences"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names(self.label_names)

    def prepare(self, read_labels: ReadLabels, *, cache: Path, out: Path) -> dict[str, Any]:
        """Write the splits into `out`; return their counts, and say what was dropped."""
        splits, dropped = share_out(
            self,
            partial(self._read, cache),
            duplicates=self.duplicates,
            what="tags",
            compare=_tags,
        )
        splits = self.sized(splits)
        sentences = [sentence for rows in splits.values() for sentence in rows.labels]
        tags = [tag for _, tags in sentences for tag in tags]
        space, ids = read_labels(tags, self.label_names)
        begun = 0
        for name, rows in splits.items():
            words = [words for words, _ in rows.labels]
            labels = []
            for sentence in words:
                labels.append(ids[begun : begun + len(sentence)].tolist())
                begun += len(sentence)
            write_split(out / name, rows.texts, None, labels, rows.numbers, words=words)
        write_json(out / "labels.json", asdict(space))
        counts = self.counted(splits)
        say_dropped("sentences", dropped)
        return {"counts": counts, "dropped": dropped}

    def _read(self, cache: Path, role: str, dropped: dict[str, int]) -> Rows:
        """The sentences of a source: texts, and (words, tags) as what is known of each."""
        spec, key = getattr(self, role), f"data.{role}"
        path = local_path(spec, key=key, cache=cache)
        if path is not None and path.suffix.lower() in COLUMN_FILES:
            if self.where:
                raise DataError(
                    f"data.where: {spec} is a column file, of which all is read; unset it"
                )
            found = list(self._of_column_file(path, f"{key} = {spec}"))
            numbers: Sequence[int] = range(len(found))
        else:
            columns = {"data.tokens": self.tokens, "data.tags": self.tags}
            where = self.where if role == "train" else None
            table = read_table(
                spec, key=key, split=role, cache=cache, columns=columns, texts=columns, where=where
            )
            numbers = matching_rows(table, where, key="data.where", spec=spec)
            found = self._of_table(table.select(numbers), spec)
        there = [place for place, (words, _) in enumerate(found) if words]
        kept = [found[place] for place in there]
        if len(kept) < len(found):
            dropped[f"empty ({role})"] = len(found) - len(kept)
        if not kept:
            raise DataError(f"{key} = {spec}: no sentence in it")
        return Rows(
            [" ".join(words) for words, _ in kept],
            None,
            kept,
            numbers=[numbers[place] + 1 for place in there],
        )

    def _of_table(self, table: Table, spec: str) -> list[tuple[list[str], list[Any]]]:
        found = []
        rows = zip(table[self.tokens], table[self.tags], strict=True)
        for number, (words, tags) in enumerate(rows, start=1):
            for setting, values in (("tokens", words), ("tags", tags)):
                if not isinstance(values, list):
                    raise DataError(
                        f"data.{setting} = {getattr(self, setting)}: holds {shortened(values)!r} "
                        f"in {spec}, which is no list; each row needs a list of words and a list "
                        "of their tags (a text with one label is for task=classification)"
                    )
            if len(words) != len(tags):
                raise DataError(
                    f"data.tags = {self.tags}: row {number} of {spec} has {len(words)} words and "
                    f"{len(tags)} tags; each word needs one"
                )
            found.append(([str(word) for word in words], tags))
        return found

    def _of_column_file(self, path: Path, at: str) -> Iterator[tuple[list[str], list[Any]]]:
        """The sentences of a column file: its first column, and its last, unless `columns` says."""
        word_at, tag_at = self._places(at)
        words: list[str] = []
        tags: list[str] = []
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate([*lines, ""], start=1):
            fields = line.split()
            if not fields or fields[0] == BEGINS_DOCUMENT:
                if words:
                    yield words, tags
                words, tags = [], []
                continue
            if len(fields) <= max(word_at, tag_at) or len(fields) < 2:
                wanted = max(word_at, tag_at, 1) + 1
                raise DataError(
                    f"{at}: line {number} has {len(fields)} columns, and {wanted} are needed; "
                    "data.columns=[…] names them in their order"
                )
            words.append(fields[word_at])
            tags.append(fields[tag_at])

    def _places(self, at: str) -> tuple[int, int]:
        if self.columns is None:
            return 0, -1
        for name in (self.tokens, self.tags):
            if name not in self.columns:
                raise DataError(
                    f"{at}: data.columns = [{', '.join(self.columns)}] has no {name}, which "
                    f"data.tokens = {self.tokens} and data.tags = {self.tags} ask for"
                )
        return self.columns.index(self.tokens), self.columns.index(self.tags)


def _tags(sentence: tuple[list[str], list[Any]]) -> str:
    """The tags of a sentence, to be compared."""
    return " ".join(map(str, sentence[1]))
