"""From token ids in flat arrays to one padded batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from distillkit.engine.collation import Collator

PAD = 99


@pytest.fixture
def collate() -> Collator:
    """Three examples: 1 2 | 3 4 5 6 | 7."""
    return Collator(
        ids=np.arange(1, 8, dtype=np.int32),
        offsets=np.array([0, 2, 6, 7]),
        segments=np.array([0, 1, 0, 0, 1, 1, 0], np.int8),
        labels=np.array([2, 0, 1]),
        labelled=np.array([True, False, True]),
        pad_id=PAD,
        device=torch.device("cpu"),
    )


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
    assert batch.labelled.tolist() == [True, True, False]
    assert (batch.labels.dtype, batch.labelled.dtype) == (torch.int64, torch.bool)


def test_real_labels_stay_real(collate: Collator) -> None:
    batch = replace(collate, labels=np.array([0.5, -1.0, 2.0]))(np.array([1, 2]))
    assert batch.labels.tolist() == [-1.0, 2.0]


def test_single_texts_have_no_segments(collate: Collator) -> None:
    batch = replace(collate, segments=None)(np.array([0]))
    assert set(batch.inputs) == {"input_ids", "attention_mask"}


def test_memory_mapped_tables_are_read_without_a_warning(collate: Collator, tmp_path) -> None:
    np.save(tmp_path / "ids.npy", collate.ids)
    np.save(tmp_path / "labels.npy", collate.labels)
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("ids", "labels")}
    batch = replace(collate, **mapped)(np.array([1]))
    assert batch.inputs["input_ids"].tolist() == [[3, 4, 5, 6]]
    assert batch.labels.tolist() == [0]


def test_a_batch_is_its_own_copy(collate: Collator) -> None:
    collate(np.array([0])).labels.fill_(7)
    assert collate.labels.tolist() == [2, 0, 1]
