"""Bodies and heads: together they say what the model itself says, or are refused."""

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from distillkit.errors import ModelError
from distillkit.losses.heads import project
from distillkit.models import lm_head as language_heads
from distillkit.models.lm_head import body_and_head, check_head
from tests.unit.models.tiny_lms import SHAPES, VOCABULARY, language_model, tokens

REAL = 111  # tokens of a vocabulary that is padded to 120 rows

each_kind = pytest.mark.parametrize("kind", SHAPES)


@each_kind
def test_body_and_head_say_what_the_model_says(kind: str) -> None:
    model, ids = language_model(kind), tokens()
    check_head(model, key="teacher.path")
    body, head = body_and_head(model, REAL)
    with torch.no_grad():
        mine = project(body(input_ids=ids), head)
        theirs = model(input_ids=ids).logits[..., :REAL]
    assert mine.shape == (*ids.shape, REAL)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("cohere", "MULTIPLIERS"),
        ("falcon_h1", "MULTIPLIERS"),
        ("granite", "DIVISORS"),
        ("minicpm3", "DIVISORS"),
        ("hyperclovax", "TIMES_LOGITS_SCALING"),
        ("gemma2", "SOFTCAPS"),
        ("recurrent_gemma", "SOFTCAPS"),
    ],
)
def test_what_it_does_not_know_of_is_found_out(
    kind: str, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_heads, known, ())
    model = language_model(kind)
    with pytest.raises(ModelError, match=rf"k = it: {type(model).__name__} does something to its"):
        check_head(model, key="k = it")


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("weight", ["model.norm.weight", "lm_head.weight"])
def test_weights_that_are_no_numbers_are_named_as_that(weight: str, value: str) -> None:
    model = language_model("llama")
    model.get_parameter(weight).data.view(-1)[3] = float(value)
    with pytest.raises(
        ModelError, match=r"^k = it: what LlamaForCausalLM says is not finite \(NaN"
    ):
        check_head(model, key="k = it")


def test_a_softcap_that_is_not_applied_is_found_out_too() -> None:
    model = language_model("llama")
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(ModelError, match="does something to its logits"):
        check_head(model, key="k")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["llama", "gemma2", "granite", "gpt2"])
def test_half_precision_is_no_difference_in_kind(kind: str, dtype: torch.dtype) -> None:
    check_head(language_model(kind).to(dtype), key="k")


def test_a_model_that_sees_what_it_is_to_predict_is_refused() -> None:
    model = language_model("llama", is_causal=False)
    with pytest.raises(ModelError, match=r"sees the tokens after .*is_decoder: true"):
        check_head(model, key="k")


def test_a_head_with_more_than_a_matrix_is_refused() -> None:
    from transformers import BertConfig, BertLMHeadModel

    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertLMHeadModel(BertConfig(vocab_size=50, is_decoder=True, **shape))
    with pytest.raises(ModelError, match="choose another architecture"):
        check_head(model, key="k")


@pytest.mark.parametrize("spoilt", ["none", "integers", "offloaded"])
def test_a_head_that_is_no_matrix_in_memory_is_refused(spoilt: str) -> None:
    model = language_model("llama")
    weight = {
        "none": None,
        "integers": torch.zeros(VOCABULARY, 32, dtype=torch.int8),
        "offloaded": torch.empty(VOCABULARY, 32, device="meta"),
    }[spoilt]
    model.get_output_embeddings = lambda: SimpleNamespace(weight=weight)
    with pytest.raises(ModelError, match="no plain output matrix"):
        body_and_head(model, REAL)


def test_more_tokens_than_rows_are_refused() -> None:
    with pytest.raises(ModelError, match="its head has 120 rows, the vocabulary 121 tokens"):
        body_and_head(language_model("llama"), VOCABULARY + 1)


def test_autocast_rounds_what_the_head_takes_and_not_what_it_gives() -> None:
    model, ids = language_model("llama"), tokens()
    body, head = body_and_head(model, REAL)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = body(input_ids=ids)
        mine = project(hidden, head)
        theirs = model(input_ids=ids).logits[..., :REAL]
    assert hidden.dtype == theirs.dtype == torch.bfloat16 and mine.dtype == torch.float32
    torch.testing.assert_close(mine.bfloat16(), theirs, rtol=2**-6, atol=2**-6)
    assert body(input_ids=ids).dtype == torch.float32


def test_gradients_reach_the_models_own_weights() -> None:
    model = language_model("llama", tie_word_embeddings=True)
    body, head = body_and_head(model, REAL)
    project(body(input_ids=tokens()), head).square().mean().backward()
    mine = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    model(input_ids=tokens()).logits[..., :REAL].square().mean().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(mine[name], parameter.grad, rtol=1e-4, atol=1e-7)


def test_padding_and_positions_reach_the_body() -> None:
    model = language_model("qwen2")
    body, _ = body_and_head(model, REAL)
    ids = tokens(batch=1)
    alone = body(input_ids=ids)
    padded = body(
        input_ids=torch.cat([torch.zeros(1, 3, dtype=torch.int64), ids], dim=1),
        attention_mask=torch.tensor([[0] * 3 + [1] * 9]),
        position_ids=torch.tensor([[0] * 3 + list(range(9))]),
    )
    torch.testing.assert_close(padded[:, 3:], alone, rtol=1e-5, atol=1e-5)
    assert (body(input_ids=ids, position_ids=torch.arange(0, 18, 2)[None]) - alone).abs().max() > 0


@each_kind
def test_positions_are_taken_or_refused_but_never_ignored(kind: str) -> None:
    model = language_model(kind)
    body, _ = body_and_head(model, REAL)
    places = torch.arange(9)[None].expand(2, -1)
    if "position_ids" in inspect.signature(type(model.base_model).forward).parameters:
        torch.testing.assert_close(
            body(input_ids=tokens(), position_ids=places), body(input_ids=tokens())
        )
    else:
        with pytest.raises(ModelError, match=r"no position_ids.* task\.pack=false"):
            body(input_ids=tokens(), position_ids=places)


def test_the_check_leaves_the_model_and_random_numbers_alone() -> None:
    model = language_model("gpt2").train()
    before: dict[str, Any] = {k: v.clone() for k, v in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    check_head(model, key="k")
    assert torch.equal(torch.rand(1), expected)
    assert model.training
    assert not model.get_output_embeddings()._forward_pre_hooks
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
