"""Questions about passages, with the places of their answers: SQuAD's format, or a table."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from distillkit.console.wording import brief
from distillkit.data.data import Reader, no_columns
from distillkit.data.encodings import decoded, unpacked
from distillkit.data.filters import matching_rows
from distillkit.data.json_rows import json_rows
from distillkit.data.literals import literal
from distillkit.data.rows import Rows, say_dropped, write_labels, write_split
from distillkit.data.shares import share_out
from distillkit.data.sources import KINDS, spec_text, suffix
from distillkit.data.tables import Table, each_file, read_table, say_parts
from distillkit.data.text_format import TextFormat
from distillkit.data.texts import Texts
from distillkit.errors import DataError

Answer = tuple[str, int]  # its text, and the character of the context that it begins at


@dataclass(frozen=True, kw_only=True)
class Questions(Texts):
    """A question a row, with its context and the answers that stand in it.

    `answers` is a column of {text: [...], answer_start: [...]}, or of lists of {text,
    answer_start}, or of text that spells one of these; one without any, or with empty texts alone,
    says that the context has no answer. A file of JSON may be in SQuAD's own form. Held-out shares
    of `train` are of whole contexts.
    """

    question: str = "question"
    context: str = "context"
    answers: str = "answers"

    kind = "questions"
    rows = "questions"

    def labelled_fields(self) -> dict[str, Any]:
        """The same; rows that `where` keeps were numbered among themselves before."""
        return super().labelled_fields() | ({"numbers": 2} if self.where else {})

    def prepare(self, task: Reader, *, cache: Path, out: Path) -> dict[str, Any]:
        """Write the splits into `out`; return their counts, and say what was dropped."""
        splits, dropped = share_out(self, partial(self._read, cache), label_kind="answers")
        splits = self.sized(splits)
        for name, rows in splits.items():
            answers = [json.dumps(label, ensure_ascii=False) for label in rows.labels]
            write_split(out / name, rows.texts, rows.pairs, None, rows.numbers, answers=answers)
        write_labels(out, task.read_labels([], None)[0])
        counts = self.counted(splits)
        say_dropped("questions", dropped)
        return {"counts": counts, "dropped": dropped}

    def columns_of(self, role: str, columns: Mapping[str, str], *, cache: Path) -> Table:
        """Further columns of a table; SQuAD's own form has none."""
        spec, key = getattr(self, role), f"data.{role}"
        for item, _, path in each_file(spec, key=key, split=role, cache=cache):
            if squad_articles(path, self.form, at=f"{key} = {item}") is not None:
                raise no_columns(columns, f"in SQuAD's form ({item}), which has none")
        return super().columns_of(role, columns, cache=cache)

    def _read(self, cache: Path, role: str, dropped: dict[str, int]) -> Rows:
        spec, key = getattr(self, role), f"data.{role}"
        rows_read: list[tuple[int, str, str, list[Answer]]] = []
        parts, before = [], 0
        for item, name, path in each_file(spec, key=key, split=role, cache=cache):
            rows, count = self._rows(item, path, key, role, cache)
            rows_read += [(before + place, *row) for place, row in rows]
            parts.append((name, len(rows)))
            before += count
        if len(parts) > 1:
            say_parts(spec, key, parts)
        rows_left: list[tuple[str, str, list[Answer]]] = []
        numbers = []
        for number, question, context, answers in rows_read:
            spans = [(text, at) for text, at in answers if _stands(text, at, context)]
            if question.strip() and context.strip() and (spans or not answers):
                rows_left.append((question, context, spans))
                numbers.append(number)
        if not rows_left:
            raise DataError(
                f"{key} = {spec_text(spec)}: no question of it has a context, and an answer that "
                "stands where its answer_start says"
            )
        if len(rows_left) < len(rows_read):
            dropped[f"empty, or with no answer at its place ({role})"] = len(rows_read) - len(
                rows_left
            )
        questions, contexts, places = map(list, zip(*rows_left, strict=True))
        return Rows(questions, contexts, places, groups=contexts, numbers=numbers)

    def _rows(
        self, spec: str, path: Path | None, key: str, role: str, cache: Path
    ) -> tuple[list[tuple[int, tuple[str, str, list[Answer]]]], int]:
        """(number from 1 and content of each row that is read, how many the file has)."""
        articles = squad_articles(path, self.form, at=f"{key} = {spec}")
        if articles is None:
            return self._of_table(spec, key, role, cache)
        if self.where:
            raise DataError(f"data.where: {spec} is no table, and all is read; unset it")
        at = f"{key} = {spec}"
        rows = [
            (question["question"], context, list(_places(question.get("answers"), at)))
            for question, context in squad_questions(articles, at=at)
        ]
        return list(enumerate(rows, start=1)), len(rows)

    def _of_table(
        self, spec: str, key: str, role: str, cache: Path
    ) -> tuple[list[tuple[int, tuple[str, str, list[Answer]]]], int]:
        columns: dict[str, str | None] = {
            f"data.{name}": getattr(self, name) for name in ("question", "context", "answers")
        }
        where = self.where if role == "train" else None
        table = read_table(
            spec,
            key=key,
            split=role,
            cache=cache,
            columns=columns,
            texts=["data.question", "data.context"],
            where=where,
            form=self.form,
        )
        places = matching_rows(table, where, key="data.where", spec=spec)
        names = [self.question, self.context, self.answers]
        rows = []
        for place, row in zip(places, table.select(places).records(names), strict=True):
            question, context = row[self.question], row[self.context]
            if not (isinstance(question, str) and isinstance(context, str)):
                raise DataError(
                    f"data.question = {self.question}, data.context = {self.context}: row "
                    f"{place + 1} of {spec} holds something that is no text"
                )
            at = f"data.answers = {self.answers}: row {place + 1} of {spec}"
            rows.append((place + 1, (question, context, list(_places(row[self.answers], at)))))
        return rows, len(table)


