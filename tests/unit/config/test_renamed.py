"""Configs that name classes as they were called before."""

import pytest
from omegaconf import OmegaConf

from distillkit import schedules
from distillkit.config import renamed
from distillkit.config.build import build
from distillkit.config.classes import refusal
from distillkit.config.overrides import plain
from distillkit.config.signatures import located, signature

BEFORE = "distillkit.losses.schedules.Linear"


@pytest.mark.parametrize(("before", "now"), renamed.CURRENT.items())
def test_a_former_name_has_the_settings_of_the_present_one(before: str, now: str) -> None:
    assert located(now)
    assert signature(before) == signature(now)


def test_a_former_name_may_stand_where_the_present_one_may() -> None:
    assert refusal(BEFORE, "loss", is_part=True) is None
    assert refusal("distillkit.engine.WSD", "scheduler", is_part=False) is None
    assert refusal(BEFORE, "scheduler", is_part=False) is not None


def test_what_it_names_is_built_and_the_present_name_is_said_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renamed, "_announced", set())
    node = OmegaConf.create({"_target_": BEFORE, "start": 1.0, "end": 0.5})
    assert build(node, key="loss.hard_weight") == schedules.Linear(1.0, 0.5)
    assert build(node, key="loss.hard_weight") == schedules.Linear(1.0, 0.5)
    said = "".join(capfd.readouterr())
    assert said.count(f"loss.hard_weight._target_: {BEFORE} is called") == 1
    assert "distillkit.schedules.Linear now" in said


def test_both_names_decide_the_same() -> None:
    before = OmegaConf.create({"terms": [{"_target_": BEFORE, "start": 1.0, "end": 0.5}]})
    now = OmegaConf.create(
        {"terms": [{"_target_": "distillkit.schedules.Linear", "start": 1.0, "end": 0.5}]}
    )
    assert plain(before) == plain(now)


@pytest.mark.parametrize(
    ("group", "written", "told"),
    [
        ("loss", BEFORE, f"distillkit.schedules.Linear ({BEFORE} before) is outside"),
        ("loss", BEFORE, "(it is for nodes inside loss)"),
        ("loss", "distillkit.engine.Cosine", "(it is for scheduler)"),
        ("optimizer", "distillkit.engine.TrainSettings", "(it is for trainer)"),
        ("scheduler", "distillkit.engine.WSd", "did you mean distillkit.schedules.WSDLR?"),
        ("loss", "distillkit.losses.ForwardKl", "did you mean distillkit.losses.ForwardKL?"),
        ("optimizer", "torch.optim.Adm", "did you mean torch.optim.Adam?"),
        ("loss", "distillkit.losses.Qqqqqq", "does not exist (no Qqqqqq in losses)"),
        ("loss", "distillkit.cli.main.main", "(it takes distillkit.losses.AKL, "),
    ],
)
def test_a_class_in_a_wrong_place_is_told_where_it_belongs(
    group: str, written: str, told: str
) -> None:
    """That a package is called alike is no reason to mean another class in it."""
    line = refusal(written, group, is_part=False)
    assert line is not None and told in line
    assert ("did you mean" in line) == ("did you mean" in told)
