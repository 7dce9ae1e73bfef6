"""What training reads `distillkit predict` reads: JSON of every form, column files, SQuAD's."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.cli.runs import assert_refused
from tests.cli.test_predict import LABELS, TAGS, lines, named, texts, write_head
from tests.conftest import Distillkit

FORMS: dict[str, Any] = {
    "records": lambda rows: rows,
    "lines": None,
    "data": lambda rows: {"data": rows},
    "table": lambda rows: {"schema": {"fields": [{"name": "text"}]}, "data": rows},
    "versioned": lambda rows: {"version": "v2.0", "rows": rows},
    "split": lambda rows: {
        "columns": ["n", "text"],
        "index": [*range(len(rows))],
        "data": [[row["n"], row["text"]] for row in rows],
    },
    "index": lambda rows: {str(i): row for i, row in enumerate(rows)},
    "named": lambda rows: {f"row {i}": row for i, row in enumerate(rows)},
    "columns": lambda rows: {
        name: {str(i): row[name] for i, row in enumerate(rows)} for name in ("n", "text")
    },
    "list": lambda rows: {name: [row[name] for row in rows] for name in ("n", "text")},
}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs") / "classifier"
    return write_head(folder, "ForSequenceClassification", **named(LABELS))


@pytest.fixture
def tagger(tmp_path: Path) -> Path:
    return write_head(tmp_path / "tagger", "ForTokenClassification", **named(TAGS))


@pytest.mark.parametrize("form", FORMS)
def test_json_of_every_form_is_the_same_rows(
    form: str, distillkit: Distillkit, classifier: Path, tmp_path: Path
) -> None:
    rows = [{"n": i, "text": text} for i, text in enumerate(texts(4))]
    words = [word for row in rows for word in ("--text", str(row["text"]))]
    expected = lines(distillkit("predict", f"student.path={classifier}", *words).out)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if FORMS[form]:
        text = json.dumps(FORMS[form](rows))
    (tmp_path / "in.json").write_text(text)
    done = distillkit("predict", f"student.path={classifier}", "in.json")
    assert done.code == 0, done.err
    found = lines(done.out)
    assert [(it["n"], it["text"]) for it in found] == [(row["n"], row["text"]) for row in rows]
    assert [it["prediction"] for it in found] == [it["prediction"] for it in expected]


def test_one_row_with_a_list_of_objects_beside_its_text_is_one(
    distillkit: Distillkit, classifier: Path, tmp_path: Path
) -> None:
    row = {"text": "a dull film", "spans": [{"text": "dull", "at": 2}]}
    (tmp_path / "in.json").write_text(json.dumps(row))
    (found,) = lines(distillkit("predict", f"student.path={classifier}", "in.json").out)
    assert (found["text"], found["spans"]) == (row["text"], row["spans"])


def test_one_sentence_of_words_is_one_row(
    distillkit: Distillkit, tagger: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.json").write_text(json.dumps({"tokens": ["a", "fine", "film"]}))
    (found,) = lines(distillkit("predict", f"student.path={tagger}", "in.json").out)
    assert len(found["prediction"]) == 3


def test_a_column_file_is_read_as_in_training(
    distillkit: Distillkit, tagger: Path, tmp_path: Path
) -> None:
    sentences = [words for words, _ in tiny.tagged(6)]
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps({"tokens": words}) + "\n" for words in sentences)
    )
    expected = [
        (it["tokens"], it["prediction"])
        for it in lines(distillkit("predict", f"student.path={tagger}", "in.jsonl").out)
    ]

    def read(name: str, *words: str) -> list[Any]:
        done = distillkit("predict", f"student.path={tagger}", name, *words)
        assert done.code == 0, done.err
        return [(it["tokens"], it["prediction"]) for it in lines(done.out)]

    tagged = "\n".join("".join(f"{word} X O\n" for word in words) for words in sentences)
    (tmp_path / "in.conll").write_text(f"-DOCSTART- X O\n\n{tagged}")
    assert read("in.conll") == expected
    alone = "\n".join("".join(f"{word}\n" for word in words) for words in sentences)
    (tmp_path / "alone.conll").write_text(alone)  # words, and nothing of them
    assert read("alone.conll") == expected
    numbered = "\n".join(
        "# a comment\n" + "".join(f"{i}\t{word}\tO\n" for i, word in enumerate(words, 1))
        for words in sentences
    )
    (tmp_path / "in.conllu").write_text(numbered)
    assert read("in.conllu", "data.columns=[id,tokens,tags]") == expected
    (tmp_path / "in.tsv").write_text(numbered)
    record = {"columns": {"tokens": "tokens"}, "file_columns": ["id", "tokens", "tags"]}
    (tagger / "distillkit.json").write_text(json.dumps(record))
    assert read("in.tsv") == read("in.conllu") == expected  # its training's columns
    (tmp_path / "table.tsv").write_text("n\ttext\n1\ta fine film\n")
    (found,) = lines(distillkit("predict", f"student.path={tagger}", "table.tsv").out)
    assert (found["n"], len(found["prediction"])) == ("1", 3)
    found = distillkit("predict", f"student.path={tagger}", "in.conll", "data.columns=[a,b,c]")
    assert_refused(found, "data.columns = [a, b, c] has no tokens, which data.tokens = tokens asks")
    (tmp_path / "bad.conll").write_text("one X O\ntwo\n")
    assert_refused(
        distillkit("predict", f"student.path={tagger}", "bad.conll"), "line 2 has 1 columns"
    )


def test_questions_in_squad_s_own_form(distillkit: Distillkit, tmp_path: Path) -> None:
    reader = write_head(tmp_path / "reader", "ForQuestionAnswering")
    rows = [json.loads(it) for it in tiny.write_questions(tmp_path).read_text().splitlines()][:4]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    paragraphs = [
        {"context": row["context"], "qas": [{"id": f"q{i}", "question": row["question"]}]}
        for i, row in enumerate(rows)
    ]
    squad = {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad))
    plain = lines(distillkit("predict", f"student.path={reader}", "in.jsonl").out)
    found = lines(distillkit("predict", f"student.path={reader}", "squad.json").out)
    assert [it["prediction"] for it in found] == [it["prediction"] for it in plain]
    assert [it["id"] for it in found] == ["q0", "q1", "q2", "q3"]
    del paragraphs[2]["qas"][0]["question"]
    (tmp_path / "squad.json").write_text(json.dumps(squad))
    refused = distillkit("predict", f"student.path={reader}", "squad.json")
    assert_refused(refused, "it is in SQuAD's format, but a part of it has no 'question'")
