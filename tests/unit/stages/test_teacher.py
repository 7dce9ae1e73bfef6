"""How long a teacher is fitted, and how often it is looked at."""

import pytest

from distillkit.stages.teacher import fit_settings
from distillkit.teachers import LocalTeacher


@pytest.mark.parametrize(
    ("examples", "epochs", "max_steps", "steps", "eval_every"),
    [
        (6_387, 1, None, 200, 100),  # twice an epoch
        (500, 10, 1500, 160, 8),
        (9_000, 10, 1500, 1500, 141),
        (50_000, 10, 1500, 1500, 750),  # less than an epoch: twice in all
        (20, 1, None, 1, 1),
    ],
)
def test_a_fit_is_bounded_by_epochs_and_by_steps(
    examples: int, epochs: float, max_steps: int | None, steps: int, eval_every: int
) -> None:
    teacher = LocalTeacher(body="b", epochs=epochs, max_steps=max_steps, patience=8)
    found = fit_settings(teacher, examples)
    assert (found.steps, found.eval_every, found.patience) == (steps, eval_every, 8)


@pytest.mark.parametrize(
    ("examples", "epochs", "usual_steps", "max_steps", "steps"),
    [
        (6_400, 10, 900, None, 900),
        (800, 10, 900, None, 250),  # all epochs end before
        (60_000, 10, 900, None, 3750),  # two passes take longer
        (60_000, 1, 900, None, 1875),  # one pass was asked for
        (60_000, 10, 900, 40, 40),  # what is set as the most is the most
        (60_000, 10, None, None, 18750),
    ],
)
def test_a_fit_takes_the_usual_steps_but_two_passes_at_least(
    examples: int, epochs: float, usual_steps: int | None, max_steps: int | None, steps: int
) -> None:
    teacher = LocalTeacher(
        body="b", epochs=epochs, usual_steps=usual_steps, max_steps=max_steps, batch_size=32
    )
    assert fit_settings(teacher, examples).steps == steps
