"""A step on a teacher's inside is the same however texts are padded, packed and shared out."""

from pathlib import Path

import pytest

from tests import tiny_language
from tests.contract import inside_steps
from tests.contract.inside_steps import CUTS, NAMES, step
from tests.contract.steps import Step
from tests.contract.test_steps import assert_same
from tests.processes import steps_of_two_processes

each_loss = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language.write_model(tmp_path_factory.mktemp("model"), layers=2)


@each_loss
@pytest.mark.parametrize("cut", [cut for cut in CUTS if cut != "padded"])
def test_packing_and_cutting_change_neither_loss_nor_gradients(
    name: str, cut: str, folder: Path, padded: dict[str, Step]
) -> None:
    if name not in padded:
        padded[name] = step(name, folder, "padded")
    assert_same(step(name, folder, cut), padded[name])


@pytest.fixture(scope="module")
def of_two_processes(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Step]:
    return steps_of_two_processes(inside_steps.__name__, folder, tmp_path_factory.mktemp("two"))


@pytest.mark.slow
@each_loss
@pytest.mark.parametrize("cut", CUTS)
def test_two_processes_find_the_loss_and_the_gradients_of_one(
    name: str, cut: str, folder: Path, of_two_processes: dict[tuple[str, str], Step]
) -> None:
    assert_same(of_two_processes[name, cut], step(name, folder, cut))
