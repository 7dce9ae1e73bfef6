"""A model is trained alike by one process and by several, whole on each or shared out."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import tiny, tiny_language
from tests.contract import runs_of_ranks
from tests.contract.runs_of_ranks import CASES, rows, train
from tests.processes import FSDP2, run_ranks

WRAPPERS: dict[str, tuple[int, dict[str, str]]] = {
    "DDP, 2": (2, {}),
    "DDP, 3": (3, {}),
    "FSDP2, 2": (2, FSDP2),
    "FSDP2, 3": (3, FSDP2),
    "FSDP2, offloaded": (2, FSDP2 | {"FSDP_OFFLOAD_PARAMS": "true"}),
    "FSDP2, in one piece": (2, FSDP2 | {"FSDP_AUTO_WRAP_POLICY": "NO_WRAP"}),
    "FSDP2, layers gathered once": (2, FSDP2 | {"FSDP_RESHARD_AFTER_FORWARD": "false"}),
}
SHORT = ("FSDP2, 2",)
SLOW = [name for name in WRAPPERS if name not in SHORT]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return tiny.write_model(folder / "bert"), tiny_language.write_model(folder / "llama", layers=2)


@pytest.fixture(scope="module")
def alone(
    models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[list[dict[str, float]], dict[str, torch.Tensor]]]:
    """What one process makes of a case, computed once."""
    folder = tmp_path_factory.mktemp("alone")
    made: dict[str, tuple[list[dict[str, float]], dict[str, torch.Tensor]]] = {}

    def of(case: str) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
        if case not in made:
            weights = train(case, *models, folder / case)
            made[case] = rows(folder / case), weights
        return made[case]

    return of


@pytest.fixture(scope="module")
def together(
    models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder of what several processes make of all cases, run once."""
    made: dict[str, Path] = {}

    def of(wrapper: str) -> Path:
        if wrapper not in made:
            world, environment = WRAPPERS[wrapper]
            made[wrapper] = tmp_path_factory.mktemp("together")
            words = (*models, made[wrapper])
            run_ranks(runs_of_ranks.__name__, *words, world=world, **environment)
        return made[wrapper]

    return of


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "wrapper", [*SHORT, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_several_processes_train_as_one_does_step_by_step(
    wrapper: str,
    case: str,
    alone: Callable[[str], tuple[list[dict[str, float]], dict[str, torch.Tensor]]],
    together: Callable[[str], Path],
) -> None:
    expected, weights = alone(case)
    folder = together(wrapper) / case
    rtol = 2e-2 if case == "bfloat16" else 1e-5
    assert [row["step"] for row in rows(folder)] == [row["step"] for row in expected]
    for found, row in zip(rows(folder), expected, strict=True):
        assert found.keys() == row.keys()
        for name, value in row.items():
            assert found[name] == pytest.approx(value, rel=rtol, abs=1e-7), (row["step"], name)
    ended = load_file(folder / "weights.safetensors")
    assert ended.keys() == weights.keys()
    moved = max(float(tensor.abs().max()) for tensor in weights.values())
    assert moved > 0.01
    for name, tensor in weights.items():
        torch.testing.assert_close(ended[name], tensor, rtol=rtol, atol=max(rtol, 2e-5))