def squad_articles(path: Path | None, form: TextFormat, *, at: str) -> list[Any] | None:
    """The articles of a file in SQuAD's own format, or one a line; None for another file."""
    if path is None or not path.is_file() or KINDS.get(suffix(path)) != "json":
        return None
    text, _ = decoded(unpacked(path, at=at), form.encoding, at=at)
    if '"paragraphs"' not in text:
        return None
    rows: list[Any] = list(json_rows(text, at=at))
    articles = rows[0].get("data") if len(rows) == 1 and "data" in rows[0] else rows
    is_squad = isinstance(articles, list) and all(
        isinstance(article, dict) and "paragraphs" in article for article in articles
    )
    return articles if articles and is_squad else None


def squad_questions(articles: Iterable[Any], *, at: str) -> Iterator[tuple[dict[str, Any], str]]:
    """(a question with what belongs to it, its passage); raises `DataError` where a part lacks."""
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    _ = question["question"]
                    yield question, paragraph["context"]
    except KeyError as error:
        raise DataError(
            f"{at}: it is in SQuAD's format, but a part of it has no {error}"
        ) from error


def _stands(text: str, at: int, context: str) -> bool:
    """Whether an answer stands where its number says; a number below 0 would count from the end."""
    return at >= 0 and context[at : at + len(text)] == text


def _places(answers: Any, at: str) -> Iterator[Answer]:
    """The answers of either form, (text, where it begins); an empty text is none."""
    for text, start in _pairs(_parsed(answers), at):
        if not isinstance(text, str) or text.strip():
            yield _place(text, start, at)


def _parsed(answers: Any) -> Any:
    """What a cell of text spells, as pandas writes answers into a csv; else as it is."""
    if not isinstance(answers, str):
        return answers
    for read in (json.loads, literal):
        try:
            value = read(answers)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, (list, dict)):
            return value
    return answers


def _pairs(answers: Any, at: str) -> Iterator[tuple[Any, Any]]:
    """The answers of either form, (text, where it begins), whatever these are."""
    if not answers:
        return
    if isinstance(answers, dict) and {"text", "answer_start"} <= answers.keys():
        texts, starts = answers["text"], answers["answer_start"]
        if isinstance(texts, str) and not isinstance(starts, list):  # one answer, in no list
            texts, starts = [texts], [starts]
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise DataError(
                f"{at} holds {brief(answers, 60)!r}; each text needs an answer_start of its own"
            )
        yield from zip(texts, starts, strict=True)
    elif isinstance(answers, list) and all(
        isinstance(a, dict) and {"text", "answer_start"} <= a.keys() for a in answers
    ):
        yield from ((a["text"], a["answer_start"]) for a in answers)
    else:
        raise DataError(
            f"{at} holds {brief(answers, 60)!r}; answers have a text and an answer_start"
        )


def _place(text: Any, start: Any, at: str) -> Answer:
    """One answer; raises `DataError` where it is no text with a whole number."""
    try:
        if isinstance(text, str):
            return text, int(start)
    except (TypeError, ValueError):
        pass
    raise DataError(
        f"{at} holds the answer {brief(text, 40)!r} at {brief(start, 40)}; an answer is a text, "
        "and its answer_start the number of the character that it begins at"
    )
