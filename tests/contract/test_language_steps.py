"""A language model's step is the same however its examples are padded, packed and shared out."""

from pathlib import Path

import pytest

from tests import tiny_language
from tests.contract import language_steps
from tests.contract.language_steps import CUTS, LANGUAGE, step
from tests.contract.steps import Step
from tests.contract.test_steps import assert_same
from tests.processes import steps_of_two_processes

NAMED = {loss.name: loss for loss in LANGUAGE}
each_loss = pytest.mark.parametrize("name", NAMED)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language.write_model(tmp_path_factory.mktemp("teacher"), layers=2, padded=7)


@each_loss
@pytest.mark.parametrize("cut", [cut for cut in CUTS if cut != "padded"])
def test_packing_and_cutting_change_neither_loss_nor_gradients(
    name: str, cut: str, teacher: Path, padded: dict[str, Step]
) -> None:
    if name not in padded:
        padded[name] = step(NAMED[name], teacher, "padded")
    assert_same(step(NAMED[name], teacher, cut), padded[name])


@pytest.fixture(scope="module")
def of_two_processes(
    teacher: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Step]:
    return steps_of_two_processes(language_steps.__name__, teacher, tmp_path_factory.mktemp("two"))


@pytest.mark.slow
@each_loss
@pytest.mark.parametrize("cut", CUTS)
def test_two_processes_find_the_loss_and_the_gradients_of_one(
    name: str, cut: str, teacher: Path, of_two_processes: dict[tuple[str, str], Step]
) -> None:
    assert_same(of_two_processes[name, cut], step(NAMED[name], teacher, cut))
