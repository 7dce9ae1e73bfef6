"""One optimizer step is the same however it is padded, cut up and shared out."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.contract import steps
from tests.contract.listing import NAMES, Loss, every
from tests.contract.steps import CUTS, EXAMPLES, Step, classifier, step
from tests.processes import steps_of_two_processes


def assert_same(found: Step, expected: Step) -> None:
    """Equal but for rounding, and not for being empty."""
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-7)
    assert found[1].keys() == expected[1].keys()
    size = max(float(g.abs().max()) for g in expected[1].values())
    assert size > 1e-3
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-6 * size)


@pytest.fixture(scope="module")
def plain(body: Path) -> Callable[[Loss], Step]:
    """The step of a loss on the whole batch, computed once."""
    found: dict[str, Step] = {}

    def of(loss: Loss) -> Step:
        if loss.name not in found:
            found[loss.name] = step(loss, classifier(loss, body))
        return found[loss.name]

    return of


@every()
@pytest.mark.parametrize("padding", [1, 20])
def test_padding_changes_neither_loss_nor_gradients(
    loss: Loss, padding: int, body: Path, plain: Callable[[Loss], Step]
) -> None:
    assert_same(step(loss, classifier(loss, body), padding=padding), plain(loss))


@every()
@pytest.mark.parametrize(
    "micro",
    [1, 3, *(pytest.param(rows, marks=pytest.mark.slow) for rows in (5, EXAMPLES, 100))],
)
def test_micro_batches_change_neither_loss_nor_gradients(
    loss: Loss, micro: int, body: Path, plain: Callable[[Loss], Step]
) -> None:
    assert_same(step(loss, classifier(loss, body), micro=micro), plain(loss))


@pytest.fixture(scope="module")
def of_two_processes(
    body: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Step]:
    return steps_of_two_processes(steps.__name__, body, tmp_path_factory.mktemp("two"))


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", NAMES)
def test_two_processes_find_the_loss_and_the_gradients_of_one(
    name: str, cut: str, body: Path, of_two_processes: dict[tuple[str, str], Step]
) -> None:
    count, micro = CUTS[cut]
    loss = NAMES[name]
    one = step(loss, classifier(loss, body), count=count, micro=micro)
    assert_same(of_two_processes[name, cut], one)
