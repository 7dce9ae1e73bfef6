"""Several labels a text, from lists, from one string, or from the class ids of a data set."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.data import Corpus, TextData, prepare_labelled
from distillkit.errors import DataError
from distillkit.tasks import MultiLabel

KNOWN = [["good"], ["bad", "good"], [], ["bad"], ["good", "bad"]]
ROWS = [(f"text number {i}", KNOWN[i % len(KNOWN)]) for i in range(30)]
SHARES: dict[str, Any] = {"validation_fraction": 0.2, "test_fraction": 0.2}


def every(folder: Path, data: TextData) -> dict[str, list[str]]:
    """text -> its labels, over all splits."""
    task = MultiLabel()
    prepare_labelled(
        data,
        task.read_labels,
        distribution=task.distribution,
        cache=folder / "cache",
        out=folder / "out",
    )
    corpus = Corpus.open(folder / "out", None)
    found = {}
    for name in ("train", "validation", "test"):
        split = corpus.split(name)
        assert split.labels is not None and split.labels.shape == (len(split), 2)
        for text, row in zip(split.texts, split.labels, strict=True):
            found[text] = [corpus.labels.names[i] for i in np.flatnonzero(row)]
    return found


EXPECTED = {text: sorted(labels) for text, labels in ROWS}


def test_lists_are_read(tmp_path: Path) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_text("".join(json.dumps({"t": t, "l": labels}) + "\n" for t, labels in ROWS))
    assert every(tmp_path, TextData(train=str(path), text="t", label="l", **SHARES)) == EXPECTED


def test_one_string_is_cut_at_its_separator(tmp_path: Path) -> None:
    path = tmp_path / "strings.jsonl"
    rows = [{"t": t, "l": " ; ".join(labels) or ";"} for t, labels in ROWS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = TextData(train=str(path), text="t", label="l", label_separator=";", **SHARES)
    assert every(tmp_path, data) == EXPECTED


def test_class_ids_have_their_names(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value

    kinds = Features(t=Value("string"), l=List(ClassLabel(names=["bad", "good"])))
    rows = {"t": [text for text, _ in ROWS], "l": [labels for _, labels in ROWS]}
    Dataset.from_dict(rows, features=kinds).to_parquet(str(tmp_path / "ids.parquet"))
    assert (
        every(
            tmp_path, TextData(train=str(tmp_path / "ids.parquet"), text="t", label="l", **SHARES)
        )
        == EXPECTED
    )


def test_a_label_that_no_training_text_has_is_refused(tmp_path: Path) -> None:
    for name, label in (("train", "good"), ("test", "rare")):
        rows = [{"t": f"{name} {i}", "l": [label, "any"]} for i in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    data = TextData(
        train=str(tmp_path / "train.jsonl"),
        text="t",
        label="l",
        test=str(tmp_path / "test.jsonl"),
        **SHARES,
    )
    with pytest.raises(DataError, match="rare stand in no training row, but in test; training has"):
        every(tmp_path, data)


def one_hot(folder: Path, vectors: list[list[int]]) -> dict[str, list[str]]:
    path = folder / "vectors.jsonl"
    rows = [{"t": f"text {i}", "l": vectors[i % len(vectors)]} for i in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = TextData(train=str(path), text="t", label="l", **SHARES)
    return every(folder, data)


def test_one_of_two_labels_as_a_vector_is_that_label(tmp_path: Path) -> None:
    found = one_hot(tmp_path, [[1, 0], [0, 1]])
    assert found == {f"text {i}": [str(i % 2)] for i in range(30)}


def test_ids_of_which_some_lists_are_longer_stay_ids(tmp_path: Path) -> None:
    found = one_hot(tmp_path, [[1, 0], [0, 1], [1]])
    assert found == {f"text {i}": ["1"] if i % 3 == 2 else ["0", "1"] for i in range(30)}
