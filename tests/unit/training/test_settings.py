"""How long a run is."""

import pytest

from distillkit.errors import ConfigError
from distillkit.training import TrainSettings


@pytest.mark.parametrize(("steps", "epochs"), [(None, None), (10, 1)])
def test_exactly_one_of_steps_and_epochs_sets_the_length(
    steps: int | None, epochs: float | None
) -> None:
    with pytest.raises(ConfigError, match=f"trainer.steps = {steps}, trainer.epochs = {epochs}"):
        TrainSettings(steps=steps, epochs=epochs)


@pytest.mark.parametrize(
    ("steps", "epochs", "expected"),
    [(7, None, 7), (None, 1, 10), (None, 2.5, 25), (None, 0.26, 3), (None, 0.01, 1)],
)
def test_length_in_optimizer_steps(steps: int | None, epochs: float | None, expected: int) -> None:
    assert TrainSettings(steps=steps, epochs=epochs).length(steps_per_epoch=10) == expected
