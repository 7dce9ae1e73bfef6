"""The number format of a forward pass."""

import pytest
import torch

from distillkit.models.precision import autocast, resolve

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_format_that_is_named_is_taken(name) -> None:
    assert resolve(name, CPU) == getattr(torch, name)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_auto_is_bfloat16_where_the_processor_multiplies_it(
    capabilities: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve("auto", CPU) == expected


def test_auto_is_float32_where_pytorch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve("auto", CPU) == torch.float32


def test_auto_is_float32_on_a_device_that_nothing_is_known_of() -> None:
    assert resolve("auto", torch.device("meta")) == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_products_run_in_the_format_and_weights_stay_float32(dtype: torch.dtype) -> None:
    layer = torch.nn.Linear(2, 2)
    with autocast(dtype, CPU):
        assert layer(torch.ones(1, 2)).dtype == dtype
    assert layer.weight.dtype == torch.float32


def test_float32_switches_an_outer_autocast_off() -> None:
    with autocast(torch.bfloat16, CPU), autocast(torch.float32, CPU):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32
