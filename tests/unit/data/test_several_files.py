"""A path is that file; lists, patterns and folders are read on purpose, and said."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distillkit.data import Conversations, Corpus, Documents, Questions, TaggedText, TextData
from distillkit.data.conversations import prepare_conversations
from distillkit.data.documents import prepare_documents
from distillkit.data.files import prepare_labelled, prepare_transfer
from distillkit.data.sources import expand, identity
from distillkit.data.tables import Table, read_table
from distillkit.errors import DataError
from distillkit.stages import corpus as stages
from distillkit.tasks import Classification, QuestionAnswering, Regression, TokenClassification
from tests.tiny import labelled, write_csv

Read = Callable[..., Table]
TEXTS = {"data.text": "text", "data.label": "label"}


@pytest.mark.parametrize("spec", [["a.csv", "a.csv"], ["a.csv", "*.csv"]])
def test_a_file_that_a_list_has_twice_is_refused(
    tmp_path: Path, read: Read, spec: list[str]
) -> None:
    one_row(tmp_path / "a.csv", "a")
    with pytest.raises(DataError, match=r"^data\.train: a\.csv stands in it twice; name each file"):
        read(spec)


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read a source that stands in the folder of the test."""
    monkeypatch.chdir(tmp_path)

    def call(spec: Any, split: str = "train", **settings: Any) -> Table:
        usual = {"columns": TEXTS, "texts": TEXTS, "key": "data.train"}
        return read_table(spec, split=split, cache=tmp_path / "cache", **usual | settings)

    return call


def one_row(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, ["text", "label"], [[text, "1"]])


def test_a_file_with_the_signs_of_a_pattern_is_that_file(tmp_path: Path, read: Read) -> None:
    for name in ("d[1].csv", "d1.csv", "t*.csv", "tx.csv", "q?.csv", "qa.csv"):
        one_row(tmp_path / name, name)
    for name in ("d[1].csv", "t*.csv", "q?.csv", str(tmp_path / "d[1].csv")):
        assert read(name)["text"] == [Path(name).name]


def test_a_pattern_and_a_list_are_read_in_order_and_said(
    tmp_path: Path, read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b", "a"):
        one_row(tmp_path / "parts" / f"{name}.csv", name)
    (tmp_path / "parts" / "c.jsonl").write_text('{"label": 2, "text": "c"}\n' * 2)
    assert read("parts/*")["text"] == ["a", "b", "c", "c"]
    assert "data.train = parts/*: 3 files, 4 rows (a.csv 1, b.csv 1, c.jsonl 2)" in (
        capsys.readouterr().err
    )
    table = read(["parts/c.jsonl", "parts/a.*"])
    assert table["text"] == ["c", "c", "a"]
    assert [table.place(row) for row in range(3)] == [
        "row 1 of c.jsonl",
        "row 2 of c.jsonl",
        "row 1 of a.csv",
    ]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ([], r"data\.train = \[\]: names no file"),
        ("none*.csv", r"none\*\.csv: no such file or folder, and none that matches it"),
        ("a.csv,b.csv", r"several files are a list: data\.train=\[a\.csv,b\.csv\]"),
        (["a.csv", "none.csv"], r"data\.train = none\.csv: no such file"),
    ],
)
def test_what_names_no_file_is_refused(tmp_path: Path, read: Read, spec: Any, said: str) -> None:
    one_row(tmp_path / "a.csv", "a")
    one_row(tmp_path / "b.csv", "b")
    with pytest.raises(DataError, match=said):
        read(spec)


def test_several_files_are_known_by_the_content_of_all_in_their_order(
    tmp_path: Path, read: Read
) -> None:
    for name in ("a", "b"):
        one_row(tmp_path / f"{name}.csv", name)
    both = identity(["a.csv", "b.csv"], key="k")
    assert identity("?.csv", key="k") == both
    assert identity(["b.csv", "a.csv"], key="k") != both
    assert identity(["a.csv"], key="k") == identity("a.csv", key="k") != both
    one_row(tmp_path / "b.csv", "other")
    assert identity(["a.csv", "b.csv"], key="k") != both


