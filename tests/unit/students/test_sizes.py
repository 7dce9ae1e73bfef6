"""How many parameters the students of the groups have, against what is published of them."""

from typing import Any

import pytest
import torch

from distillkit.config import overrides
from distillkit.config.build import build
from distillkit.students import register_architectures


def body(choice: str, **changes: Any) -> Any:
    """The body of a group entry on the meta device, over BERT's 30,522 word pieces."""
    from transformers import AutoConfig, AutoModel

    register_architectures()
    student = build(overrides.check([f"student={choice}"]).cfg.student, key="student")
    shape = student.config | changes
    with torch.device("meta"):
        return AutoModel.from_config(AutoConfig.for_model(shape.pop("model_type"), **shape))


@pytest.mark.parametrize(
    ("choice", "parameters"),
    [
        ("bert_tiny", 4_385_920),
        ("bert_mini", 11_170_560),
        ("bert_small", 28_763_648),
        ("bert_medium", 41_373_184),
        ("tinybert4", 14_350_248),
        ("tinybert6", 66_955_008),  # "67 M"
        ("minilm_l6_h384", 22_713_216),  # "22 M"
        ("distilbert", 66_362_880),  # "66 M"
    ],
)
def test_bodies_have_as_many_parameters_as_published(choice: str, parameters: int) -> None:
    assert body(choice).num_parameters() == parameters


def test_the_bilstm_has_what_its_paper_counts() -> None:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    register_architectures()
    # two channels of 300 are read; the paper counts 0.96 M without the word vectors
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(
            AutoConfig.for_model("distillkit_bilstm", embedding_size=600)
        )
    table = model.get_input_embeddings().weight.numel()
    assert table == 600 * 30522
    assert model.num_parameters() - table == 963_002


def test_the_textcnn_has_its_filters_and_nothing_else() -> None:
    model = body("textcnn")
    filters = sum(100 * (300 * width + 1) for width in (3, 4, 5))
    assert model.num_parameters() == 300 * 30522 + filters
