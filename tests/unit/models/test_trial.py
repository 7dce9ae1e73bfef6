"""A cut that cannot run is refused from the shapes; the outlines stay as they are."""

import time
from typing import Any

import pytest
import torch

from distillkit.errors import ModelError
from distillkit.students.from_teacher import (
    FromTeacher,
    make,
    may_depend_on_place,
    outline,
    try_cut,
)
from tests.unit.models.tiny_configs import tiny_config

REASONS = {
    "rwkv": "division by zero",  # of the place of a layer by the number of them less one
    "recurrent_gemma": "can only be called on Attention layers",
    "nemotron_h": "can only be called on Attention layers",
}


def model(kind: str, device: str = "cpu", **changes: Any) -> Any:
    import transformers

    config = transformers.AutoConfig.for_model(kind, **{**tiny_config(kind), **changes})
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("kind", REASONS)
def test_one_layer_that_does_not_run_is_refused_from_the_shapes_as_from_the_weights(
    kind: str,
) -> None:
    student = FromTeacher(layers=1)
    with pytest.raises(ModelError) as of_shapes:
        outline(student, model(kind, "meta"))
    with pytest.raises(ModelError) as of_weights:
        make(student, model(kind), iter([]))
    said = str(of_shapes.value)
    assert said == str(of_weights.value) and "\n" not in said
    assert said.startswith("student.layers: what is left of ")
    assert f"({kind}) with 1 of its layers does not run (" in said
    assert REASONS[kind] in said
    assert said.endswith("keep more of them, or others (student.layers=[…])")


def test_what_the_line_advises_runs() -> None:
    """More layers, or others."""
    assert outline(FromTeacher(layers=2), model("rwkv", "meta", num_hidden_layers=3))
    made = make(FromTeacher(layers=2), model("rwkv", num_hidden_layers=3), iter([]))
    assert made.config.num_hidden_layers == 2


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mamba", "falcon_h1"])
def test_what_runs_is_not_refused(kind: str) -> None:
    found = outline(FromTeacher(layers=1), model(kind, "meta", num_hidden_layers=2))
    assert found.config.get_text_config(decoder=True).num_hidden_layers == 1


@pytest.mark.parametrize("kind", ["llama", "rwkv"])
def test_a_trial_leaves_the_teacher_the_random_numbers_and_the_default_device(kind: str) -> None:
    teacher = model(kind, "meta")
    teacher.train()

    def state() -> list[Any]:
        marks = [sorted(vars(module)) for module in teacher.modules()]
        return [[(n, id(p), p.device.type) for n, p in teacher.named_parameters()], marks]

    before, numbers = state(), torch.get_rng_state()
    try:
        outline(FromTeacher(layers=1), teacher)
    except ModelError:
        assert kind == "rwkv"
    assert state() == before and teacher.training
    assert torch.equal(torch.get_rng_state(), numbers)
    assert torch.empty(1).device.type == "cpu"


def test_a_trial_of_a_large_teacher_takes_no_time_and_no_memory() -> None:
    """Its eight billion parameters are shapes."""
    shape = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
    heads = {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}
    teacher = model("llama", "meta", **shape, **heads)
    began = time.process_time()
    assert outline(FromTeacher(layers=16), teacher).num_parameters() > 4e9
    assert time.process_time() - began < 10


@pytest.mark.parametrize("choose", ["uniform", "importance"])
def test_layers_that_depend_on_their_number_are_told_from_new_weights(choose: Any) -> None:
    """MiniCPM3 divides what each layer adds by the root of their number."""
    student = FromTeacher(layers=1, choose=choose)
    shapes = model("minicpm3", "meta")
    assert outline(student, shapes) and may_depend_on_place(student, shapes)
    with pytest.raises(ModelError, match=r"without its layers .* depend on their place"):
        try_cut(student, model("minicpm3"))
    assert try_cut(FromTeacher(layers=2), model("minicpm3")) is None


def test_only_what_may_depend_on_its_place_is_tried() -> None:
    one = FromTeacher(layers=1)
    for kind, tried in (("llama", False), ("gpt2", False), ("falcon_h1", True)):
        assert may_depend_on_place(one, model(kind, "meta")) is tried
    assert not may_depend_on_place(FromTeacher(), model("falcon_h1", "meta"))
    assert try_cut(one, model("falcon_h1")) is None


def test_a_teacher_that_cannot_be_run_on_ids_is_no_teacher_to_cut() -> None:
    import transformers

    config = transformers.AutoConfig.for_model("canine", **tiny_config("canine"))
    teacher = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    with pytest.raises(ModelError, match=r"student: Canine\w+ cannot be cut: it does not run on"):
        make(FromTeacher(), teacher, iter([]))
