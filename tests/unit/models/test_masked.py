"""Masked language models say the same in two parts as whole, whatever their head is made of."""

from typing import Any

import pytest
import torch

from distillkit.errors import ModelError
from distillkit.losses.heads import project
from distillkit.models.masked import check_masked_head, hidden_and_head

SMALL = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
SHAPES: dict[str, dict[str, Any]] = {
    "bert": SMALL | {"intermediate_size": 32},
    "roberta": SMALL | {"intermediate_size": 32, "pad_token_id": 1, "max_position_embeddings": 40},
    "distilbert": {"vocab_size": 60, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32},
    "albert": SMALL | {"intermediate_size": 32, "embedding_size": 8},
    "electra": SMALL | {"intermediate_size": 32, "embedding_size": 8},
    "deberta-v2": SMALL | {"intermediate_size": 32},
}
SIZE = 55  # of a vocabulary that is padded to 60 rows


def masked_lm(kind: str) -> Any:
    from transformers import AutoConfig, AutoModelForMaskedLM

    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(kind, **SHAPES[kind]))
    bias = getattr(model.get_output_embeddings(), "bias", None)
    if bias is not None:
        torch.nn.init.normal_(bias)
    return model.eval()


@pytest.mark.parametrize("kind", SHAPES)
def test_both_parts_say_what_the_model_says(kind: str) -> None:
    model, ids = masked_lm(kind), torch.arange(20).reshape(2, 10)
    check_masked_head(model, key="k")
    hidden, head = hidden_and_head(model, SIZE, input_ids=ids)
    torch.testing.assert_close(
        project(hidden, head), model(input_ids=ids).logits[..., :SIZE], rtol=1e-4, atol=1e-5
    )


def test_gradients_reach_every_weight_of_the_model() -> None:
    model, ids = masked_lm("bert"), torch.arange(20).reshape(2, 10)
    hidden, head = hidden_and_head(model, SIZE, input_ids=ids)
    project(hidden, head).log_softmax(dim=-1)[..., 3].sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_model_is_left_as_it_was() -> None:
    model, ids = masked_lm("bert"), torch.arange(20).reshape(2, 10)
    hidden_and_head(model, SIZE, input_ids=ids)
    assert model(input_ids=ids).logits.shape == (2, 10, 60)


def test_a_model_that_does_more_to_its_logits_is_refused() -> None:
    model = masked_lm("bert")
    original = model.forward

    def doubled(*args: Any, **inputs: Any) -> Any:
        said = original(*args, **inputs)
        said.logits = 2 * said.logits
        return said

    model.forward = doubled
    with pytest.raises(ModelError, match="does something to its logits"):
        check_masked_head(model, key="k")


def test_weights_that_are_no_numbers_are_named_as_that() -> None:
    model = masked_lm("bert")
    model.bert.embeddings.LayerNorm.weight.data[3] = float("nan")
    with pytest.raises(ModelError, match=r"^k = it: what BertForMaskedLM says is not finite \(NaN"):
        check_masked_head(model, key="k = it")


def test_a_vocabulary_beyond_the_head_is_refused() -> None:
    with pytest.raises(ModelError, match="no output matrix for the 61 tokens"):
        hidden_and_head(masked_lm("bert"), 61, input_ids=torch.arange(3)[None])
