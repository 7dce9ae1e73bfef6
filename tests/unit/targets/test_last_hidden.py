"""`last_hidden`: hidden states of every position, and the head once."""

from pathlib import Path
from typing import Any

import pytest
import torch

from distillkit.errors import ConfigError
from distillkit.losses.heads import project
from distillkit.targets import LastHidden
from distillkit.targets.codecs.last_hidden import HEAD
from distillkit.types import Head, HiddenOutputs
from tests.unit.targets.answers import random_hidden, random_logits, there_and_back


def kept(folder: Path, said: HiddenOutputs, dtype: Any, positions: Any = None) -> Any:
    codec = LastHidden(dtype)
    codec.save_shared(said, folder)
    return there_and_back(codec, said, positions, folder=folder)


@pytest.mark.parametrize("positions", [[9], [4, 0, 5], [1] * 9])
def test_bfloat16_states_come_back_as_they_are(tmp_path: Path, positions: list[int]) -> None:
    said = random_hidden(9, 12)
    back = kept(tmp_path, said, "bfloat16", positions)
    assert torch.equal(back.hidden, said.hidden.bfloat16())


@pytest.mark.parametrize("positions", [[9], [4, 0, 5], [1] * 9])
def test_int8_states_are_within_half_a_step(tmp_path: Path, positions: list[int]) -> None:
    said = random_hidden(9, 12, size=300)
    said.hidden[3] *= 1000
    said.hidden[4] *= 1e-6
    back = kept(tmp_path, said, "int8", positions).hidden
    step = said.hidden.abs().amax(dim=-1, keepdim=True) / 127
    assert back.dtype == torch.float32
    assert ((back - said.hidden).abs() <= 0.5001 * step).all()
    assert ((back - said.hidden).abs() > 0.4 * step).any()


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_a_state_of_zeros_comes_back(tmp_path: Path, dtype: Any) -> None:
    said = HiddenOutputs(torch.zeros(2, 8), random_hidden(1, 12).head)
    assert torch.equal(kept(tmp_path, said, dtype).hidden.float(), torch.zeros(2, 8))


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("about", [{}, {"scale": 0.1}, {"scale": 1 / 3, "softcap": 30.0}])
@pytest.mark.parametrize("bias", [None, torch.linspace(-1, 1, 15)])
def test_the_head_comes_back_without_its_padding(
    tmp_path: Path, weights: torch.dtype, about: dict[str, float], bias: Any
) -> None:
    made = random_hidden(5, 12)
    said = HiddenOutputs(made.hidden, Head(made.head.weight.to(weights), 12, bias, **about))
    back = kept(tmp_path, said, "bfloat16").head
    assert (back.size, back.scale, back.softcap) == (12, said.head.scale, said.head.softcap)
    assert torch.equal(back.weight, said.head.weight[:12])
    assert (back.bias is None) if bias is None else torch.equal(back.bias, bias[:12])


@pytest.mark.parametrize(("dtype", "most"), [("bfloat16", 0.01), ("int8", 0.02)])
def test_logits_are_those_of_the_teacher(tmp_path: Path, dtype: Any, most: float) -> None:
    said = random_hidden(50, 40, size=64, softcap=20.0)
    back = kept(tmp_path, said, dtype)
    exact = project(said.hidden, said.head)
    error = (project(back.hidden, back.head) - exact).norm() / exact.norm()
    assert error < most


def test_the_head_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    said, files = random_hidden(5, 12, bias=torch.ones(15)), []
    for _ in range(2):
        LastHidden().save_shared(said, tmp_path)
        files.append((tmp_path / HEAD).read_bytes())
    assert files[0] == files[1]


def test_a_teacher_without_hidden_states_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"targets\.codec = last_hidden: .* targets=stored"):
        there_and_back(LastHidden(), random_logits(2, 12), folder=tmp_path)
