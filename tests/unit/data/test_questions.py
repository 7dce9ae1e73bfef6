"""Questions from SQuAD's format and from tables, or refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distillkit.data import Corpus, Questions
from distillkit.errors import DataError
from distillkit.tasks import QuestionAnswering
from tests.tiny import write_csv

CONTEXTS = [f"the film number {i} was good" for i in range(12)]
ROWS: list[dict[str, Any]] = [
    {"question": f"{word} {i}?", "context": context, "answers": [("good", context.index("good"))]}
    for i, context in enumerate(CONTEXTS)
    for word in ("how was", "what was")
]
ROWS[0]["answers"] = []
SHARES: dict[str, Any] = {"validation_fraction": 0.3, "test_fraction": 0.3}
SPLITS = ("train", "validation", "test")


def prepared(folder: Path, data: Questions) -> Corpus:
    data.prepare(QuestionAnswering(), cache=folder / "cache", out=folder / "out")
    return Corpus.open(folder / "out", None)


def every(corpus: Corpus) -> list[dict[str, Any]]:
    found = []
    for name in SPLITS:
        split = corpus.split(name)
        assert split.pairs is not None and split.answers is not None
        rows = zip(split.texts, split.pairs, split.answers, strict=True)
        found += [{"question": q, "context": c, "answers": a} for q, c, a in rows]
    return sorted(found, key=lambda row: ROWS.index(row))


def columns(row: dict[str, Any]) -> dict[str, Any]:
    texts, starts = [t for t, _ in row["answers"]], [s for _, s in row["answers"]]
    return row | {"answers": {"text": texts, "answer_start": starts}}


def pairs(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"text": text, "answer_start": start} for text, start in row["answers"]]


def jsonl(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_table_has_columns_of_texts_and_starts(tmp_path: Path) -> None:
    data = Questions(train=jsonl(tmp_path, [columns(row) for row in ROWS]), **SHARES)
    assert every(prepared(tmp_path, data)) == ROWS


def test_a_table_may_list_its_answers(tmp_path: Path) -> None:
    rows = [{"q": r["question"], "c": r["context"], "a": pairs(r)} for r in ROWS]
    data = Questions(train=jsonl(tmp_path, rows), question="q", context="c", answers="a", **SHARES)
    assert every(prepared(tmp_path, data)) == ROWS


def test_squads_own_format_is_read(tmp_path: Path) -> None:
    paragraphs = [
        {
            "context": context,
            "qas": [
                {"id": "x", "question": r["question"], "answers": pairs(r)}
                for r in ROWS
                if r["context"] == context
            ],
        }
        for context in CONTEXTS
    ]
    path = tmp_path / "squad.json"
    articles = [{"paragraphs": paragraphs}]
    for number, whole in enumerate([{"version": "1.1", "data": articles}, articles]):
        path.write_text(json.dumps(whole))
        folder = tmp_path / str(number)
        assert every(prepared(folder, Questions(train=str(path), **SHARES))) == ROWS


def test_questions_about_one_context_stand_in_one_split(tmp_path: Path) -> None:
    table = jsonl(tmp_path, [columns(row) for row in ROWS])
    corpus = prepared(tmp_path, Questions(train=table, **SHARES))
    contexts = [set(corpus.split(name).pairs or []) for name in SPLITS]
    assert sum(map(len, contexts)) == len(set.union(*contexts)) == len(CONTEXTS)


def test_an_answer_that_does_not_stand_at_its_place_is_dropped_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [columns(row) for row in ROWS]
    rows[3]["answers"] = {"text": ["bad"], "answer_start": [0]}
    corpus = prepared(tmp_path, Questions(train=jsonl(tmp_path, rows), **SHARES))
    assert ROWS[3] not in every(corpus)
    assert len(every(corpus)) == len(ROWS) - 1
    assert "1 empty, or with no answer at its place (train)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "q", "context": "c"}, "data.answers = answers: no such column"),
        ({"question": "q", "context": "c", "answers": "c"}, "row 1 of .* holds 'c'; answers have"),
        ({"question": ["q"], "context": "c", "answers": []}, "row 1 of .* that is no text"),
        (
            {"question": "q", "context": "c", "answers": {"text": ["x"], "answer_start": [0]}},
            "no question of it has a context, and an answer that stands",
        ),
    ],
)
def test_what_are_no_questions_is_refused(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, Questions(train=jsonl(tmp_path, [row])))


def test_a_start_below_0_is_no_place(tmp_path: Path) -> None:
    rows = [columns(row) for row in ROWS]
    # counted from the end, as Python does, the answer would stand there
    rows[3]["answers"] = {"text": ["was"], "answer_start": [-8]}
    assert CONTEXTS[1][-8:-5] == "was"
    found = every(prepared(tmp_path, Questions(train=jsonl(tmp_path, rows), **SHARES)))
    assert found == [*ROWS[:3], *ROWS[4:]]


@pytest.mark.parametrize("start", [-1, 0])
def test_an_empty_text_is_no_answer(tmp_path: Path, start: int) -> None:
    rows = [columns(row) for row in ROWS]
    rows[0]["answers"] = {"text": [""], "answer_start": [start]}
    rows[1]["answers"]["text"].insert(0, "")
    rows[1]["answers"]["answer_start"].insert(0, start)
    data = Questions(train=jsonl(tmp_path, rows), **SHARES)
    assert ROWS[0]["answers"] == [] and every(prepared(tmp_path, data)) == ROWS


@pytest.mark.parametrize("written", [json.dumps, repr])
def test_answers_in_a_csv_are_text_that_spells_them(
    tmp_path: Path, written: Callable[[Any], str]
) -> None:
    rows = [(r["question"], r["context"], written(columns(r)["answers"])) for r in ROWS]
    path = write_csv(tmp_path / "a.csv", ["question", "context", "answers"], rows)
    assert every(prepared(tmp_path, Questions(train=str(path), **SHARES))) == ROWS


def test_one_answer_may_stand_in_no_list(tmp_path: Path) -> None:
    rows = [columns(row) for row in ROWS]
    for row in rows[1:]:
        row["answers"] = {name: value[0] for name, value in row["answers"].items()}
    data = Questions(train=jsonl(tmp_path, rows), **SHARES)
    assert every(prepared(tmp_path, data)) == ROWS


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"text": "good", "answer_start": [1, 2, 3, 4]}, "an answer_start of its own"),
        ({"text": ["good", "film"], "answer_start": [1]}, "an answer_start of its own"),
        ({"text": ["good"], "answer_start": [None]}, "'good' at None; an answer is a text"),
        ([{"text": "good", "answer_start": "first"}], "'good' at first; an answer is a text"),
        ([{"text": ["good"], "answer_start": 1}], "an answer is a text"),
    ],
)
def test_answers_without_their_places_are_refused(tmp_path: Path, answers: Any, told: str) -> None:
    rows = [columns(row) for row in ROWS]
    rows[3]["answers"] = answers
    with pytest.raises(DataError, match=rf"data\.answers = answers: row 4 of .*{told}"):
        prepared(tmp_path, Questions(train=jsonl(tmp_path, rows), **SHARES))


def in_squads_form(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An article a row."""
    return [
        {
            "title": "it",
            "paragraphs": [
                {
                    "context": row["context"],
                    "qas": [{"id": "1", "question": row["question"], "answers": pairs(row)}],
                }
            ],
        }
        for row in rows
    ]


