"""How long a teacher is fitted, and how often it is looked at."""

from collections.abc import Callable
from pathlib import Path

import pytest

from distillkit.artifacts.digests import place_of, sealed
from distillkit.artifacts.workspace import write_json
from distillkit.stages.teacher import PROBE, _kept_probe, fit_settings
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


FOUND = {"penalty": 0.1, "score": 0.75, "loss": 0.5, "examples": 20}


def kept(folder: Path) -> Path:
    """The record of a probe in a teacher that a killed run left."""
    folder.mkdir()
    path = folder / PROBE
    write_json(path, sealed({"probe": FOUND, "place": place_of(path)}))
    return path


def test_the_probe_of_a_killed_run_is_taken_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kept(tmp_path / f"teacher-{'a' * 16}")
    assert _kept_probe(path.parent) == FOUND
    assert _kept_probe(tmp_path) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda text: text.replace("0.75", "0.95"), "altered, or of another artifact"),
        (lambda text: text.replace("a" * 16, "b" * 16), "altered, or of another artifact"),
        (lambda text: text[:-9], "JSONDecodeError"),
        (lambda text: "[1]", "AttributeError"),
        (lambda text: "[" * 100_000, "RecursionError"),
    ],
)
def test_a_damaged_probe_is_fitted_again_with_a_word(
    damage: Callable[[str], str], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kept(tmp_path / f"teacher-{'a' * 16}")
    path.write_text(damage(path.read_text()))
    assert _kept_probe(path.parent) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{path}: damaged: {fault}" in line
    assert line.endswith("the probe is fitted again")


def test_the_probe_of_another_artifact_is_fitted_again_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = kept(tmp_path / f"teacher-{'b' * 16}")
    path = kept(tmp_path / f"teacher-{'a' * 16}")
    path.write_bytes(other.read_bytes())
    assert _kept_probe(path.parent) is None
    assert "of another artifact; the probe is fitted again" in capsys.readouterr().err
