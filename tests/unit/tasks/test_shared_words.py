"""Students learn from the words that both tokenizers keep, each from the teacher's answer to it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.data import Split
from distillkit.tasks import TokenClassification
from distillkit.tasks.shared_words import align, shared
from distillkit.token_table import TokenTable
from tests import tiny_language

NOTHING = "\u200b"  # which a word-piece tokenizer drops
SENTENCES = [
    ["good", NOTHING, "film"],
    ["bad", "story"],
    [NOTHING, NOTHING],
    ["the", "xyzxyzxyz", NOTHING, "plot", "is", "good"],
    [NOTHING, "music"],
]
LABELS = np.arange(sum(map(len, SENTENCES)))


@pytest.fixture(scope="module")
def tokenizers(body: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """One that drops words, and one that knows every word or says that it does not."""
    folder = tmp_path_factory.mktemp("words")
    tiny_language.write_tokenizer(folder)
    dropping, keeping = (
        TokenClassification().load_tokenizer(str(f), key="k") for f in (body, folder)
    )
    return dropping, keeping


def table_of(tokenizer: Any, most: int = 32) -> TokenTable:
    count = len(SENTENCES)
    split = Split(np.zeros(count, "S16"), [""] * count, None, LABELS, None, SENTENCES)
    return TokenClassification(most).tokenise(split, tokenizer, label="texts")[0]


def told(table: TokenTable) -> torch.Tensor:
    """A teacher's answers that are the labels of the words which it is asked about."""
    return torch.from_numpy(np.array(table.labels))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("most", [32, 8])
def test_each_word_meets_the_answer_to_itself(
    tokenizers: tuple[Any, Any], most: int, turned: bool
) -> None:
    dropping, keeping = table_of(tokenizers[0], most), table_of(tokenizers[1], 32)
    student, teacher = (dropping, keeping) if turned else (keeping, dropping)
    assert (len(dropping), len(keeping)) == (4, 5)
    table, selection = align(student, teacher)
    assert selection is not None
    assert len(table) == 4 and len(table.labels) == min(len(student.labels), len(teacher.labels))
    begins = teacher.position_offsets
    for indices in ([0, 1, 2, 3], [3, 1], [2]):
        rows = [list(teacher.keys).index(table.keys[i]) for i in indices]
        of_batch = torch.cat([told(teacher)[begins[r] : begins[r + 1]] for r in rows])
        chosen = of_batch[selection(np.array(indices))]
        ends = table.position_offsets
        mine = np.concatenate([table.labels[ends[i] : ends[i + 1]] for i in indices])
        assert chosen.tolist() == mine.tolist()
        assert len(of_batch) == selection.counts[indices].sum()


def test_the_same_words_need_no_selection(tokenizers: tuple[Any, Any]) -> None:
    table = table_of(tokenizers[0])
    same, selection = align(table, table_of(tokenizers[0]))
    assert same is table and selection is None


def test_words_of_all_tables_are_those_of_the_shortest(tokenizers: tuple[Any, Any]) -> None:
    tables = [table_of(tokenizers[1]), table_of(tokenizers[0]), table_of(tokenizers[0], 8)]
    masks = shared(tables)
    left = [t.counting(m) for t, m in zip(tables, masks, strict=True)]
    assert masks[2].all() and not masks[0].all()
    for table in left:
        assert table.labels.tolist() == tables[2].labels.tolist()
        assert table.text_index is not None and table.text_index.tolist() == [0, 1, 3, 4]
        assert int(table.loss_mask.sum()) == len(table.labels)  # type: ignore[union-attr]
