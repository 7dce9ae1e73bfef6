"""BiLSTM against an LSTM over each text alone."""

from typing import Any

import pytest
import torch
from torch import Tensor

from distillkit.students.architectures.bilstm import BiLSTMConfig, BiLSTMForSequenceClassification

IDS = torch.tensor([[7, 3, 9, 4, 1, 2], [5, 5, 8, 6, 0, 0], [9, 1, 0, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
PARTS = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0]])


def bilstm(**changes: Any) -> BiLSTMForSequenceClassification:
    torch.manual_seed(0)
    shape = {"vocab_size": 12, "embedding_size": 5, "hidden_size": 4, "fc_size": 6}
    return BiLSTMForSequenceClassification(BiLSTMConfig(**shape | changes)).eval()


@torch.no_grad()
def alone(model: BiLSTMForSequenceClassification, ids: Tensor) -> tuple[Tensor, Tensor]:
    """(states, ends of the last layer) of one text [tokens] without any padding."""
    states, (last, _) = model.bilstm.lstm(model.bilstm.embeddings(ids.unsqueeze(0)))
    return states[0], torch.cat([last[-2, 0], last[-1, 0]])


@pytest.mark.parametrize("layers", [1, 2])
def test_it_is_read_to_where_the_text_ends_in_both_directions(layers: int) -> None:
    model = bilstm(num_hidden_layers=layers)
    with torch.no_grad():
        read = model.bilstm(IDS, MASK)
    for row, length in enumerate(MASK.sum(dim=1).tolist()):
        states, ends = alone(model, IDS[row, :length])
        torch.testing.assert_close(read.pooler_output[row], ends)
        torch.testing.assert_close(read.last_hidden_state[row, :length], states)
        assert not read.last_hidden_state[row, length:].any()


def test_the_texts_of_a_pair_are_read_apart_and_compared() -> None:
    model = bilstm(siamese=True)
    with torch.no_grad():
        read = model.bilstm(IDS, MASK, PARTS)
    for row in range(len(IDS)):
        real = MASK[row].bool()
        (_, a), (_, b) = (alone(model, IDS[row][real & (PARTS[row] == part)]) for part in (0, 1))
        expected = torch.cat([a, b, (a - b).abs(), a * b])
        torch.testing.assert_close(read.pooler_output[row], expected)


def test_a_pair_is_one_text_unless_the_model_is_siamese() -> None:
    model = bilstm()
    with torch.no_grad():
        assert torch.equal(model(IDS, MASK, PARTS).logits, model(IDS, MASK).logits)


def test_a_siamese_model_needs_to_know_which_text_a_token_is_of() -> None:
    with pytest.raises(ValueError, match=r"apart by token_type_ids: give it pairs"):
        bilstm(siamese=True)(IDS, MASK)


def test_a_text_of_nothing_ends_nowhere() -> None:
    model = bilstm()
    with torch.no_grad():
        read = model.bilstm(IDS, torch.zeros_like(MASK))
    assert not read.pooler_output.any()
    assert not read.last_hidden_state.any()


def test_hidden_states_are_the_words_and_what_is_read() -> None:
    model = bilstm()
    with torch.no_grad():
        said = model(IDS, MASK, output_hidden_states=True)
    words, states = said.hidden_states
    assert torch.equal(words, model.bilstm.embeddings.weight.data[IDS])
    torch.testing.assert_close(states[0], alone(model, IDS[0])[0])
    assert model(IDS, MASK).hidden_states is None
