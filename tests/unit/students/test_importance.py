"""What matters in a model: layers, channels, neurons and heads, by hand."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from distillkit.students.pruning.importance import layer_scores, width_scores
from tests.unit.models.tiny_lms import language_model, tokens

BOTH = pytest.mark.parametrize("how", ["block_influence", "importance"])


def silence(layer: Any, much: float = 0.0) -> None:
    """Make a Llama's layer add almost nothing."""
    with torch.no_grad():
        layer.self_attn.o_proj.weight.mul_(much)
        layer.mlp.down_proj.weight.mul_(much)


def loud(layers: int, **changes: Any) -> Any:
    """A Llama whose layers do much: as they are drawn, they all do little."""
    model = language_model("llama", num_hidden_layers=layers, **changes)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.mul_(20)
            layer.self_attn.o_proj.weight.mul_(20)
    return model


@BOTH
def test_a_layer_that_does_nothing_scores_nothing(how: str) -> None:
    model = loud(5)
    silence(model.model.layers[3], much=1e-3)
    scores = layer_scores(model, [{"input_ids": tokens()}], how)
    assert scores.dtype == torch.float64
    assert scores.argmin() == 3
    assert scores[3] < 0.1 * scores[[0, 1, 2, 4]].min()
    silence(model.model.layers[3])
    assert layer_scores(model, [{"input_ids": tokens()}], how)[3] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3", "opt", "bloom"])
def test_block_influence_by_hand(kind: str) -> None:
    model = language_model(kind)
    with torch.no_grad():
        states = model(input_ids=tokens(), output_hidden_states=True).hidden_states
    # the last of the states has gone through the final norm, so the last layer is left out
    expected = [
        float((1 - torch.cosine_similarity(a, b, dim=-1)).mean()) for a, b in pairwise(states[:-1])
    ]
    found = layer_scores(model, [{"input_ids": tokens()}], "block_influence")
    assert found[:-1].tolist() == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_importance_is_what_the_model_says_without_the_layer() -> None:
    model = loud(3)
    batch = {"input_ids": tokens()}
    found = layer_scores(model, [batch], "importance")
    with torch.no_grad():
        whole = model.model(**batch)[0]
        silence(model.model.layers[1])
        without = model.model(**batch)[0]
    expected = (1 - torch.cosine_similarity(whole.double(), without.double(), dim=-1)).mean()
    assert float(found[1]) == pytest.approx(float(expected), rel=1e-6)


@BOTH
def test_padding_and_batches_change_no_layers_score(how: str) -> None:
    model, ids = loud(3), tokens(batch=3)
    whole = layer_scores(model, [{"input_ids": ids}], how)
    parted = [{"input_ids": ids[:1]}, {"input_ids": ids[1:]}]
    torch.testing.assert_close(layer_scores(model, parted, how), whole, rtol=1e-5, atol=1e-9)
    padded = {
        "input_ids": torch.cat([ids, torch.full((3, 4), 7)], dim=1),
        "attention_mask": torch.tensor([[1] * 9 + [0] * 4] * 3),
    }
    torch.testing.assert_close(layer_scores(model, [padded], how), whole, rtol=1e-4, atol=1e-9)


def test_padding_changes_no_widths_score() -> None:
    model, ids = language_model("llama"), tokens()
    whole = width_scores(model, [{"input_ids": ids}])
    padded = {
        "input_ids": torch.cat([ids, torch.full((2, 4), 7)], dim=1),
        "attention_mask": torch.tensor([[1] * 9 + [0] * 4] * 2),
    }
    other = width_scores(model, [padded])
    for name in ("hidden", "neurons", "heads"):
        torch.testing.assert_close(getattr(other, name), getattr(whole, name), rtol=1e-4, atol=0)


def test_widths_by_hand() -> None:
    model = language_model("llama", num_hidden_layers=1)
    scores = width_scores(model, [{"input_ids": tokens()}])
    layer = model.model.layers[0]
    kept: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, args, output: kept.update({name: args[0], f"{name} out": output})

    layer.mlp.down_proj.register_forward_hook(keep("down"))
    layer.self_attn.o_proj.register_forward_hook(keep("o"))
    for name, norm in (
        ("one", layer.input_layernorm),
        ("two", layer.post_attention_layernorm),
        ("last", model.model.norm),
    ):
        norm.register_forward_hook(keep(name))
    with torch.no_grad():
        model(input_ids=tokens())
    neurons = kept["down"].abs().mean(dim=(0, 1))
    torch.testing.assert_close(scores.neurons[0].float(), neurons, rtol=1e-4, atol=0)
    heads = kept["o"].view(2, 9, 4, 8).norm(dim=-1).mean(dim=(0, 1))
    torch.testing.assert_close(scores.heads[0].float(), heads, rtol=1e-4, atol=0)
    hidden = sum(kept[f"{name} out"].abs().mean(dim=(0, 1)) for name in ("one", "two", "last"))
    torch.testing.assert_close(scores.hidden.float(), hidden, rtol=1e-4, atol=0)


def test_measuring_leaves_the_model_alone() -> None:
    model = language_model("gpt2").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer_scores(model, [{"input_ids": tokens()}], "importance")
    width_scores(model, [{"input_ids": tokens()}])
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
