"""How a model runs while it is trained changes what it takes, not what it learns."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from distillkit.errors import ConfigError, ModelError
from distillkit.models import execution
from distillkit.models.causal import load_causal_lm
from distillkit.models.execution import check_machine, executing
from distillkit.stages.student import fingerprint_fields
from distillkit.students import PretrainedStudent
from distillkit.tasks import CausalLM
from distillkit.training import TrainSettings
from tests import tiny, tiny_language
from tests.contract.runs_of_ranks import rows, train

PLAIN = TrainSettings(steps=1)
CPU, GPU = torch.device("cpu"), torch.device("cuda")
Steps = Callable[..., tuple[list[dict[str, float]], dict[str, torch.Tensor]]]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """(rows, weights) of a case that is trained with some settings."""
    folder = tmp_path_factory.mktemp("models")
    models = tiny.write_model(folder / "bert"), tiny_language.write_model(folder / "llama")

    def of(case: str, **settings: Any) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
        out = tmp_path_factory.mktemp("run")
        weights = train(case, *models, out, **settings)
        return rows(out), weights

    return of


WAYS = {"recomputed": {"gradient_checkpointing": True}, "eager": {"attn_implementation": "eager"}}


def assert_rounded(steps: Steps, case: str, **settings: Any) -> None:
    """Settings change the losses and weights of a case no more than rounding does."""
    (found, weights), (expected, plain) = steps(case, **settings), steps(case)
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in expected], 1e-5)
    torch.testing.assert_close(weights, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["encoder", "language", "inside"])
@pytest.mark.parametrize("way", WAYS)
def test_how_a_model_runs_changes_rounding_alone(way: str, case: str, steps: Steps) -> None:
    assert_rounded(steps, case, **WAYS[way])


compiles = pytest.mark.filterwarnings("ignore:.*torch.jit")  # of what torch.compile imports


@compiles
@pytest.mark.slow  # the compiler takes most of a minute
@pytest.mark.parametrize("case", ["encoder", "language"])
def test_a_compiled_body_changes_rounding_alone(case: str, steps: Steps) -> None:
    assert_rounded(steps, case, compile=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tiny_language.write_model(tmp_path_factory.mktemp("model"), layers=8)
    return load_causal_lm(str(folder), key="")


def held(model: Any) -> int:
    """Bytes that a forward pass keeps for its backward pass, weights left out."""
    storages: dict[int, torch.UntypedStorage] = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=torch.arange(240).view(4, 60) % 30).logits.sum()
    return sum(storage.nbytes() for storage in storages.values())


def test_layers_that_are_computed_again_hold_a_part_of_the_memory(model: Any) -> None:
    plain = held(model)
    with executing(model, replace(PLAIN, gradient_checkpointing=True)):
        recomputed = held(model)
    assert recomputed < 0.2 * plain
    assert held(model) == plain  # as it was


def recomputes(model: Any) -> bool:
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


@compiles
def test_a_model_is_left_as_it_was(model: Any) -> None:
    before = model.config._attn_implementation
    settings = replace(
        PLAIN, attn_implementation="eager", gradient_checkpointing=True, compile=True
    )
    with executing(model, settings):
        assert model.config._attn_implementation == "eager"
        assert recomputes(model)
    assert model.config._attn_implementation == before != "eager"
    assert not recomputes(model)
    assert "forward" not in vars(model.base_model)


def test_a_model_without_such_layers_is_refused(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(model), "supports_gradient_checkpointing", False)
    with (
        pytest.raises(ModelError, match=r"trainer\.gradient_checkpointing = true"),
        executing(model, replace(PLAIN, gradient_checkpointing=True)),
    ):
        pass


@pytest.mark.parametrize(
    ("settings", "device", "line"),
    [
        ({"attn_implementation": "flash_attention_2"}, CPU, "flash_attention_2: needs a GPU"),
        ({"attn_implementation": "flash_attention_3"}, GPU, "the package flash_attn_interface"),
        ({"attn_implementation": "flex_attention"}, CPU, "has no gradient without a GPU"),
        ({"compile": True}, CPU, "compile = true: needs g++, which is not installed"),
    ],
)
def test_what_the_machine_has_not_is_one_line(
    settings: dict[str, Any], device: torch.device, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "find_spec", lambda _: None)
    monkeypatch.setattr(execution.shutil, "which", lambda _: None)  # type: ignore[attr-defined]
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError) as caught:
        check_machine(replace(PLAIN, **settings), device)
    assert line in str(caught.value)


def named(settings: TrainSettings) -> dict[str, Any]:
    """What of a student's training decides its name."""
    fields = fingerprint_fields(
        PretrainedStudent("x"),
        CausalLM(),
        source="",
        tokenizer="",
        teacher="",
        texts=list,
        targets=None,
        data=[],
        loss={},
        optimizer={},
        scheduler={},
        settings=settings,
        seed=0,
    )
    trainer: dict[str, Any] = fields["trainer"]
    return trainer


def test_a_students_name_tells_what_changes_its_bits() -> None:
    plain = named(PLAIN)
    assert not plain.keys() & {"compile", "attn_implementation", "gradient_checkpointing"}
    for setting in ({"compile": True}, {"gradient_checkpointing": True}, WAYS["eager"]):
        assert named(replace(PLAIN, **setting)) == plain | setting