# folders


def test_the_splits_of_a_folder_are_read_with_every_setting(tmp_path: Path, read: Read) -> None:
    for name in ("train", "dev", "my-test"):
        (tmp_path / "f").mkdir(exist_ok=True)
        (tmp_path / "f" / f"{name}.csv").write_bytes(f"text;label\né {name};NA\n".encode("cp1252"))
    (tmp_path / "f" / "README.md").write_text("# train")
    for split, name in (("train", "train"), ("validation", "dev"), ("test", "my-test")):
        table = read("f", split)
        assert (table["text"], table["label"]) == ([f"é {name}"], ["NA"])
    data = TextData(train="f", text="text", label="label")
    assert (data.validation, data.test) == ("f", "f")
    own = TextData(train="f", text="text", label="label", test="other.csv")
    assert (own.validation, own.test) == ("f", "other.csv")


@pytest.mark.parametrize("default", [True, False])
def test_a_card_says_which_splits_a_folder_has(tmp_path: Path, read: Read, default: bool) -> None:
    for name in ("a", "b", "c"):
        one_row(tmp_path / "h" / f"{name}.csv", name)
    files = "  data_files:\n  - split: train\n    path: a.csv\n  - split: test\n    path: b.csv\n"
    other = "- config_name: other\n  data_files: c.csv\n"
    head = f"- config_name: {'default' if default else 'one'}\n{files}{other if default else ''}"
    (tmp_path / "h" / "README.md").write_text(f"---\nconfigs:\n{head}---\n")
    data = TextData(train="h", text="text", label="label")
    assert (data.validation, data.test) == (None, "h")
    assert (read("h", "train")["text"], read("h", "test")["text"]) == (["a"], ["b"])


@pytest.mark.parametrize(
    "head", ["configs: [", "configs: x", "configs:\n- config_name: a\n  data_files: test.csv"]
)
def test_a_card_without_splits_names_none(tmp_path: Path, read: Read, head: str) -> None:
    one_row(tmp_path / "h" / "test.csv", "a")
    (tmp_path / "h" / "README.md").write_text(f"---\n{head}\n---\n")
    assert TextData(train="h", text="text", label="label").test is None


def test_a_folder_of_files_without_a_split_is_training_data(tmp_path: Path, read: Read) -> None:
    for name in ("x/1.csv", "x/2.csv"):
        one_row(tmp_path / name, name)
    assert read("x")["text"] == ["x/1.csv", "x/2.csv"]
    with pytest.raises(DataError, match="no file of this folder is of the split test; it holds tr"):
        read("x", "test")
    assert TextData(train="x", text="text", label="label").test is None
    (tmp_path / "x" / "3.jsonl").write_text('{"text": "a", "label": 1}')
    with pytest.raises(DataError, match=r"several kinds \(1\.csv, 2\.csv, 3\.jsonl\)"):
        read("x")


def test_what_save_to_disk_wrote_is_read(tmp_path: Path, read: Read) -> None:
    from datasets import Dataset, DatasetDict

    saved = Dataset.from_dict({"text": ["a"], "label": [1], "more": [None]})
    saved.save_to_disk(str(tmp_path / "one"))
    DatasetDict({"train": saved, "test": saved, "other": saved}).save_to_disk(tmp_path / "all")
    assert read("one")["label"] == read("all")["label"] == read("all#split=other")["label"] == ["1"]
    assert TextData(train="all", text="text", label="label").test == "all"
    with pytest.raises(DataError, match=r"no split validation; it holds train, test, other"):
        read("all", "validation")


def test_what_a_folder_with_a_card_holds_now_is_read(tmp_path: Path, read: Read) -> None:
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "README.md").write_text("---\nconfigs:\n- config_name: default\n---\n")
    identities = set()
    for text in ("a", "b", "c"):
        one_row(tmp_path / "h" / "train.csv", text)
        os.utime(tmp_path / "h" / "train.csv", (1, 1))
        assert read("h")["text"] == [text]
        identities.add(identity("h", key="data.train", repo_type="dataset"))
    assert len(identities) == 3


