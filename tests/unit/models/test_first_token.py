"""A last layer run for the first token says the same, gradients included, and only where it may."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from distillkit.models.first_token import KNOWN, first_token_only

WIDTHS = {
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "num_labels": 3,
}
BERT = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
SHAPES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        ("bert", "camembert", "roberta", "xlm-roberta"), BERT | {"intermediate_size": 24}
    ),
    "electra": BERT | {"intermediate_size": 24, "embedding_size": 8},
    "distilbert": {"dim": 12, "n_layers": 2, "n_heads": 3, "hidden_dim": 24},
}
KINDS = pytest.mark.parametrize("kind", SHAPES)


def classifier(kind: str, **options: Any) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SHAPES[kind], **WIDTHS, **options)
    return AutoModelForSequenceClassification.from_config(config).double().eval()


def padded() -> dict[str, Tensor]:
    ids = torch.randint(1, 50, (4, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(9) < torch.tensor([9, 3, 1, 6])[:, None]
    return {"input_ids": ids * mask, "attention_mask": mask.long()}


def last_layer(model: Any) -> nn.Module:
    body = model.base_model
    return next(layers for layers in body.modules() if isinstance(layers, nn.ModuleList))[-1]


def width_of_last(model: Any, inputs: dict[str, Tensor]) -> int:
    """How many tokens the last layer's feed-forward network, its last part with weights, reads."""
    seen = []
    linear = [m for m in last_layer(model).modules() if isinstance(m, nn.Linear)][-1]
    was, linear.forward = linear.forward, lambda x: seen.append(x.shape[1]) or was(x)  # type: ignore
    try:
        with first_token_only(model):
            model(**inputs)
    finally:
        del linear.forward
    return int(seen[0])


def said_and_gradients(model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    logits = model(**inputs).logits
    (logits**2).sum().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


@KINDS
@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("inputs", [padded(), {"input_ids": padded()["input_ids"][:1]}])
def test_logits_and_gradients_are_those_of_the_whole_layer(
    kind: str, kernel: str, inputs: dict[str, Tensor]
) -> None:
    model = classifier(kind, attn_implementation=kernel)
    whole, gradients = said_and_gradients(model, inputs)
    with first_token_only(model):
        first, ours = said_and_gradients(model, inputs)
    torch.testing.assert_close(first, whole, rtol=1e-12, atol=1e-12)
    assert ours.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-10, atol=1e-12, msg=name)


@KINDS
def test_the_last_layer_reads_one_token(kind: str) -> None:
    assert width_of_last(classifier(kind), padded()) == 1


def test_every_known_architecture_is_tested() -> None:
    assert {type(classifier(kind)).__name__ for kind in SHAPES} == set(KNOWN)


@KINDS
def test_dropout_stays_on_in_training(kind: str) -> None:
    model = classifier(kind).train()
    with first_token_only(model):
        torch.manual_seed(1)
        one, again = (model(**padded()).logits for _ in range(2))
        torch.manual_seed(1)
        same = model(**padded()).logits
    assert not torch.equal(one, again)
    assert torch.equal(one, same)


def test_the_layer_is_as_before_after_an_error() -> None:
    model = classifier("bert")
    whole = model(**padded()).logits
    with pytest.raises(ZeroDivisionError), first_token_only(model):
        raise ZeroDivisionError
    assert "forward" not in vars(last_layer(model))
    assert torch.equal(model(**padded()).logits, whole)


def hook_on_the_body(model: Any) -> None:
    model.base_model.register_forward_hook(lambda *_: None)


def hook_in_the_last_layer(model: Any) -> None:
    next(last_layer(model).children()).register_forward_pre_hook(lambda *_: None)


def checkpointing(model: Any) -> None:
    last_layer(model).gradient_checkpointing = True


def placed(model: Any) -> None:
    layer = last_layer(model)
    layer.forward = layer.forward


def decoder(model: Any) -> None:
    model.config.is_decoder = True


def another_kernel(model: Any) -> None:
    model.config._attn_implementation_internal = "flex_attention"


@pytest.mark.parametrize(
    "change", [hook_on_the_body, hook_in_the_last_layer, checkpointing, placed, decoder]
)
def test_it_runs_whole_where_it_must(change: Callable[[Any], None]) -> None:
    model = classifier("bert")
    change(model)
    assert width_of_last(model, padded()) == 9


def test_of_another_kernel_the_masks_are_not_known() -> None:
    model = classifier("bert")
    another_kernel(model)
    with first_token_only(model):
        assert "forward" not in vars(last_layer(model))


def test_a_hook_on_an_earlier_layer_does_not_matter() -> None:
    model = classifier("bert")
    model.base_model.encoder.layer[0].register_forward_hook(lambda *_: None)
    assert width_of_last(model, padded()) == 1


def test_a_users_own_class_runs_whole() -> None:
    model = classifier("bert")
    own = type("BertForSequenceClassification", (type(model),), {})
    model.__class__ = own
    assert width_of_last(model, padded()) == 9


def test_what_is_not_known_runs_whole() -> None:
    config = AutoConfig.for_model("albert", **BERT, **WIDTHS, embedding_size=8)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    whole = model(**padded()).logits
    with first_token_only(model):
        assert torch.equal(model(**padded()).logits, whole)
