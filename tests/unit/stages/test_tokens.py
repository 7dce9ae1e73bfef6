"""Token tables are written part by part: the files are those of all texts at once."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.data import Corpus, Documents, prepare_documents
from distillkit.ragged import counts_within
from distillkit.stages import corpus as stage
from distillkit.tasks import CausalLM, MaskedLM, unknown_tokens
from distillkit.token_table import TableWriter, TokenTable
from tests import tiny

TEXTS = [f"{i} good film " + "and a bad one in it " * (i % 7) for i in range(60)]
TASKS = [CausalLM(max_length=16), MaskedLM(max_length=16, masks=2)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "a.txt").write_text("\n".join(TEXTS))
    data = Documents(train=str(folder / "a.txt"), document="line")
    prepare_documents(data, cache=folder, out=folder / "out")
    return Corpus.open(folder / "out", None)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("bert")
    tiny.write_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def made(corpus: Corpus, tokenizer: Any, task: Any, out: Path) -> tuple[dict[str, bytes], Any]:
    facts = stage.make_tokens(corpus, tokenizer, task, name="train", out=out)
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}, facts


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
@pytest.mark.parametrize("characters", [1, 300])
def test_parts_give_the_bytes_of_all_at_once(
    corpus: Corpus,
    tokenizer: Any,
    task: Any,
    characters: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, cut = task.tokenise(corpus.split("train"), tokenizer, label="", held_out=False)
    table.save(tmp_path / "whole")
    whole = {path.name: path.read_bytes() for path in sorted((tmp_path / "whole").iterdir())}
    monkeypatch.setattr(stage, "CHARACTERS", characters)
    files, facts = made(corpus, tokenizer, task, tmp_path / "parts")
    assert files == whole
    assert facts["at_max_length"] == cut > 0
    assert facts["positions"] == int(table.positions.sum())


def test_labels_of_several_columns_and_segments_grow_too(tmp_path: Path) -> None:
    ids = [np.arange(n, dtype=np.int32) for n in (3, 1, 4)]
    table = TokenTable(
        ids=np.concatenate(ids),
        offsets=np.array([0, 3, 4, 8]),
        segments=np.array([0, 0, 1, 0, 0, 1, 1, 1], np.int8),
        keys=np.array([b"a" * 16, b"b" * 16, b"c" * 16]),
        labels=np.array([[0, 1], [1, 1], [0, 0]]),
        label_mask=np.ones(3, bool),
    )
    table.save(tmp_path / "once")
    with TableWriter(tmp_path / "parts") as writer:
        writer.append(table)
        writer.append(table)
    twice = TokenTable.open(tmp_path / "parts")
    np.testing.assert_array_equal(twice.offsets, [0, 3, 4, 8, 11, 12, 16])
    np.testing.assert_array_equal(twice.labels, np.concatenate([table.labels] * 2))
    with TableWriter(tmp_path / "one") as writer:
        writer.append(table)
    for path in (tmp_path / "once").iterdir():
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()


@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_counts_within_ranges(step: int) -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 9, 50)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    mask = rng.random(offsets[-1]) < 0.5
    expected = [mask[a:b].sum() for a, b in pairwise(offsets)]
    np.testing.assert_array_equal(counts_within(mask, offsets, step=step), expected)
    assert len(counts_within(mask[:0], offsets[:1])) == 0


def test_unknown_tokens_are_counted_in_parts(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = np.array([tokenizer.unk_token_id, 7, tokenizer.cls_token_id, 9, 11])
    whole = unknown_tokens.unknown_share(ids, tokenizer)
    monkeypatch.setattr(unknown_tokens, "PART", 2)
    assert unknown_tokens.unknown_share(ids, tokenizer) == whole == 1 / 4