ELSEWHERE = {  # what a card names -> what is said
    "an absolute path": ("data_files: OUT/x.csv", "/out/x.csv as data, which lies elsewhere; put"),
    "a path above": (
        "data_files: ../out/x.csv",
        "names ../out/x.csv as data, which lies elsewhere",
    ),
    "a folder above": ("data_dir: ../out", "names ../out as data, which lies elsewhere; put it"),
    "the whole disk": ("data_files: /**", "names /** as data, which lies elsewhere"),  # at once
    "its folder": ("data_dir: /", "names / as data, which lies elsewhere"),
    "a home": (
        "data_files: {train: [train.csv, ~/x.csv]}",
        "names ~/x.csv as data, which lies els",
    ),
    "a hidden file": ("data_files: .h/x.csv", "h/.h/x.csv as data, which is hidden"),
    "an address": ("data_files: http://127.0.0.1:9/x.csv", "names http://127.0.0.1:9/x.csv as dat"),
    "a chain": ("data_files: 'zip://x.csv::h/x.zip'", "README.md names zip://x.csv::h/x.zip as d"),
    "a deep address": (
        "data_files: [{split: train, path: ['hf://datasets/o/n/x.csv']}]",
        "which lies elsewhere; put it into the folder, and name it by its place there",
    ),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_card_leads_to_no_other_place(tmp_path: Path, read: Read, name: str) -> None:
    for path in ("h/train.csv", "h/.h/x.csv", "out/x.csv"):
        one_row(tmp_path / path, path)
    files, words = ELSEWHERE[name]
    head = f"configs:\n- config_name: default\n  {files.replace('OUT', str(tmp_path / 'out'))}\n"
    (tmp_path / "h" / "README.md").write_text(f"---\n{head}---\n")
    with pytest.raises(DataError, match=re.escape(words)):
        read("h")


def test_a_card_that_stands_for_too_much_is_refused_at_once(tmp_path: Path, read: Read) -> None:
    one_row(tmp_path / "h" / "train.csv", "a")
    rows = (f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 15))
    bomb = "a0: &a0 {x: 1}\n" + "".join(rows) + "configs: [{config_name: default}]\n"
    (tmp_path / "h" / "README.md").write_text(f"---\n{bomb}---\n")
    for look in (lambda: TextData(train="h", text="text", label="label"), lambda: read("h")):
        with pytest.raises(DataError, match=r"stands for more than 200,000 values once its alias"):
            look()


def test_a_file_that_counts_before_the_card_is_named(tmp_path: Path, read: Read) -> None:
    one_row(tmp_path / "h" / "train.csv", "a")
    (tmp_path / "h" / "README.md").write_text("---\nconfigs: [{config_name: default}]\n---\n")
    (tmp_path / "h" / ".huggingface.yaml").write_text("configs: []")
    with pytest.raises(
        DataError, match=r"its \.huggingface\.yaml counts before its README\.md; wr"
    ):
        read("h")


