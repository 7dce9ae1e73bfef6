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
    assert refusal(BEFORE, "loss", inside=True) is None
    assert refusal("distillkit.engine.WSD", "scheduler", inside=False) is None
    assert refusal(BEFORE, "scheduler", inside=False) is not None


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
