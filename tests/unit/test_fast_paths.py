"""Each fast path has a switch, and a name that is none is refused."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from distillkit.errors import ConfigError
from distillkit.fast_paths import ALL, VARIABLE, FastPath, disabled
from distillkit.losses import heads
from distillkit.models.precision import autocast, cached_casts
from distillkit.targets.codecs import rejection_sampling
from distillkit.types import HiddenOutputs
from tests.unit.models.test_first_token import classifier, padded, width_of_last
from tests.unit.targets.answers import random_hidden

CPU = torch.device("cpu")
EACH = pytest.mark.parametrize("path", FastPath)


@EACH
@pytest.mark.parametrize("others", ["", " , "])
def test_a_path_is_disabled_by_its_name_alone(
    path: FastPath, others: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert path.is_enabled
    monkeypatch.setenv(VARIABLE, f"{others}{path}")
    assert [it for it in FastPath if not it.is_enabled] == [path]


def test_several_and_all_are_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "cached_casts, first_token_layer")
    assert disabled() == {FastPath.CACHED_CASTS, FastPath.FIRST_TOKEN_LAYER}
    monkeypatch.setenv(VARIABLE, ALL)
    assert disabled() == {*FastPath}


@pytest.mark.parametrize(
    ("given", "hint"),
    [("cached_cast", "did you mean cached_casts"), ("1", "it takes rejection_sampling, ")],
)
def test_a_name_that_is_none_is_refused(
    given: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"first_token_layer,{given}")
    with pytest.raises(
        ConfigError, match=rf"^{VARIABLE}: no fast path is called '{given}'; {hint}"
    ):
        disabled()


def narrow() -> HiddenOutputs:
    """Two positions' hidden states in bfloat16, and a head for five outputs."""
    said = random_hidden(2, 5)
    return replace(said, hidden=said.hidden.bfloat16())


def off(path: FastPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, path)


def test_the_last_layer_runs_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = classifier("bert"), padded()
    assert width_of_last(model, inputs) == 1
    off(FastPath.FIRST_TOKEN_LAYER, monkeypatch)
    assert width_of_last(model, inputs) == inputs["input_ids"].shape[1]


def test_draws_are_of_exact_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection_sampling, "has_bfloat16", lambda _: True)
    said = narrow()
    assert rejection_sampling.are_cheaper(said)
    off(FastPath.REJECTION_SAMPLING, monkeypatch)
    assert not rejection_sampling.are_cheaper(said)


def test_products_are_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul, found = torch.backends.mkldnn.matmul, []
    multiply = torch.mm

    def recorded(*matrices: Tensor, out: Tensor) -> Tensor:
        found.append(matmul.fp32_precision)
        return multiply(*matrices, out=out)

    monkeypatch.setattr(torch, "mm", recorded)
    said = narrow()
    with torch.no_grad():
        heads.raw_logits(said.hidden, said.head)
        off(FastPath.BFLOAT16_PRODUCTS, monkeypatch)
        heads.raw_logits(said.hidden, said.head)
    assert found == ["bf16", matmul.fp32_precision]
    assert matmul.fp32_precision != "bf16"


def test_weights_are_cast_in_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nn.Linear(3, 3), torch.ones(1, 3)

    def casts() -> bool:
        """Whether a change of the weights is overlooked: they were converted before it."""
        with torch.no_grad(), cached_casts():
            outputs = []
            for _ in range(2):
                with autocast(torch.bfloat16, CPU):
                    outputs.append(model(x))
                model.weight.data.add_(1)
        return torch.equal(*outputs)

    assert casts()
    off(FastPath.CACHED_CASTS, monkeypatch)
    assert not casts()
