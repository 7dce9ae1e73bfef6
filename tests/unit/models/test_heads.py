"""A copied classifier says the data's labels in the data's order."""

from typing import Any

import numpy as np
import pytest
import torch

from distillkit.errors import ModelError
from distillkit.models.heads import order_outputs
from distillkit.types import LabelSpace
from tests.unit.models.tiny_lms import tokens

LABELS = LabelSpace(("no", "perhaps", "yes"))
ORDER = np.array([2, 0, 1])
WIDE = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_labels": 3,
    "pad_token_id": 0,
}


def classifier(kind: str, auto: str = "AutoModelForSequenceClassification") -> Any:
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **WIDE)
    return getattr(transformers, auto).from_config(config).eval()


@torch.no_grad()
def says(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=tokens()).logits
    return logits


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "electra", "llama"])
def test_each_label_has_the_output_that_meant_it(kind: str) -> None:
    model = classifier(kind)
    before = says(model)
    order_outputs(model, ORDER, LABELS)
    torch.testing.assert_close(says(model), before[:, [2, 0, 1]])
    assert model.config.id2label == {0: "no", 1: "perhaps", 2: "yes"}
    assert model.config.label2id == {"no": 0, "perhaps": 1, "yes": 2}


def test_the_labels_of_tokens_are_moved_as_those_of_texts() -> None:
    model = classifier("bert", "AutoModelForTokenClassification")
    before = says(model)
    order_outputs(model, ORDER, LABELS)
    torch.testing.assert_close(says(model), before[..., [2, 0, 1]])


def test_the_same_order_only_takes_the_names() -> None:
    model = classifier("bert")
    before = says(model)
    order_outputs(model, np.arange(3), LABELS)
    assert torch.equal(says(model), before)
    assert model.config.id2label[2] == "yes"


def test_a_real_value_has_no_order() -> None:
    model = classifier("bert")
    names = dict(model.config.id2label)
    order_outputs(model, np.zeros(1, np.int64), LabelSpace(()))
    assert model.config.id2label == names


def test_a_head_that_mixes_its_last_layers_outputs_is_refused() -> None:
    model = classifier("bert")
    mixes = torch.nn.Linear(3, 3)
    model.classifier = torch.nn.Sequential(model.classifier, mixes, torch.nn.Linear(3, 4))
    model.classifier.append(torch.nn.AdaptiveAvgPool1d(3))
    with pytest.raises(ModelError, match="cannot be put in the data's label order"):
        order_outputs(model, ORDER, LABELS)


def test_a_head_that_is_no_linear_layer_is_refused() -> None:
    model = classifier("bert")
    model.classifier = torch.nn.Softmax(dim=-1)
    with pytest.raises(ModelError, match=r"label order; give the data .*data\.label_names"):
        order_outputs(model, ORDER, LABELS)
