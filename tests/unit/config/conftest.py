"""What the tests of the config check share: faults by words, and a user's own conf folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from distillkit.config import overrides
from distillkit.errors import ConfigError

Faults = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def _recipes_of_one_test_only() -> Iterator[None]:
    """Hydra's store is one for the whole process: what a test adds to it goes again."""
    yield
    ConfigStore.instance().repo.pop("recipe", None)


@pytest.fixture
def faults() -> Faults:
    """The problems that a check of these words finds; none if they are good."""

    def found(*words: str, folder: Path | None = None) -> list[str]:
        try:
            overrides.check([*words], user_folder=folder)
        except ConfigError as error:
            return error.problems
        return []

    return found


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A user's --config-dir with a loss, a recipe that takes it, and nothing wrong."""
    folder = tmp_path / "mine"
    write(folder / "loss" / "warm.yaml", "_target_: distillkit.losses.ForwardKL\ntemperature: 4.0")
    write(folder / "recipes" / "own.yaml", "defaults: [{override /loss: warm}]\nseed: 7")
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    return path
