"""What is kept of a model's inside is what the model itself computed."""

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
)

from distillkit.errors import ModelError
from distillkit.models.activations import ActivationRecorder, rows_of_texts
from distillkit.models.layouts import layer_stack
from distillkit.types import Activations, ActivationSpec

SIZES = {"num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 8}
CONFIGS = {
    "bert": BertConfig(**SIZES, intermediate_size=16, vocab_size=20),
    "distilbert": DistilBertConfig(n_layers=3, n_heads=2, dim=8, hidden_dim=16, vocab_size=20),
    "gpt2": GPT2Config(n_layer=3, n_head=2, n_embd=8, vocab_size=20, pad_token_id=0),
    "llama": LlamaConfig(**SIZES, intermediate_size=16, vocab_size=20, pad_token_id=0),
}
EVERY = ActivationSpec(
    hidden=frozenset(range(4)),
    queries=frozenset({1, 3}),
    keys=frozenset({3}),
    values=frozenset({2}),
)
each = pytest.mark.parametrize("kind", CONFIGS)


def model_of(config: PretrainedConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    made = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    assert isinstance(made, torch.nn.Module)
    return made.eval()


def inputs() -> dict[str, torch.Tensor]:
    ids = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 0]])
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def seen(
    model: torch.nn.Module, needs: ActivationSpec, **more: object
) -> tuple[Activations, object]:
    watch = ActivationRecorder(model, layer_stack(model)[1], needs, heads=2)
    with watch():
        said = model(**inputs(), **more)
    return watch.pop(), said


@each
def test_hidden_states_are_those_of_transformers(kind: str) -> None:
    inside, said = seen(model_of(CONFIGS[kind]), EVERY, output_hidden_states=True)
    for layer, states in enumerate(said.hidden_states):  # type: ignore[attr-defined]
        torch.testing.assert_close(inside.hidden[layer], states)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_queries_and_keys_make_the_attention_of_transformers(kind: str) -> None:
    model = model_of(CONFIGS[kind])
    inside, said = seen(model, EVERY, output_attentions=True)
    q, k = (
        states[3].unflatten(-1, (2, 4)).transpose(1, 2) for states in (inside.queries, inside.keys)
    )
    padding = (inputs()["attention_mask"] == 0)[:, None, None, :]
    scores = (q @ k.mT / 2.0).masked_fill(padding, float("-inf"))
    torch.testing.assert_close(scores.softmax(-1), said.attentions[2])  # type: ignore[attr-defined]


@each
def test_only_what_is_asked_for_is_kept(kind: str) -> None:
    inside, _ = seen(model_of(CONFIGS[kind]), EVERY)
    assert (set(inside.queries), set(inside.keys), set(inside.values)) == ({1, 3}, {3}, {2})
    assert inside.values[2].shape == (2, 4, 8)


def test_nothing_is_kept_outside() -> None:
    model = model_of(CONFIGS["bert"])
    watch = ActivationRecorder(model, layer_stack(model)[1], EVERY, heads=2)
    with watch():
        pass
    model(**inputs())
    assert not watch.pop().hidden


def test_a_layer_without_queries_is_refused() -> None:
    layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    with pytest.raises(ModelError, match="queries, keys and values of Linear are not found"):
        ActivationRecorder(
            torch.nn.Sequential(*layers), layers, ActivationSpec(queries=frozenset({1})), heads=1
        )


def test_packed_texts_get_rows_of_their_own() -> None:
    states = torch.arange(12.0).view(2, 3, 2)
    places = torch.tensor([[0, 0], [1, 2], [3, 4]])
    packed = Activations(hidden={1: states}, queries={}, keys={}, values={}, heads=1)
    rows = rows_of_texts(packed, places).hidden[1]
    torch.testing.assert_close(rows[1], states[0, 1:])
    torch.testing.assert_close(rows[2], states[1, :2])
    assert rows_of_texts(packed, None) is packed
