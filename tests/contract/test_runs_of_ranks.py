"""A model is trained alike by one process and by several, whole on each or shared out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import tiny, tiny_language
from tests.contract import runs_of_ranks
from tests.contract.runs_of_ranks import CASES, CHUNK, RESUMED, rows, train, train_until
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
each_wrapper = pytest.mark.parametrize(
    "wrapper", [*SHORT, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
WEIGHTS = "weights.safetensors"
Made = tuple[list[dict[str, float]], dict[str, torch.Tensor]]  # rows, and weights at the end


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return tiny.write_model(folder / "bert"), tiny_language.write_model(folder / "llama", layers=2)


@pytest.fixture(scope="module")
def alone(
    models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Made]:
    """What one process makes of a case, computed once."""
    folder = tmp_path_factory.mktemp("alone")
    made: dict[str, Made] = {}

    def of(case: str) -> Made:
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
            run_ranks(runs_of_ranks.__name__, *words, world=world, timeout=400, **environment)
        return made[wrapper]

    return of


@pytest.mark.parametrize("case", CASES)
@each_wrapper
def test_several_processes_train_as_one_does_step_by_step(
    wrapper: str,
    case: str,
    alone: Callable[[str], Made],
    together: Callable[[str], Path],
) -> None:
    assert_alike(together(wrapper) / case, *alone(case), rtol=2e-2 if case == "bfloat16" else 1e-5)


def assert_alike(
    folder: Path,
    expected: list[dict[str, float]],
    weights: dict[str, torch.Tensor],
    *,
    rtol: float = 1e-5,
) -> None:
    """The logged rows, and the weights at the end, are those of one process."""
    assert [row["step"] for row in rows(folder)] == [row["step"] for row in expected]
    for found, row in zip(rows(folder), expected, strict=True):
        assert found.keys() == row.keys()
        for name, value in row.items():
            assert found[name] == pytest.approx(value, rel=rtol, abs=1e-7), (row["step"], name)
    ended = load_file(folder / WEIGHTS)
    assert ended.keys() == weights.keys()
    moved = max(float(tensor.abs().max()) for tensor in weights.values())
    assert moved > 0.01
    for name, tensor in weights.items():
        torch.testing.assert_close(ended[name], tensor, rtol=rtol, atol=max(rtol, 2e-5))


@pytest.mark.parametrize("case", RESUMED)
@each_wrapper
def test_a_run_that_was_killed_ends_with_the_same_bits(
    wrapper: str, case: str, together: Callable[[str], Path]
) -> None:
    folder = together(wrapper)
    ended, weights = (load_file(it / case / WEIGHTS) for it in (folder / "again", folder))
    torch.testing.assert_close(ended, weights, rtol=0, atol=0)
    scores = [[_decided(row) for row in rows(it / case)] for it in (folder / "again", folder)]
    assert scores[0] == scores[1]


def _decided(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if "second" not in name}


@each_wrapper
def test_logits_are_never_there_for_more_than_a_chunk(
    wrapper: str, together: Callable[[str], Path]
) -> None:
    folder = together(wrapper)
    most = [json.loads(path.read_text()) for path in folder.glob("largest-*.json")]
    assert len(most) == WRAPPERS[wrapper][0]
    assert max(most) == CHUNK  # of the 12 to 50 positions of a step


@pytest.mark.parametrize("case", RESUMED)
def test_a_checkpoint_of_two_processes_is_gone_on_with_by_one(
    case: str,
    alone: Callable[[str], Made],
    together: Callable[[str], Path],
    models: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    folder = left(together("FSDP2, 2"), case, tmp_path)
    weights = train(case, *models, folder)
    save_file(weights, folder / WEIGHTS)
    assert_alike(folder, *alone(case))


def left(together: Path, case: str, tmp_path: Path) -> Path:
    """A copy of what two processes that were killed after two steps left of a case."""
    folder = Path(shutil.copytree(together / "left" / case, tmp_path / case))
    (checkpoint,) = folder.glob("checkpoint-*")
    assert {path.name for path in checkpoint.iterdir()} == {
        "shard-00001-model-00001-of-00001.safetensors",
        "shard-00002-model-00001-of-00001.safetensors",
        "progress.json",
        "files.json",
    }
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", ["DDP, 3", "FSDP2, 3"])
def test_two_processes_then_one_then_three_end_as_one_does(
    wrapper: str,
    alone: Callable[[str], Made],
    together: Callable[[str], Path],
    models: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    for case in RESUMED:
        folder = left(together("FSDP2, 2"), case, tmp_path)
        train_until(3, case, *models, folder)
        assert [it.name for it in folder.glob("checkpoint-*")] == ["checkpoint-00000003"]
    world, environment = WRAPPERS[wrapper]
    run_ranks(
        runs_of_ranks.__name__, *models, tmp_path, *RESUMED, world=world, timeout=400, **environment
    )
    for case in RESUMED:
        assert_alike(tmp_path / case, *alone(case))


def test_a_checkpoint_with_a_damaged_part_is_passed_over(
    alone: Callable[[str], Made],
    together: Callable[[str], Path],
    models: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = left(together("FSDP2, 2"), "language", tmp_path)
    (part,) = folder.glob("checkpoint-*/shard-00002-*")
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    weights = train("language", *models, folder)
    told = "".join(capsys.readouterr().err.split())
    assert f"{part.name}:altered" in told
    assert "itispassedover" in told
    torch.testing.assert_close(weights, alone("language")[1], rtol=0, atol=0)  # from the start
