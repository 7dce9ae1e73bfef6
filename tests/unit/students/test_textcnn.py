"""TextCNN against its definition, place by place."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distillkit.students.architectures.textcnn import (
    TextCNNConfig,
    TextCNNForSequenceClassification,
)

IDS = torch.tensor([[7, 3, 9, 4, 1, 2]])


def textcnn(**changes: Any) -> TextCNNForSequenceClassification:
    torch.manual_seed(0)
    shape = {"vocab_size": 12, "embedding_size": 5, "feature_maps": 4, "filter_widths": [2, 3]}
    return TextCNNForSequenceClassification(TextCNNConfig(**shape | changes)).eval()


def pooled(model: TextCNNForSequenceClassification, ids: Tensor) -> Tensor:
    with torch.no_grad():
        read: Tensor = model.textcnn(ids).pooler_output
    return read


@pytest.mark.parametrize("length", [1, 2, 6])
def test_each_filter_gives_its_strongest_answer_wherever_it_reads_a_word(length: int) -> None:
    model = textcnn()
    ids = IDS[:, :length]
    expected = []
    for width, filters in zip([2, 3], model.textcnn.convolutions, strict=True):
        none = torch.zeros(width - 1, 5)
        words = torch.cat([none, model.textcnn.embeddings.weight.data[ids[0]], none])
        for weight, bias in zip(filters.weight.data, filters.bias.data, strict=True):
            places = [
                (words[i : i + width].T * weight).sum() + bias for i in range(length + width - 1)
            ]
            expected.append(F.relu(torch.stack(places)).max())
    torch.testing.assert_close(pooled(model, ids)[0], torch.stack(expected))


def test_a_filter_that_likes_nothing_better_than_padding_finds_none() -> None:
    model = textcnn()
    with torch.no_grad():
        for filters in model.textcnn.convolutions:
            filters.bias.fill_(1.0)  # what an empty place would answer
            filters.weight.fill_(-0.1)
        model.textcnn.embeddings.weight.fill_(0.5)
    mask = torch.tensor([[1, 1, 0, 0, 0, 0]])
    with torch.no_grad():
        short = model.textcnn(IDS, mask).pooler_output
    assert float(short.max()) < 1.0
    torch.testing.assert_close(short, pooled(model, IDS[:, :2]))


def test_dropout_is_of_the_pooled_answers_in_training_only() -> None:
    model = textcnn(dropout=0.5)
    assert torch.equal(model(IDS).logits, model(IDS).logits)
    model.train()
    assert not torch.equal(model(IDS).logits, model(IDS).logits)
    assert torch.equal(pooled(model, IDS), pooled(model, IDS))


@pytest.mark.parametrize("widths", [[], [3, 0]])
def test_widths_that_cannot_be_are_refused(widths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"filter_widths = .*must name widths of 1 or more"):
        TextCNNConfig(filter_widths=widths)
