"""Odd labels and words from file to student: names, predictions, counts."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import tiny, tiny_language
from tests.cli.runs import QUICK, assert_refused, report, results, with_overrides
from tests.conftest import Distillkit


@pytest.fixture
def common(body: Path, tmp_path: Path) -> list[str]:
    """Words of a short run without data."""
    words = with_overrides(tiny.small(body, Path("none"), None, tmp_path / "workspace"), *QUICK)
    return with_overrides(words, without="data")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_labels_as_written_reach_the_student_and_its_predictions(
    distillkit: Distillkit, common: list[str], tmp_path: Path
) -> None:
    names = ["01", "1"]
    rows = [(text, names[label]) for text, label in tiny.labelled(120)]
    held = [(text, f" {names[label]} ") for text, label in tiny.labelled(30, seed=9)]
    held += [held[0], rows[5]]
    train = tiny.write_csv(tmp_path / "train.csv", ("text", "label"), rows)
    test = tiny.write_csv(tmp_path / "test.csv", ("text", "label"), held)
    words = [*common, "data=files", f"data.train={train}", f"data.test={test}"]
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    assert "32 labels have blanks around them" not in result.err
    assert "31 labels have blanks around them" in result.err
    assert "1 train rows also held out" in result.err
    assert "'01' (" in result.err and "nearly equal" in result.err

    config = json.loads((report(tmp_path) / "student" / "config.json").read_text())
    assert config["id2label"] == {"0": "01", "1": "1"}
    found = results(tmp_path)
    assert found["examples"] == 32
    predictions = rows_of(report(tmp_path) / "predictions.csv")
    assert [int(row["row"]) for row in predictions] == list(range(1, 33))
    assert [row["label"] for row in predictions] == [label.strip() for _, label in held]
    for name in ("teacher", "student", "control"):
        right = np.mean([row[name] == row["label"] for row in predictions])
        assert found["rows"][name]["accuracy"] == pytest.approx(right)
        assert found["rows"][name]["unknown_tokens"] == 0


def test_a_text_that_the_tokenizer_cannot_read_is_warned_of(
    distillkit: Distillkit, common: list[str], tmp_path: Path
) -> None:
    rows = [(f"世界 {text} 北京", label) for text, label in tiny.labelled(120)]
    train = tiny.write_csv(tmp_path / "train.csv", ("text", "label"), rows)
    result = distillkit("train", *common, "data=files", f"data.train={train}")
    assert result.code == 0, result.err
    assert (
        "of the tokens of the train texts are unknown to the tokenizer of teacher.body"
        in result.err
    )
    assert result.err.count("are unknown to the tokenizer") == 1  # of four splits
    share = results(tmp_path)["rows"]["student"]["unknown_tokens"]
    assert 0.2 < share < 0.7
    assert f"unknown to the tokenizer: {share:.1%} (teacher)" in result.out
    (tokens,) = [
        json.loads(path.read_text())["facts"]["unknown_tokens"]
        for path in (tmp_path / "workspace").glob("tokens-*/manifest.json")
        if json.loads(path.read_text())["inputs"]["split"] == "train"
    ]
    assert tokens == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("targets", ["stored", "online"])
def test_words_that_one_tokenizer_drops_are_learnt_by_neither(
    distillkit: Distillkit, common: list[str], tmp_path: Path, targets: str
) -> None:
    sentences = [
        (["\u200b", *words, "\u200b"], ["O", *tags, "O"]) if i % 3 else (words, tags)
        for i, (words, tags) in enumerate(tiny.tagged(120))
    ]
    path = tmp_path / "words.jsonl"
    lines = [json.dumps({"tokens": words, "tags": tags}) for words, tags in sentences]
    path.write_text("\n".join(lines))
    tiny_language.write_tokenizer(tmp_path / "other")
    words = [*common, "task=token_classification", "data=tagged", f"data.train={path}"]
    words += [f"student.tokenizer={tmp_path / 'other'}", "student.embeddings=random"]
    result = distillkit("train", *with_overrides(words, f"targets={targets}", without="targets."))
    assert result.code == 0, result.err
    assert "words are left out of all figures" in result.err
    predictions = rows_of(report(tmp_path) / "predictions.csv")
    for row in predictions:
        _, tags = sentences[int(row["row"]) - 1]
        inner = tags[1:-1] if (int(row["row"]) - 1) % 3 else tags
        assert json.loads(row["label"]) == inner
        assert len(json.loads(row["student"])) == len(inner)


def test_columns_of_several_labels_reach_the_predictions(
    distillkit: Distillkit, common: list[str], tmp_path: Path
) -> None:
    rows = [
        (text, label, int("film" in text), 0 if i % 9 else "")
        for i, (text, label) in enumerate(tiny.labelled(120))
    ]
    rows[3] = (*rows[3][:3], 1)
    train = tiny.write_csv(tmp_path / "a.csv", ("text", "toxic", "odd", "rare"), rows)
    words: list[Any] = [*common, "task=multi_label", "loss=bernoulli_kl", "data=files"]
    words += [f"data.train={train}", "data.label=[toxic,odd,rare]"]
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    config = json.loads((report(tmp_path) / "student" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["toxic", "odd", "rare"]
    for row in rows_of(report(tmp_path) / "predictions.csv"):
        _, toxic, odd, rare = rows[int(row["row"]) - 1]
        expected = [n for n, holds in (("toxic", toxic), ("odd", odd), ("rare", rare)) if holds]
        assert json.loads(row["label"]) == expected


def tagger(folder: Path, labels: list[str]) -> Path:
    """A tagger with random weights and the tokenizer that its folder has."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForTokenClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)},
    )
    BertForTokenClassification(config).save_pretrained(folder)
    return folder


def test_teachers_that_drop_other_words_are_not_averaged_and_not_asked(
    distillkit: Distillkit, common: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "words.jsonl"
    lines = [
        json.dumps({"tokens": ["\u200b", *words], "tags": ["O", *tags]})
        for words, tags in tiny.tagged(60)
    ]
    path.write_text("\n".join(lines))
    tiny.write_tokenizer(tmp_path / "one")
    tiny_language.write_tokenizer(tmp_path / "other")
    names = ["O", "B-GOOD", "I-GOOD", "B-BAD", "I-BAD"]
    folders = [str(tagger(tmp_path / name, names)) for name in ("one", "other")]
    words = [*common, "task=token_classification", "data=tagged", f"data.train={path}"]
    words = with_overrides(
        words,
        "teacher=ensemble",
        "teacher.check=off",
        f"teacher.teachers=[{','.join(folders)}]",
        without="teach",
    )
    assert_refused(distillkit("train", *words), "drops or cuts other words than", "task.max_length")
    assert not list((tmp_path / "workspace").glob("targets-*"))


@pytest.mark.parametrize("names", ["[1,0]", "['1','0']"])
def test_names_that_are_numbers_fix_the_order_of_those_numbers(
    distillkit: Distillkit, common: list[str], tmp_path: Path, names: str
) -> None:
    rows = tiny.labelled(120)
    train = tiny.write_csv(tmp_path / "a.csv", ("text", "label"), rows)
    result = distillkit(
        "train", *common, "data=files", f"data.train={train}", f"data.label_names={names}"
    )
    assert result.code == 0, result.err
    config = json.loads((report(tmp_path) / "student" / "config.json").read_text())
    assert config["id2label"] == {"0": "1", "1": "0"}
    for row in rows_of(report(tmp_path) / "predictions.csv"):
        assert row["label"] == str(rows[int(row["row"]) - 1][1])