def test_records_of_saved_sets_lead_to_no_other_place(tmp_path: Path, read: Read) -> None:
    from datasets import Dataset, DatasetDict

    kept = Dataset.from_dict({"text": ["a"]})
    for name in ("one", "two"):
        kept.save_to_disk(str(tmp_path / name))
    DatasetDict({"train": kept}).save_to_disk(tmp_path / "all")
    record = tmp_path / "one" / "state.json"
    (file,) = json.loads(record.read_text())["_data_files"]
    other = {"_data_files": [{"filename": f"../two/{file['filename']}"}]}
    record.write_text(json.dumps(json.loads(record.read_text()) | other))
    (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train", "../two"]}')
    for spec in ("one", "all", "all#split=../two"):
        with pytest.raises(
            DataError, match=r"its record \(state\.json\) names .* outside of the fo"
        ):
            read(spec)


def test_a_folder_that_a_link_leads_to_is_not_left_out_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("f/train.csv", "more/train-2.csv"):
        one_row(tmp_path / name, name)
    (tmp_path / "f" / ".cache").symlink_to(tmp_path / "more")
    assert identity("f", key="data.train", repo_type="dataset").startswith("folder:")
    (tmp_path / "f" / "train-3.csv").symlink_to(tmp_path / "more" / "train-2.csv")  # a file's
    assert identity("f", key="data.train", repo_type="dataset").startswith("folder:")
    (tmp_path / "f" / "1.txt").symlink_to("/proc/self/environ")
    with pytest.raises(DataError, match=r"f: 1.txt in it leads to /proc/self/environ$"):
        identity("f", key="data.train", repo_type="dataset")
    (tmp_path / "f" / "1.txt").unlink()
    (tmp_path / "f" / "more").symlink_to(tmp_path / "more")
    with pytest.raises(DataError, match=r"^data.train = f: more in it is a link to a folder") as it:
        identity("f", key="data.train", repo_type="dataset")
    (advice,) = re.findall(r"\[(.*)\]", str(it.value))
    assert [Path(p).name for p in expand(advice, key="data.train")] == ["train-2.csv"]


# plain text


def documents(tmp_path: Path, data: Documents) -> list[str]:
    out = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}"
    prepare_documents(data, cache=tmp_path / "cache", out=out)
    corpus = Corpus.open(out, None)
    splits = ("train", "validation", "test")
    return sorted(text for name in splits for text in corpus.split(name).texts)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_documents_of_a_text_file_stand_between_blank_lines_or_line_by_line(
    tmp_path: Path, end: str
) -> None:
    parts = [f' = {i} =\n a line\u2028 of {i}\x85, "or' for i in range(40)]
    path = tmp_path / "a.txt"
    path.write_bytes((" \n" + "\n \n\n".join(["text", *parts])).replace("\n", end).encode())
    found = documents(tmp_path, Documents(train=str(path), validation_fraction=0.3))
    assert found == sorted(["text", *parts])
    by_line = documents(tmp_path, Documents(train=str(path), document="line"))
    assert by_line == sorted(["text", *(line for part in parts for line in part.split("\n"))])


