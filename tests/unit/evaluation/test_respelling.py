"""Text in a vocabulary that was pruned: the same stretches in pieces, their scores together."""

import numpy as np
import pytest

from distillkit.errors import ModelError
from distillkit.evaluation.respelling import respelling, respelt, together
from distillkit.token_table import TokenTable
from tests.tiny_language import documents
from tests.unit.compression.language import byte_level


def table(ids: list[list[int]], loss_mask: list[list[bool]]) -> TokenTable:
    labels = [
        np.array(row)[1:][np.array(mask)[:-1]] for row, mask in zip(ids, loss_mask, strict=True)
    ]
    return TokenTable.of_rows(
        [np.array(row, np.int32) for row in ids],
        np.arange(len(ids)).astype("S16"),
        labels,
        loss_mask=[np.array(mask) for mask in loss_mask],
        text_index=np.arange(len(ids)),
    )


def test_positions_by_hand() -> None:
    """Token 1 is spelt 5 6; an example's first token is not said, nor its prompt."""
    pieces = [np.array(it, np.int32) for it in ([0], [5, 6], [2])]
    before = table([[1, 2, 1, 0], [0, 1]], [[False, True, True, False], [True, False]])
    after, counts = respelt(before, pieces)
    assert after.ids.tolist() == [5, 6, 2, 5, 6, 0, 0, 5, 6]
    assert after.offsets.tolist() == [0, 6, 9]
    assert after.loss_mask is not None
    assert np.flatnonzero(after.loss_mask).tolist() == [2, 3, 4, 6, 7]
    assert after.labels.tolist() == [5, 6, 0, 5, 6]
    assert counts.tolist() == [2, 1, 2]
    scores = {
        "nll": np.array([1.0, 2.0, 0.5, 4.0, 8.0]),
        "confidence": np.array([0.5, 0.5, 1.0, 0.2, 1.0]),
        "correct": np.array([1.0, 0.0, 1.0, 1.0, 1.0]),
    }
    folded = together(scores, counts)
    assert folded["nll"].tolist() == [3.0, 0.5, 12.0]
    assert folded["confidence"].tolist() == [0.25, 1.0, 0.2]
    assert folded["correct"].tolist() == [0.0, 1.0, 1.0]


def test_a_table_of_tokens_that_are_all_there_is_the_same() -> None:
    before = table([[1, 2, 1, 0], [0, 1]], [[False, True, True, False], [True, False]])
    after, counts = respelt(before, [np.array([i], np.int32) for i in range(3)])
    for name in ("ids", "offsets", "labels", "loss_mask", "keys", "label_mask", "text_index"):
        assert np.array_equal(getattr(after, name), getattr(before, name)), name
    assert counts.tolist() == [1, 1, 1]


def test_every_token_of_a_byte_level_vocabulary_is_spelt_by_its_bytes() -> None:
    whole, pruned = byte_level(500), byte_level(258)
    text = documents(3)[0]
    ids = np.array(whole(text)["input_ids"])
    pieces = respelling(whole, pruned, ids, at="x")
    spelt = np.concatenate([pieces[i] for i in ids])
    assert len(spelt) > len(ids)
    assert pruned.decode(spelt) == text
    same = respelling(whole, whole, ids, at="x")
    assert [same[i].tolist() for i in ids] == [[i] for i in ids]


def test_a_word_that_cannot_be_spelt_is_refused() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def words(*names: str) -> PreTrainedTokenizerFast:
        made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(names)}, unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")

    with pytest.raises(ModelError, match="x: its vocabulary was pruned and cannot spell 'film'"):
        respelling(words("<unk>", "a", "film"), words("<unk>", "a"), np.array([1, 2]), at="x")
