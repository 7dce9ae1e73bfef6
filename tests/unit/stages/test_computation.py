"""Operations, memory and parameters of small models, counted by hand."""

import pytest
import torch
from torch import nn

from distillkit.evaluation.computation import body_parameters, megaflops, peak_bytes


class Linears(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(100, 200, bias=False)
        self.second = nn.Linear(200, 50, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(100, 8)
        self.reader = nn.LSTM(8, 16, bidirectional=True, batch_first=True)
        self.head = nn.Linear(32, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.reader(self.words(ids))[0])

    def num_parameters(self) -> int:
        return sum(it.numel() for it in self.parameters())


def test_a_multiply_add_is_two_operations() -> None:
    x = torch.randn(10, 100)
    assert megaflops(Linears(), {"x": x}) == pytest.approx(2 * 10 * (100 * 200 + 200 * 50) / 1e6)


def test_recurrent_layers_are_counted() -> None:
    ids = torch.zeros(1, 10, dtype=torch.long)
    of_gates = 2 * 4 * 16 * (8 + 16)  # two directions, four gates
    expected = 2 * 10 * (of_gates + 32 * 4) / 1e6
    assert megaflops(Recurrent().eval(), {"ids": ids}) == pytest.approx(expected)


def test_memory_is_that_of_weights_and_of_what_lives_at_once() -> None:
    x = torch.randn(10, 100)
    weights = 4 * (100 * 200 + 200 * 50)
    # the first layer's result and the relu of it; the head's is smaller, and the first is gone
    assert peak_bytes(Linears(), {"x": x}) == weights + 2 * 4 * 10 * 200


def test_word_vectors_are_no_part_of_the_body() -> None:
    model = Recurrent()
    assert body_parameters(model) == model.num_parameters() - 800
    model.head.weight = nn.Parameter(torch.zeros(100, 8))
    model.words.weight = model.head.weight  # a head that shares the table is no body either
    assert body_parameters(model) == model.num_parameters() - 800