def test_text_files_may_be_a_document_each(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.txt").write_text(f"one {i}\n\ntwo\n")
    whole = Documents(train=str(tmp_path / "*.txt"), document="file", validation_fraction=0.3)
    assert documents(tmp_path, whole) == sorted(f"one {i}\n\ntwo" for i in range(12))


def test_unlabelled_text_is_a_text_a_line(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "train.csv", ("text", "label"), labelled(60))
    (tmp_path / "more.txt").write_text('It is new, I say; yes\n\n"Quoted\n1\n', encoding="utf-8")
    data = TextData(
        train=str(train),
        text="text",
        label="label",
        transfer=[str(tmp_path / "more.txt")],
        transfer_unit="row",
    )
    out = tmp_path / "out"
    prepare_labelled(data, Classification.read_labels, cache=tmp_path / "cache", out=out)
    more = tmp_path / "more"
    prepare_transfer(data, Corpus.open(out, None), cache=tmp_path / "cache", out=more)
    found = Corpus.open(out, more).split("transfer").texts
    assert sorted(found) == sorted(["It is new, I say; yes", '"Quoted', "1"])


# settings and fingerprints


def test_how_text_is_written_is_a_part_of_the_name(tmp_path: Path) -> None:
    path = str(write_csv(tmp_path / "a.csv", ("text", "label"), labelled(4)))
    usual = {"train": path, "text": "text", "label": "label"}
    plain = stages.labelled_fields(TextData(**usual), Classification())  # type: ignore[arg-type]
    for setting in ({"separator": ";"}, {"encoding": "cp1252"}, {"quoting": "none"}):
        other = TextData(**usual | setting)  # type: ignore[arg-type]
        assert stages.labelled_fields(other, Classification()) != plain
    again = TextData(**usual | {"train": [path]})  # type: ignore[arg-type]
    assert stages.labelled_fields(again, Classification()) == plain


@pytest.mark.parametrize(
    ("written", "decimal", "value"),
    [("1,5", None, 1.5), ("-0,25", ",", -0.25), ("1.5", ".", 1.5), ("1e-1", None, 0.1)],
)
def test_decimal_commas_are_read_where_labels_are_real(
    tmp_path: Path, written: str, decimal: Any, value: float
) -> None:
    rows = [(text, written if label else "2") for text, label in labelled(60)]
    path = str(write_csv(tmp_path / "a.csv", ("text", "label"), rows))
    data = TextData(train=path, text="text", label="label", decimal=decimal)
    cache, out = tmp_path / "cache", tmp_path / "out"
    prepare_labelled(data, Regression.read_labels, cache=cache, out=out, distribution="real")
    labels = Corpus.open(out, None).split("train").labels
    assert labels is not None and set(labels.tolist()) == {2.0, value}


@pytest.mark.parametrize(
    ("written", "decimal", "said"),
    [
        ("1,234", None, "if that is a decimal comma set data.decimal=','"),
        ("1,5", ".", r"holds '1,5' in row 2 of .*, which is no number"),
        ("1.5", ",", "holds '1.5' in row 2"),
        ("1_000", None, "holds '1_000' in row 2"),
        ("x" * 999, None, r"holds 'x+ … x+' in row 2"),
    ],
)
def test_what_may_be_another_number_is_refused(
    tmp_path: Path, written: str, decimal: Any, said: str
) -> None:
    rows = [(text, written if label else "2") for text, label in labelled(60)]
    path = str(write_csv(tmp_path / "a.csv", ("text", "label"), rows))
    data = TextData(train=path, text="text", label="label", decimal=decimal)
    with pytest.raises(DataError, match=said) as caught:
        prepare_labelled(
            data, Regression.read_labels, cache=tmp_path, out=tmp_path / "out", distribution="real"
        )
    assert len(str(caught.value)) < 400


# other kinds


def test_every_kind_of_data_takes_several_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shares: dict[str, Any] = {"validation_fraction": 0.3, "test_fraction": 0.3}
    for part in "ab":
        chats = [{"p": f"hi {part}{i}", "r": f"yes {i}"} for i in range(20)]
        asked = [{"question": f"q{i}?", "context": f"c{part}{i}", "answers": []} for i in range(20)]
        for name, rows in (("chat", chats), ("qa", asked)):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (tmp_path / f"{name}-{part}.jsonl").write_text(text)
        words = "\n".join(f"w{part}{i} O\nAnn B-PER\n" for i in range(20))
        (tmp_path / f"tags-{part}.conll").write_text(words)
    pattern = str(tmp_path / "chat-*.jsonl")
    chats_of = Conversations(train=pattern, prompt="p", response="r", template="{prompt}", **shares)
    cache = tmp_path / "cache"
    chats_made = prepare_conversations(chats_of, None, cache=cache, out=tmp_path / "chats")
    assert sum(chats_made["counts"].values()) == 40
    questions = Questions(train=str(tmp_path / "qa-*.jsonl"), **shares)
    tags = TaggedText(train=str(tmp_path / "tags-*.conll"), **shares)
    asked_of = questions.prepare(QuestionAnswering(), cache=cache, out=tmp_path / "qa")
    tagged_of = tags.prepare(TokenClassification(), cache=cache, out=tmp_path / "tags")
    assert sum(asked_of["counts"].values()) == sum(tagged_of["counts"].values()) == 40
    notes = capsys.readouterr().err
    assert notes.count(": 2 files, 40 rows (") == 3


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("text\nHello, world\nb\n", ["Hello, world", "b"]),
        ("Hello, text\nb\n", ["Hello, text", "b"]),
        ("id\ttext\n1\tb c\n", ["b c"]),
        ("a\r\nb\r\n\r\n c \r\n", ["a", "b", " c"]),
        ("a\rb\rc", ["a", "b", "c"]),
    ],
)
def test_a_text_file_is_lines_unless_it_is_a_table_of_the_column(
    tmp_path: Path, read: Read, content: str, texts: list[str]
) -> None:
    (tmp_path / "a.txt").write_bytes(content.encode())
    columns = {"data.transfer_text": "text"}
    assert read("a.txt", columns=columns, texts=columns, unit="row")["text"] == texts
