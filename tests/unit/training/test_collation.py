"""From token ids in flat arrays to one padded batch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.token_table import TokenTable
from distillkit.training.collation import Collator, packed

PAD = 99


@pytest.fixture
def collate() -> Collator:
    """Three examples: 1 2 | 3 4 5 6 | 7."""
    table = TokenTable(
        ids=np.arange(1, 8, dtype=np.int32),
        offsets=np.array([0, 2, 6, 7]),
        segments=np.array([0, 1, 0, 0, 1, 1, 0], np.int8),
        keys=np.array([b"a", b"b", b"c"], "S16"),
        labels=np.array([2, 0, 1]),
        label_mask=np.array([True, False, True]),
    )
    return Collator(table, pad_id=PAD, device=torch.device("cpu"))


def changed(collate: Collator, *, block: int | None = None, **changes: Any) -> Collator:
    """The collator of a changed table."""
    table = replace(collate.table, **changes)
    return Collator(table, pad_id=PAD, device=collate.device, block=block)


def test_examples_are_padded_on_the_right_to_the_longest_of_the_batch(collate: Collator) -> None:
    inputs = collate(np.array([0, 1])).inputs
    assert inputs["input_ids"].tolist() == [[1, 2, PAD, PAD], [3, 4, 5, 6]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert inputs["token_type_ids"].tolist() == [[0, 1, 0, 0], [0, 0, 1, 1]]
    assert {tensor.dtype for tensor in inputs.values()} == {torch.int64}
    assert collate(np.array([2, 0])).inputs["input_ids"].tolist() == [[7, PAD], [1, 2]]


def test_labels_come_in_the_order_that_was_asked_for(collate: Collator) -> None:
    batch = collate(np.array([2, 0, 1]))
    assert batch.indices.tolist() == [2, 0, 1]
    assert batch.labels.tolist() == [1, 2, 0]
    assert batch.label_mask.tolist() == [True, True, False]
    assert (batch.labels.dtype, batch.label_mask.dtype) == (torch.int64, torch.bool)


def test_real_labels_stay_real(collate: Collator) -> None:
    batch = changed(collate, labels=np.array([0.5, -1.0, 2.0]))(np.array([1, 2]))
    assert batch.labels.tolist() == [-1.0, 2.0]


def test_single_texts_have_no_segments(collate: Collator) -> None:
    batch = changed(collate, segments=None)(np.array([0]))
    assert set(batch.inputs) == {"input_ids", "attention_mask"}


def test_memory_mapped_tables_are_read_without_a_warning(collate: Collator, tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", collate.table.ids)
    np.save(tmp_path / "labels.npy", collate.table.labels)
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("ids", "labels")}
    batch = changed(collate, **mapped)(np.array([1]))
    assert batch.inputs["input_ids"].tolist() == [[3, 4, 5, 6]]
    assert batch.labels.tolist() == [0]


def test_a_batch_is_its_own_copy(collate: Collator) -> None:
    collate(np.array([0])).labels.fill_(7)
    assert collate.table.labels.tolist() == [2, 0, 1]


# positions that count, and rows that are shared

COUNTED: dict[str, Any] = {
    "segments": None,
    "loss_mask": np.array([True, False, True, False, True, False, False]),
    "labels": np.array([20, 40, 60]),
    "label_mask": np.array([True, True, False]),
}


def test_counted_positions_come_in_the_order_of_the_examples(collate: Collator) -> None:
    batch = changed(collate, **COUNTED)(np.array([1, 0]))
    assert batch.loss_index is not None
    said = batch.inputs["input_ids"].flatten()[batch.loss_index]
    assert said.tolist() == [3, 5, 1]
    assert batch.labels.tolist() == [40, 60, 20]
    assert batch.label_mask.tolist() == [True, False, True]


def test_an_example_may_have_no_counted_position(collate: Collator) -> None:
    batch = changed(collate, **COUNTED)(np.array([2]))
    assert batch.loss_index is not None
    assert (len(batch.loss_index), len(batch.labels)) == (0, 0)


def test_examples_share_rows_and_positions_begin_again_with_each(collate: Collator) -> None:
    batch = changed(collate, **COUNTED, block=5)(np.array([0, 2, 1]))
    assert batch.inputs["input_ids"].tolist() == [[1, 2, 7, PAD], [3, 4, 5, 6]]
    # the padding after the last example is kept apart from it as well
    assert batch.inputs["position_ids"].tolist() == [[0, 1, 0, 0], [0, 1, 2, 3]]
    assert "attention_mask" not in batch.inputs
    assert batch.loss_index is not None
    assert batch.inputs["input_ids"].flatten()[batch.loss_index].tolist() == [1, 3, 5]


def test_a_row_ends_where_the_next_example_would_not_fit() -> None:
    rows, begins = packed(np.array([3, 2, 4, 1, 9, 1]), 5)
    assert rows.tolist() == [0, 0, 1, 1, 2, 3]
    assert begins.tolist() == [0, 3, 0, 4, 0, 0]


def test_texts_are_found_in_rows_of_their_own_and_in_shared_ones(collate: Collator) -> None:
    alone = replace(collate, by_text=True)(np.array([2, 1]))
    assert alone.mask is not None and alone.text_index is not None
    assert alone.mask.tolist() == [[True, False, False, False], [True] * 4]
    assert alone.text_index.tolist() == [0, 1]
    assert alone.gather_index is None
    shared = replace(collate, by_text=True, block=6)(np.array([0, 1, 2]))
    assert shared.gather_index is not None and shared.mask is not None
    flat = shared.inputs["input_ids"].flatten()
    found = [flat[p][m].tolist() for p, m in zip(shared.gather_index, shared.mask, strict=True)]
    assert found == [[1, 2], [3, 4, 5, 6], [7]]


def test_a_counted_position_belongs_to_its_text(collate: Collator) -> None:
    counted = np.array([True, False, True, True, False, True, True])
    labels = np.arange(5)
    table = replace(collate.table, loss_mask=counted, labels=labels, label_mask=labels >= 0)
    batch = replace(collate, table=table, by_text=True)(np.array([1, 0, 2]))
    assert batch.text_index is not None
    assert batch.text_index.tolist() == [0, 0, 0, 1, 2]
