"""What a config says of its model, against the model itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForSequenceClassification

from distillkit.errors import ModelError
from distillkit.models.first_token import first_token_only
from distillkit.models.shapes import meta_model, shape_of
from distillkit.planning.cost_model import Work, forward_flops
from distillkit.students.from_teacher import FromTeacher, make
from distillkit.students.from_teacher import outline as cut_outline
from distillkit.tasks import CausalLM, Classification
from distillkit.types import LabelSpace
from tests import tiny, tiny_language
from tests.unit.models.tiny_lms import SHAPES, language_model, tokens

LABELS = LabelSpace(("bad", "fair", "good"))
EXPERTS = ("granitemoe", "mixtral")
TOKENS = 32
# latent attention and state spaces have products of their own; attention in a few layers only
FAR = {"minicpm3": 0.10, "falcon_h1": 0.10, "recurrent_gemma": 0.25}


def counted(model: Any, ids: torch.Tensor) -> int:
    """What PyTorch counts of a forward pass; attention is written out, or it would not see it."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=ids)
    return counter.get_total_flops()


@pytest.mark.parametrize("kind", [kind for kind in SHAPES if kind not in EXPERTS])
def test_the_operations_of_a_forward_pass_are_those_that_pytorch_counts(kind: str) -> None:
    model = language_model(kind, attn_implementation="eager")
    ids = torch.arange(TOKENS)[None] % 100
    work = Work(TOKENS, TOKENS, TOKENS**2)
    found = forward_flops(shape_of(model), work)
    assert found == pytest.approx(counted(model, ids), rel=FAR.get(kind, 0.05))


def test_the_operations_of_a_classifier() -> None:
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        attn_implementation="eager",
    )
    model = BertForSequenceClassification(config)
    ids = torch.arange(TOKENS)[None] % 50
    shape, work = shape_of(model), Work(TOKENS, 1, TOKENS**2)
    assert forward_flops(replace(shape, once=0), work) == pytest.approx(
        counted(model, ids), rel=0.05
    )
    with first_token_only(model):
        lean = counted(model, ids)
    assert forward_flops(shape, work) == pytest.approx(lean, rel=0.05)
    assert lean < 0.8 * counted(model, ids)


@pytest.mark.parametrize("kind", EXPERTS)
def test_a_mixture_of_experts_says_that_it_is_one(kind: str) -> None:
    assert shape_of(language_model(kind)).has_experts
    assert not shape_of(language_model("llama")).has_experts


@pytest.mark.parametrize("kind", SHAPES)
def test_parameters_are_counted_once(kind: str) -> None:
    model = language_model(kind)
    assert shape_of(model).parameters == model.num_parameters()


@pytest.mark.parametrize("tied", [True, False])
def test_a_table_that_is_looked_up_is_no_product(tied: bool) -> None:
    shape = shape_of(language_model("llama", tie_word_embeddings=tied))
    assert shape.head == 120 * 32
    assert shape.body == shape.parameters - (1 if tied else 2) * 120 * 32


def test_a_folders_language_model_is_outlined_without_its_weights(tmp_path: Path) -> None:
    folder = tiny_language.write_model(tmp_path / "model", padded=5)
    known = shape_of(CausalLM().load_body(str(folder), LABELS, key="teacher.path"))
    weights = (folder / "model.safetensors").read_bytes()
    head = 8 + int.from_bytes(weights[:8], "little")
    (folder / "model.safetensors").write_bytes(weights[:head] + bytes(len(weights) - head))
    model = meta_model(str(folder), CausalLM.auto_class, key="teacher.path")
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert shape_of(model) == known


@pytest.mark.parametrize("fresh", [True, False])
def test_a_folders_classifier_has_its_own_head_or_a_new_one(tmp_path: Path, fresh: bool) -> None:
    folder = tiny.write_model(tmp_path / "model", labels=("a", "b", "c", "d"))
    model = meta_model(
        str(folder), Classification.auto_class, key="teacher.path", outputs=3 if fresh else None
    )
    assert shape_of(model).outputs == (3 if fresh else 4)


@pytest.mark.parametrize("content", [None, "{}", '{"model_type": "no such thing"}'])
def test_what_cannot_be_outlined_is_one_line(tmp_path: Path, content: str | None) -> None:
    folder = tiny.write_model(tmp_path / "model")
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"^teacher\.path = ") as caught:
        meta_model(str(folder), CausalLM.auto_class, key="teacher.path")
    assert "\n" not in str(caught.value)


# students


CUTS = [
    FromTeacher(layers=1),
    FromTeacher(layers=[0, 2]),
    FromTeacher(layers=2, choose="block_influence"),
    FromTeacher(intermediate_size=20),
    FromTeacher(layers=2, hidden_size=24, num_attention_heads=2, num_key_value_heads=1),
]


@pytest.mark.parametrize("student", CUTS, ids=repr)
def test_a_student_is_outlined_as_it_will_be_cut(student: FromTeacher) -> None:
    teacher = language_model("llama", num_hidden_layers=3)
    text = [{"input_ids": tokens()}]
    with torch.device("meta"):
        sketch = type(teacher)(teacher.config)
    assert shape_of(cut_outline(student, sketch)) == shape_of(make(student, teacher, text))


def test_a_new_language_model_can_be_outlined(tmp_path: Path) -> None:
    tokenizer = tiny_language.write_tokenizer(tmp_path)
    config = {"model_type": "llama", **SHAPES["llama"]}
    task = CausalLM()
    known = task.new_model(config, LABELS, tokenizer, key="student.config")
    with torch.device("meta"):
        sketch = task.new_model(config, LABELS, tokenizer, key="student.config")
    assert {p.device.type for p in sketch.parameters()} == {"meta"}
    assert shape_of(sketch) == shape_of(known)