@pytest.mark.parametrize("form", ["whole", "indented", "articles"])
def test_squads_own_form_is_read_whatever_the_ending_says(tmp_path: Path, form: str) -> None:
    articles = in_squads_form(ROWS)
    path = tmp_path / "squad.jsonl"
    if form == "articles":
        path.write_text("".join(json.dumps(it) + "\n" for it in articles))
    else:
        path.write_text(json.dumps({"data": articles}, indent=1 if form == "indented" else None))
    assert every(prepared(tmp_path, Questions(train=str(path), **SHARES))) == ROWS


def test_each_split_has_a_form_of_its_own(tmp_path: Path) -> None:
    """A table of mappings to train on, SQuAD's form to validate, lists to test on."""
    train = jsonl(tmp_path, [columns(row) for row in ROWS[:14]])
    validation, test = tmp_path / "validation.json", tmp_path / "test.jsonl"
    validation.write_text(json.dumps({"data": in_squads_form(ROWS[14:18])}))
    test.write_text("".join(json.dumps(row | {"answers": pairs(row)}) + "\n" for row in ROWS[18:]))
    data = Questions(train=train, validation=str(validation), test=str(test))
    corpus = prepared(tmp_path, data)
    assert every(corpus) == ROWS
    assert [len(corpus.split(name)) for name in SPLITS] == [14, 4, len(ROWS) - 18]


def test_rows_have_the_numbers_of_their_source_whatever_where_keeps(tmp_path: Path) -> None:
    rows = [
        {
            "question": f"which {i}?",
            "context": f"the answer is {i}",
            "answers": {"text": [str(i)], "answer_start": [14]},
            "kind": "ab"[i % 2],
        }
        for i in range(40)
    ]
    path = jsonl(tmp_path, rows)
    data = Questions(train=path, where={"kind": "b"}, validation_fraction=0.2, test_fraction=0.2)
    corpus = prepared(tmp_path, data)
    found = [corpus.split(name) for name in ("train", "validation", "test")]
    numbered = {int(n): text for it in found for n, text in zip(it.numbers, it.texts, strict=True)}
    assert numbered == {i + 1: f"which {i}?" for i in range(1, 40, 2)}
    table = data.columns_of("train", {"evaluation.slices[0]": "kind"}, cache=tmp_path)
    assert {table["kind"][number - 1] for number in numbered} == {"b"}
    assert "numbers" in data.labelled_fields()
    assert "numbers" not in Questions(train=path).labelled_fields()  # named as before
