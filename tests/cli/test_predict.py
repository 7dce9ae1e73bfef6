"""`distillkit predict`: what is predicted is what plain transformers predicts, row by row."""

import csv
import io
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import tiny
from tests.cli.runs import Finished, assert_refused
from tests.conftest import Distillkit

LABELS = ["dull", "fine", "=great"]
TAGS = ["O", "B-GOOD", "I-GOOD", "B-BAD", "I-BAD"]


def write_head(folder: Path, head: str, **fields: Any) -> Path:
    """A student with a random head whose answers differ from text to text."""
    import torch
    import transformers

    tiny.write_tokenizer(folder)
    torch.manual_seed(3)
    shape = transformers.BertConfig(
        vocab_size=len((folder / "vocab.txt").read_text().splitlines()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.6,
        **fields,
    )
    getattr(transformers, f"Bert{head}")(shape).save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 24}))
    return folder


def named(names: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict") / "classifier"
    return write_head(folder, "ForSequenceClassification", **named(LABELS))


def texts(count: int = 30) -> list[str]:
    return [text for text, _ in tiny.labelled(count, seed=5)]


def plain_logits(folder: Path, auto: str, *columns: str, **how: Any) -> np.ndarray:
    """The logits of one text, or pair, by transformers alone."""
    import torch
    import transformers

    model = getattr(transformers, auto).from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    how = {"truncation": True, "max_length": 24, "return_tensors": "pt", **how}
    with torch.no_grad():
        return np.asarray(model(**tokenizer(*columns, **how)).logits[0])


def shares(logits: np.ndarray) -> np.ndarray:
    exps = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(exps / exps.sum())


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


CLASSES = "AutoModelForSequenceClassification"


def test_texts_have_the_labels_and_probabilities_of_plain_transformers(
    distillkit: Distillkit, classifier: Path
) -> None:
    given = texts(12)
    words = [word for text in given for word in ("--text", text)]
    result = distillkit("predict", f"student.path={classifier}", *words)
    assert result.code == 0, result.err
    found = lines(result.out)
    assert [(it["row"], it["text"]) for it in found] == list(enumerate(given, start=1))
    for it in found:
        expected = shares(plain_logits(classifier, CLASSES, it["text"]))
        assert it["prediction"] == LABELS[expected.argmax()]
        assert it["probability"] == pytest.approx(expected.max(), abs=2e-5)
        assert list(it["probabilities"]) == LABELS
        assert [*it["probabilities"].values()] == pytest.approx([*expected], abs=2e-5)
    assert len({it["prediction"] for it in found}) > 1


def test_a_table_keeps_its_rows_and_columns_in_their_order(
    distillkit: Distillkit, classifier: Path, tmp_path: Path
) -> None:
    given = [*texts(20), "ärger, “quoted”\nand a second line 🎬", "@someone -5"]
    rows = [(f"0{i}", text, "") for i, text in enumerate(given)]
    source = tiny.write_csv(tmp_path / "in.csv", ("id", "text", "note"), rows)
    result = distillkit("predict", f"student.path={classifier}", source, "--out", "out.csv")
    assert result.code == 0, result.err
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        header, *found = list(csv.reader(file))
    assert header[:6] == ["row", "id", "text", "note", "prediction", "probability"]
    assert header[6:] == [f"probability_{name}" for name in LABELS]
    assert [row[:4] for row in found] == [[str(i + 1), *row] for i, row in enumerate(rows)]
    for row in found:
        expected = shares(plain_logits(classifier, CLASSES, row[2]))
        label = LABELS[expected.argmax()]
        assert row[4] == ("'=great" if label == "=great" else label)  # no formula
        assert [float(cell) for cell in row[6:]] == pytest.approx([*expected], abs=2e-5)


@pytest.mark.parametrize("size", ["1", "3", "1000"])
def test_neither_batch_nor_order_changes_an_answer(
    distillkit: Distillkit, classifier: Path, tmp_path: Path, size: str
) -> None:
    given = texts(25)
    random.Random(int(size)).shuffle(given)
    source = tmp_path / "in.txt"
    source.write_text("\n".join(given) + "\n")
    result = distillkit("predict", f"student.path={classifier}", source, "--batch-size", size)
    found = {it["text"]: it["probabilities"]["dull"] for it in lines(result.out)}
    assert list(found) == given
    for text, share in found.items():
        expected = shares(plain_logits(classifier, CLASSES, text))[0]
        assert share == pytest.approx(expected, abs=2e-5)


def test_long_texts_are_cut_as_in_training_and_counted(
    distillkit: Distillkit, classifier: Path
) -> None:
    just, longer = " ".join(["film"] * 22), " ".join(["film"] * 22 + ["great"] * 9)
    words = ("--text", just, "--text", longer)
    result = distillkit("predict", f"student.path={classifier}", *words)
    assert "1 of 2 texts is longer than 24 tokens, and cut there as in training" in result.err
    first, second = lines(result.out)
    assert first["probabilities"] == second["probabilities"]
    more = distillkit("predict", f"student.path={classifier}", "task.max_length=40", *words)
    expected = shares(plain_logits(classifier, CLASSES, longer, max_length=40))
    assert "longer" not in more.err
    assert lines(more.out)[1]["probability"] == pytest.approx(expected.max(), abs=2e-5)


def test_rows_without_text_stay_rows(
    distillkit: Distillkit, classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, b"a good film\n\n  \ndull\n")
    result = distillkit("predict", f"student.path={classifier}")
    assert "2 of 4 rows have no text (the first is row 2)" in result.err
    found = lines(result.out)
    assert [it["row"] for it in found] == [1, 2, 3, 4]
    assert [it["prediction"] is None for it in found] == [False, True, True, False]
    alone = distillkit("predict", f"student.path={classifier}", "--text", "dull")
    assert lines(alone.out)[0]["probabilities"] == pytest.approx(
        found[3]["probabilities"], abs=2e-5
    )


@pytest.mark.parametrize(
    ("name", "separator"), [("a.csv", ";"), ("a.tsv", "\t"), ("a.csv.gz", ",")]
)
def test_tables_are_read_as_training_reads_them(
    distillkit: Distillkit, classifier: Path, tmp_path: Path, name: str, separator: str
) -> None:
    import gzip

    text = separator.join(("n", "review")) + "\n" + separator.join(("1", "dull")) + "\n"
    data = text.encode("utf-8-sig")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    words = ("predict", f"student.path={classifier}", name)
    line = assert_refused(distillkit(*words), "its columns are n, review", "--column TEXT")
    assert "which this student was trained on" in line
    (found,) = lines(distillkit(*words, "--column", "review").out)
    assert (found["n"], found["review"]) == ("1", "dull")


def test_parquet_and_workbooks_keep_their_values(
    distillkit: Distillkit, classifier: Path, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from openpyxl import Workbook

    given = texts(3)
    columns = {"n": [1, None, 3], "text": given, "tags": [["a"], [], None]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    book = Workbook()
    book.create_sheet("notes")
    sheet = book.active
    assert sheet is not None
    for row in (("text", "n"), *((text, i) for i, text in enumerate(given))):
        sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    found = lines(distillkit("predict", f"student.path={classifier}", "a.parquet").out)
    assert [(it["n"], it["text"], it["tags"]) for it in found] == list(
        zip(*columns.values(), strict=True)
    )
    again = lines(distillkit("predict", f"student.path={classifier}", "a.xlsx").out)
    assert [it["text"] for it in again] == given
    assert [it["probability"] for it in again] == [it["probability"] for it in found]


def test_the_likeliest_classes_alone(distillkit: Distillkit, classifier: Path) -> None:
    words = ("predict", f"student.path={classifier}", "--top", "2", "--text", "a great film")
    (found,) = lines(distillkit(*words).out)
    expected = shares(plain_logits(classifier, CLASSES, "a great film"))
    order = [*np.argsort(-expected)[:2]]
    assert list(found["probabilities"]) == [LABELS[i] for i in order]
    assert distillkit(*words, "--out", "o.csv").code == 0
    row = next(csv.DictReader(Path("o.csv").read_text().splitlines()))
    assert row["top_2"].removeprefix("'") == LABELS[order[1]]
    assert float(row["top_2_probability"]) == pytest.approx(expected[order[1]], abs=2e-5)


def test_of_many_classes_the_likeliest_five_are_written(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    folder = write_head(
        tmp_path / "many", "ForSequenceClassification", **named([f"c{i}" for i in range(30)])
    )
    result = distillkit("predict", f"student.path={folder}", "--text", "good")
    assert "of 30 classes the 5 likeliest are written" in result.err
    assert len(lines(result.out)[0]["probabilities"]) == 5


def test_a_column_of_the_same_name_is_kept(
    distillkit: Distillkit, classifier: Path, tmp_path: Path
) -> None:
    tiny.write_csv(tmp_path / "in.csv", ("row", "text", "prediction"), [("x", "good", "mine")])
    result = distillkit("predict", f"student.path={classifier}", "in.csv", "--out", "o.jsonl")
    assert "row is written as row_2, prediction is written as prediction_2" in result.err
    (found,) = lines((tmp_path / "o.jsonl").read_text())
    assert (found["row"], found["row_2"], found["prediction"]) == ("x", 1, "mine")
    assert found["prediction_2"] in LABELS


def test_several_labels_each_by_itself(distillkit: Distillkit, tmp_path: Path) -> None:
    names = named(["warm", "cold", "long"])
    folder = write_head(
        tmp_path / "several",
        "ForSequenceClassification",
        problem_type="multi_label_classification",
        **names,
    )
    for threshold in (0.5, 0.9):
        words = [word for text in texts(8) for word in ("--text", text)]
        task = f"task.threshold={threshold}"
        for it in lines(distillkit("predict", f"student.path={folder}", task, *words).out):
            logits = plain_logits(folder, CLASSES, it["text"]).astype(np.float64)
            expected = 1 / (1 + np.exp(-logits))
            assert [*it["probabilities"].values()] == pytest.approx([*expected], abs=2e-5)
            held = [n for n, p in zip(["warm", "cold", "long"], expected, strict=True)]
            held = [n for n, p in zip(held, expected, strict=True) if p > threshold]
            assert it["prediction"] == held


def test_a_value(distillkit: Distillkit, tmp_path: Path) -> None:
    folder = write_head(
        tmp_path / "value", "ForSequenceClassification", num_labels=1, problem_type="regression"
    )
    words = [word for text in texts(4) for word in ("--text", text)]
    for it in lines(distillkit("predict", f"student.path={folder}", *words).out):
        expected = plain_logits(folder, CLASSES, it["text"])[0]
        assert it["prediction"] == pytest.approx(expected, abs=2e-5)
        assert set(it) == {"row", "text", "prediction"}


def test_pairs_are_read_by_the_columns_of_their_training(
    distillkit: Distillkit, classifier: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "pairs"
    shutil.copytree(classifier, folder)
    columns = {"text": "premise", "text_pair": "claim"}
    record = {"task": {"max_length": 30}, "columns": columns}
    (folder / "distillkit.json").write_text(json.dumps(record))
    rows = [(f"the film {i}", "the actor was good", "x") for i in range(3)]
    tiny.write_csv(tmp_path / "in.csv", ("premise", "claim", "text"), rows)
    found = lines(distillkit("predict", f"student.path={folder}", "in.csv").out)
    for it in found:
        logits = plain_logits(folder, CLASSES, it["premise"], it["claim"], max_length=30)
        assert it["probability"] == pytest.approx(shares(logits).max(), abs=2e-5)
    words = ("--text", rows[0][0], "--pair", rows[0][1])
    (alone,) = lines(distillkit("predict", f"student.path={folder}", *words).out)
    assert alone["probabilities"] == pytest.approx(found[0]["probabilities"], abs=2e-5)
    assert_refused(
        distillkit("predict", f"student.path={folder}", "--text", "one"),
        "--text: this student reads pairs (premise, claim); add --pair for each --text",
    )


def test_each_word_has_its_tag(distillkit: Distillkit, tmp_path: Path) -> None:
    import torch
    from seqeval.metrics.sequence_labeling import get_entities
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    folder = write_head(tmp_path / "tagger", "ForTokenClassification", **named(TAGS))
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    given = [*texts(6), "unheardof words here"]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"tokens": text.split()}) + "\n" for text in given))
    found = lines(distillkit("predict", f"student.path={folder}", path).out)
    assert [it["words"] for it in found] == [text.split() for text in given]
    for it in found:
        encoded = tokenizer(it["words"], is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(**encoded).logits[0]
        firsts = [encoded.word_ids().index(i) for i in range(len(it["words"]))]
        tags = [TAGS[i] for i in logits[firsts].argmax(-1)]
        assert it["prediction"] == tags
        spans = [(kind, begin, end + 1) for kind, begin, end in get_entities(tags)]
        assert [(e["entity"], e["begin"], e["end"]) for e in it["entities"]] == spans
        texts_of = [" ".join(it["words"][begin:end]) for _, begin, end in spans]
        assert [e["text"] for e in it["entities"]] == texts_of
    cut = distillkit("predict", f"student.path={folder}", "--text", " ".join(["film"] * 30))
    assert "1 of 1 texts is longer than 24 tokens" in cut.err
    assert lines(cut.out)[0]["prediction"].count(None) == 8


def test_an_answer_is_a_stretch_of_its_context(distillkit: Distillkit, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    folder = write_head(tmp_path / "answers", "ForQuestionAnswering")
    model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    question, context = "what was good", "the film was great but the ending was poor"
    words = ("--question", question, "--context", context)
    (found,) = lines(distillkit("predict", f"student.path={folder}", *words).out)
    encoded = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
    offsets = encoded.pop("offset_mapping")[0].tolist()
    inside = [i for i, part in enumerate(encoded.sequence_ids()) if part == 1]
    with torch.no_grad():
        said = model(**encoded)
    may = [0, *inside]  # the context, and [CLS]
    start, end = (x[0][may].double().softmax(-1)[1:] for x in (said.start_logits, said.end_logits))
    pairs = [
        (float(start[i] * end[j]), i, j) for i in range(len(inside)) for j in range(i, len(inside))
    ]
    share, i, j = max(pairs)
    begin, stop = offsets[inside[i]][0], offsets[inside[j]][1]
    assert (found["begin"], found["end"], found["prediction"]) == (begin, stop, context[begin:stop])
    assert found["probability"] == pytest.approx(share, abs=2e-5)


def test_what_is_wrong_is_one_line_before_the_model_is_loaded(
    distillkit: Distillkit, classifier: Path, body: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from distillkit.models.saved import SavedModel
    from tests import tiny_language

    monkeypatch.setattr(SavedModel, "open", lambda *_: pytest.fail("a model was loaded"))
    at = f"student.path={classifier}"
    one = ("--text", "good")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("text\n")
    (tmp_path / "blank.csv").write_text("text,n\n,1\n ,2\n")
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "nothing").mkdir()
    tiny.write_csv(tmp_path / "in.csv", ("text",), [("good",)])
    language = tiny_language.write_model(tmp_path / "language")
    for words, *parts in (
        (one, "student.path: required, but not set; add student.path=FOLDER"),
        (("student.path=./none", *one), "student.path = ./none: no such file or folder"),
        (("student.path=nothing", *one), "no config.json in it"),
        ((f"student.path={body}", *one), "BertModel has no head that predicts labels"),
        (
            (f"student.path={language}", *one),
            "a language model",
            "distillkit generate student.path",
        ),
        ((at, "none.csv"), "data = none.csv: no such file"),
        ((at, "empty.csv"), "data = empty.csv: the file is empty"),
        ((at, "header.csv"), "the file has no rows"),
        ((at, "blank.csv"), "no text in any of the 2 rows"),
        ((at, "in.csv", "--column", "txt"), "--column txt: no such column", "did you mean text?"),
        ((at, "in.csv", *one), "--text: in.csv has the texts"),
        ((at, *one, "--pair", "a", "--pair", "b"), "--pair: 2 of them for 1 --text"),
        ((at, *one, "--out", "there.csv"), "there.csv: is there already", "--overwrite"),
        ((at, *one, "--out", ""), "--out: is empty; name a csv, tsv or jsonl file"),
        ((at, *one, "--out", "x.pdf"), "must end in one of .csv, .tsv, .jsonl"),
        ((at, *one, "--out", "no/such/x.csv"), "there is no folder no/such"),
        ((at, "in.csv", "--overwrite", "--out", "in.csv"), "is the input; name another file"),
        ((at, *one, "task.max_lenght=3"), "task.max_lenght: no such key", "task.max_length"),
        ((at, *one, "task.max_length=0"), "task.max_length = 0: must be greater than 0"),
        ((at, *one, "task.threshold=0.4"), "task.threshold:", "which takes max_length"),
        (
            (at, *one, "student.labels=[a,b]"),
            "2 names, and",
            "has 3 outputs ([dull, fine, =great])",
        ),
        ((at, *one, "--top", "0"), "0 is no whole number above 0"),
    ):
        assert_refused(distillkit("predict", *words), *(p for p in parts if p))
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert not list(tmp_path.glob(".*.part"))


def test_what_a_record_has_of_scores_plays_no_part(distillkit: Distillkit, tmp_path: Path) -> None:
    folder = write_head(tmp_path / "tagger", "ForTokenClassification", **named(TAGS))
    words = ("predict", f"student.path={folder}", "--text", "good film")
    before = distillkit(*words)
    task = {"headline": "f1", "class_weights": "balanced", "entities": True, "max_length": 24}
    (folder / "distillkit.json").write_text(json.dumps({"task": task}))
    after = distillkit(*words)
    assert after.code == before.code == 0, after.err
    assert after.out == before.out


def test_an_encoder_decoder_is_neither(distillkit: Distillkit, tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "both")
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}
    (folder / "config.json").write_text(json.dumps(config))
    line = assert_refused(distillkit("predict", f"student.path={folder}", "--text", "x"), "no head")
    assert "generate" not in line
    assert_refused(
        distillkit("generate", f"student.path={folder}", "--prompt", "x"),
        "T5ForConditionalGeneration is no causal language model",
    )


def test_columns_of_one_name_are_left_out_with_a_word(
    distillkit: Distillkit, classifier: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text("text;n;n\ngood;1;2\n")
    result = distillkit("predict", f"student.path={classifier}", "in.csv")
    assert "several columns are named n, and are left out" in result.err
    assert result.err.count("has semicolons between fields") == 1
    (found,) = lines(result.out)
    assert found["text"] == "good" and "n" not in found


def test_labels_can_be_named(distillkit: Distillkit, tmp_path: Path) -> None:
    folder = write_head(tmp_path / "unnamed", "ForSequenceClassification", num_labels=3)
    at = f"student.path={folder}"
    (plain,) = lines(distillkit("predict", at, "--text", "good").out)
    (given,) = lines(distillkit("predict", at, "student.labels=[a,b,c]", "--text", "good").out)
    assert list(plain["probabilities"]) == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert list(given["probabilities"]) == ["a", "b", "c"]
    assert [*given["probabilities"].values()] == [*plain["probabilities"].values()]


def test_damaged_weights_are_no_prediction(
    distillkit: Distillkit, classifier: Path, tmp_path: Path
) -> None:
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "damaged"
    shutil.copytree(classifier, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.bias"] = torch.full((3,), float("nan"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    words = ("predict", f"student.path={folder}", "--text", "good", "--out", "out.csv")
    assert_refused(distillkit(*words), "is no number; its weights are damaged")
    assert not Path("out.csv").exists()


def test_an_output_that_is_no_number_names_its_row() -> None:
    from distillkit.errors import ModelError
    from distillkit.prediction.predict import check_numbers
    from distillkit.token_table import TokenTable

    table = TokenTable.of_rows(
        [np.zeros(2, np.int32)] * 3, np.zeros(3, "S16"), [np.zeros(1, np.int64)] * 3
    )
    logits = np.array([[0.0, 1.0], [-np.inf, 2.0], [np.inf, 0.0]])
    with pytest.raises(ModelError, match="of row 8 is no number"):
        check_numbers(logits, table, [3, 4, 7], "student.path = x")
    check_numbers(logits[:2], table, [3, 4, 7], "student.path = x")


def test_any_folder_that_has_a_student(distillkit: Distillkit, finished: Finished) -> None:
    """A report, the student in it, an artifact, and the newest of several reports."""
    report = next(finished.folder.glob("outputs/*/*"))
    one = ("--text", "a warm and clever film")
    outs = [
        lines(distillkit("predict", f"student.path={path}", *one).out)
        for path in (
            report / "student",
            report,
            finished.folder / "outputs" / "*" / "*" / "student",
            *finished.workspace.glob("student-*"),
        )
    ]
    assert outs[0][0]["prediction"] in ("bad", "good")
    assert outs[0] == outs[1] == outs[2]
    assert outs[0] in outs[3:]  # of the artifacts one is the control
    record = json.loads((report / "student" / "distillkit.json").read_text())
    assert record["task"]["max_length"] == 24
    assert record["columns"] == {"text": "text"}
