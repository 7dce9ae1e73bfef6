"""Schedules and mixtures as they are written: nodes inside the node of the loss."""

from typing import Any

import pytest

from distillkit.config import overrides
from distillkit.config.build import build
from distillkit.errors import ConfigError
from tests.unit.config.conftest import Faults

LINEAR = "_target_:distillkit.schedules.Linear"
KL = "_target_:distillkit.losses.ForwardKL"


def built(*words: str) -> Any:
    loss = build(overrides.check([*words]).cfg.loss, key="loss")
    loss.on_step_begin(0.5)
    return loss


def test_a_schedule_may_stand_where_a_number_may() -> None:
    loss = built(
        f"loss.temperature={{{LINEAR},start:4,end:1}}",
        f"loss.hard_weight={{{LINEAR},start:1,end:0}}",
    )
    assert loss.current_temperature == 2.5
    assert loss.weights == {"soft": 1.0, "hard": 0.5}


def test_a_mixture_takes_terms_and_weights_from_the_command_line() -> None:
    loss = built(
        "loss=mixture",
        "loss.weights.kl=3",
        f"loss.weights.hard={{{LINEAR},start:1,end:0}}",
        "loss.terms.kl.rest=ignore",
        f"+loss.terms.cold={{{KL}}}",
        "loss.weights.cold=0.25",
    )
    assert loss.weights == {"kl": 3.0, "hard": 0.5, "cold": 0.25}
    assert loss.terms["kl"].rest == "ignore"
    assert (loss.terms["kl"].temperature, loss.terms["cold"].temperature) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        (
            f"loss.hard_weight={{{LINEAR},strt:1,start:1,end:0}}",
            "loss.hard_weight.strt: no such setting of distillkit.schedules.Linear; did you "
            "mean start?",
        ),
        (
            f"loss.hard_weight={{{LINEAR},start:1}}",
            "loss.hard_weight.end: required, but not set; add loss.hard_weight.end=…",
        ),
        (
            "loss.hard_weight={schedule:linear}",
            "loss.hard_weight = {'schedule': 'linear'}: must be a number, or a mapping with the "
            "_target_ that it sets up",
        ),
        (
            "loss.hard_weight={_target_:os.system}",
            "loss.hard_weight._target_: os.system is outside the classes that may stand here",
        ),
    ],
)
def test_a_fault_in_a_schedule_is_said_in_one_line(faults: Faults, word: str, fault: str) -> None:
    (said,) = faults(word)
    assert said.startswith(fault)


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        (
            "loss.terms.kl.temprature=3",
            "loss.terms.kl.temprature: no such setting of distillkit.losses.ForwardKL; did you "
            "mean temperature?",
        ),
        ("loss.terms.kl.temperature=0", "loss.terms.kl.temperature = 0: must be greater than 0"),
        (
            "loss.weights.hard=-1",
            "loss.weights = {'kl': 0.5, 'hard': -1}: hard must be greater than or equal to 0",
        ),
        ("loss.terms.kl._target_=os.system", "loss.terms.kl._target_: os.system is outside"),
        (
            "loss.terms.kl._target_=distillkit.losses.ForwrdKL",
            "loss.terms.kl._target_: distillkit.losses.ForwrdKL does not exist",
        ),
    ],
)
def test_a_fault_in_a_mixture_is_said_in_one_line(faults: Faults, word: str, fault: str) -> None:
    (said,) = faults("loss=mixture", word)
    assert said.startswith(fault)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["loss.weights.had=1"], r"loss\.weights\.had: no such term; did you mean hard\?"),
        ([f"+loss.terms.cold={{{KL}}}"], r"loss\.weights\.cold: not set"),
        (["+loss.terms.cold={a:1}", "loss.weights.cold=1"], r"loss\.terms\.cold: no loss"),
        ([f"loss.terms.kl.temperature={{{LINEAR},start:1,end:0}}"], "gets as low as 0"),
    ],
)
def test_what_the_terms_say_of_each_other_is_refused_when_built(
    words: list[str], fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault):
        built("loss=mixture", *words)
