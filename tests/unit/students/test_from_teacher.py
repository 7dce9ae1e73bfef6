"""Which layers a student keeps of its teacher, and the student that comes out."""

from typing import Any

import pytest
import torch
from torch import Tensor

from distillkit.errors import ConfigError, DataError
from distillkit.students.from_teacher import FromTeacher, kept_layers, make
from distillkit.students.pruning.cut import prune
from tests.unit.models.tiny_lms import language_model, tokens


def text(batches: int = 2) -> list[dict[str, Tensor]]:
    return [{"input_ids": tokens(seed=i)} for i in range(batches)]


def same(one: Any, other: Any) -> None:
    weights = other.state_dict()
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("how", "teacher", "count", "kept"),
    [
        ("uniform", 12, 6, [0, 2, 4, 7, 9, 11]),  # DistilBERT's
        ("uniform", 12, 12, list(range(12))),
        ("uniform", 12, 2, [0, 11]),
        ("uniform", 12, 1, [0]),
        ("uniform", 30, 10, [0, 3, 6, 10, 13, 16, 19, 23, 26, 29]),
        ("uniform", 4, 3, [0, 2, 3]),
        ("every_kth", 12, 6, [1, 3, 5, 7, 9, 11]),
        ("every_kth", 12, 4, [2, 5, 8, 11]),  # TinyBERT's
        ("every_kth", 12, 12, list(range(12))),
        ("first", 12, 4, [0, 1, 2, 3]),
        ("last", 12, 4, [8, 9, 10, 11]),
        ("last", 12, 12, list(range(12))),
        ("drop_middle", 12, 4, [0, 1, 10, 11]),
        ("drop_middle", 12, 5, [0, 1, 2, 10, 11]),
        ("drop_middle", 12, 1, [0]),
    ],
)
def test_layers_by_their_place(how: Any, teacher: int, count: int, kept: list[int]) -> None:
    assert kept_layers(teacher, count, how) == kept


@pytest.mark.parametrize("how", ["uniform", "first", "last", "drop_middle"])
def test_as_many_as_asked_for_each_once_in_order(how: Any) -> None:
    for teacher in range(1, 41):
        for count in range(1, teacher + 1):
            kept = kept_layers(teacher, count, how)
            assert len(set(kept)) == count
            assert kept == sorted(kept)
            assert {*kept} <= {*range(teacher)}


@pytest.mark.parametrize("how", ["block_influence", "importance"])
def test_layers_by_their_scores(how: Any) -> None:
    assert kept_layers(5, 3, how, [0.5, 0.1, 0.9, 0.2, 0.3]) == [0, 2, 4]
    assert kept_layers(4, 2, how, [0.1, 0.1, 0.1, 0.1]) == [0, 1]


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (FromTeacher(layers=40), "student.layers = 40: the teacher has 2 layers"),
        (FromTeacher(layers=[0, 2]), "student.layers = [0, 2]: the teacher has layers 0 to 1"),
        (FromTeacher(hidden_size=64), "student.hidden_size = 64: the teacher has 32"),
        (FromTeacher(intermediate_size=49), "student.intermediate_size = 49: the teacher has 48"),
        (FromTeacher(num_attention_heads=5), "student.num_attention_heads = 5: the teacher has 4"),
        (FromTeacher(num_key_value_heads=3), "student.num_key_value_heads = 3: the teacher has 2"),
        (FromTeacher(num_attention_heads=3), "student.num_attention_heads = 3: must be 1 to 2 for"),
        (FromTeacher(hidden_size=30), "student: LlamaConfig refuses its widths (The hidden size"),
    ],
)
def test_what_the_teacher_does_not_have_is_refused(student: FromTeacher, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(student, language_model("llama"), text())
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_every_kth_layer_needs_a_whole_k() -> None:
    teacher = language_model("llama", num_hidden_layers=5)
    make(FromTeacher(layers=5, choose="every_kth"), teacher, text())
    with pytest.raises(ConfigError, match=r"^student\.layers = 2: .*must divide the teacher's 5; "):
        make(FromTeacher(layers=2, choose="every_kth"), teacher, text())


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (FromTeacher(hidden_size=24), "of 4 heads has 32 .* hidden_size and num_attention_heads"),
        (
            FromTeacher(num_attention_heads=3),
            r"student\.hidden_size = 32: a gpt2 of 3 heads has 24",
        ),
        (FromTeacher(num_key_value_heads=2), r"student\.num_key_value_heads = 2: gpt2 has no such"),
    ],
)
def test_heads_without_a_width_of_their_own_fix_the_hidden_size(
    student: FromTeacher, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        make(student, language_model("gpt2"), text())


@pytest.mark.parametrize("layers", [0, -1, [], [1, 1], [2, 0], [-1, 0]])
def test_layers_that_cannot_be_are_refused_before_anything_is_loaded(layers: Any) -> None:
    with pytest.raises(ConfigError, match=r"^student\.layers = "):
        FromTeacher(layers=layers)


def test_no_text_is_read_where_nothing_is_measured() -> None:
    def never() -> Any:
        raise AssertionError
        yield

    made = make(FromTeacher(layers=1, choose="last"), language_model("llama"), never())
    same(made, prune(language_model("llama"), layers=[1]))


@pytest.mark.parametrize(
    "student", [FromTeacher(layers=1, choose="block_influence"), FromTeacher(intermediate_size=8)]
)
def test_without_text_nothing_can_be_measured(student: FromTeacher) -> None:
    with pytest.raises(DataError, match=r"training text.*student\.choose=uniform"):
        make(student, language_model("llama"), [])


def test_no_more_text_is_read_than_asked_for() -> None:
    student = FromTeacher(layers=2, choose="importance", calibration_examples=3)
    teacher = language_model("llama", num_hidden_layers=5)

    def four() -> Any:
        yield from text(2)
        raise AssertionError("a third batch")

    rows = torch.cat([batch["input_ids"] for batch in text(2)])[:3]
    same(make(student, teacher, four()), make(student, teacher, [{"input_ids": rows}]))


def test_layers_and_widths_are_cut_together() -> None:
    student = FromTeacher(
        layers=2,
        choose="drop_middle",
        hidden_size=24,
        intermediate_size=20,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    model = make(student, language_model("llama", num_hidden_layers=4), text())
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (2, 24, 20)
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (2, 1, 8)
    assert model(input_ids=tokens()).logits.isfinite().all()


def test_nothing_asked_for_is_a_copy() -> None:
    teacher = language_model("llama")
    copy = make(FromTeacher(), teacher, [])
    same(copy, teacher)
    assert copy is not teacher
