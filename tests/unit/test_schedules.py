"""The factor on the learning rate, from the step's number alone."""

import math
from typing import Any

import pytest
import torch
import transformers

from distillkit.errors import ConfigError
from distillkit.schedules import WSDLR, ConstantLR, CosineLR, LearningRateSchedule, LinearLR

STEPS = 200
FALLING = [LinearLR, CosineLR, WSDLR]
EVERY = [*FALLING, ConstantLR]


def factors(schedule: LearningRateSchedule, steps: int = STEPS) -> list[float]:
    return [schedule(step, steps) for step in range(1, steps + 1)]


def of_transformers(name: str, steps: int, **settings: Any) -> list[float]:
    """The rates that optimizer steps are taken at, as its Trainer calls the scheduler."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = getattr(transformers, f"get_{name}")(optimizer, **settings)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, STEPS])
@pytest.mark.parametrize("warmup", [0.0, 0.06, 0.5, 0.8])
def test_every_step_is_taken_at_a_rate_above_0(kind: type, steps: int, warmup: float) -> None:
    found = factors(kind(warmup=warmup), steps)
    assert all(0 < factor <= 1 for factor in found)
    assert max(found) == 1.0


@pytest.mark.parametrize("warmup", [0.0, 0.07, 0.1, 0.33])
@pytest.mark.parametrize("steps", [13, 100, 101])
@pytest.mark.parametrize(
    ("schedule", "name", "settings"),
    [
        (LinearLR, "linear_schedule_with_warmup", {"num_training_steps": True}),
        (CosineLR, "cosine_schedule_with_warmup", {"num_training_steps": True}),
        (ConstantLR, "constant_schedule_with_warmup", {}),
        (WSDLR, "wsd_schedule", {"num_training_steps": True, "num_decay_steps": 0.2}),
    ],
    ids=["linear", "cosine", "constant", "wsd"],
)
def test_after_the_warm_up_the_rates_are_those_of_transformers(
    schedule: Any, name: str, settings: dict[str, Any], steps: int, warmup: float
) -> None:
    rise = math.ceil(round(warmup * steps, 9))
    given: dict[str, Any] = {"num_warmup_steps": rise}
    if "num_training_steps" in settings:
        given["num_training_steps"] = steps
    if "num_decay_steps" in settings:
        given |= {"num_decay_steps": math.ceil(round(0.2 * steps, 9)), "decay_type": "linear"}
    theirs = of_transformers(name, steps, **given)
    found = factors(schedule(warmup=warmup), steps)
    assert found[rise:] == pytest.approx(theirs[rise:], rel=1e-12)
    # and in the warm-up, whose first step does nothing there
    assert theirs[:rise] == pytest.approx([k / rise for k in range(rise)])
    assert found[:rise] == pytest.approx([k / (rise + 1) for k in range(1, rise + 1)])


@pytest.mark.parametrize("kind", EVERY)
def test_the_warm_up_rises_evenly_from_the_first_step_to_the_peak(kind: type) -> None:
    found = factors(kind(warmup=0.1))[:21]
    assert found == pytest.approx([step / 21 for step in range(1, 22)])


@pytest.mark.parametrize("kind", EVERY)
def test_without_a_warm_up_the_first_step_is_at_the_peak(kind: type) -> None:
    assert factors(kind(warmup=0.0))[0] == 1.0


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_the_step_after_the_last_would_be_at_the_final_share(final: float) -> None:
    # 188 steps of falling, or 40
    last = [factors(kind(final=final))[-1] for kind in FALLING]
    falling = [1 / 188, math.sin(math.pi / 2 / 188) ** 2, 1 / 40]
    assert last == pytest.approx([final + (1 - final) * share for share in falling])


def test_the_last_step_of_a_cosine_of_a_billion_steps_is_above_0() -> None:
    steps = 10**9
    assert CosineLR()(steps, steps) == pytest.approx((math.pi / 2 / (0.94 * steps)) ** 2)


@pytest.mark.parametrize("kind", FALLING)
@pytest.mark.parametrize("final", [0.0, 0.3])
def test_after_the_peak_it_only_falls(kind: type, final: float) -> None:
    found = factors(kind(warmup=0.1, final=final))
    peak = found.index(max(found))
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)
    assert found[peak] == 1.0
    assert min(found[peak:]) >= final


def test_half_way_down_by_hand() -> None:
    # warm-up over steps 1 … 40, then 160 steps, of which step 81 has 120 left and step 121 80
    linear, cosine = LinearLR(warmup=0.2, final=0.2), CosineLR(warmup=0.2, final=0.2)
    assert linear(81, STEPS) == pytest.approx(0.2 + 0.8 * 0.75)
    assert cosine(81, STEPS) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)
    assert linear(121, STEPS) == pytest.approx(0.6)
    assert cosine(121, STEPS) == pytest.approx(0.6)


def test_constant_stays_at_the_peak() -> None:
    assert factors(ConstantLR(warmup=0.1))[20:] == [1.0] * 180


def test_wsd_is_level_until_its_decay() -> None:
    found = factors(WSDLR(warmup=0.1, decay=0.2, final=0.5))
    assert found[20:161] == [1.0] * 141
    assert found[161:] == pytest.approx([1 - 0.5 * i / 40 for i in range(1, 40)])


def test_wsd_without_a_decay_is_constant() -> None:
    assert factors(WSDLR(warmup=0.1, decay=0.0)) == factors(ConstantLR(warmup=0.1))


@pytest.mark.parametrize(("warmup", "decay"), [(0.0, 1.0), (0.3, 0.7), (0.9, 0.1)])
@pytest.mark.parametrize("steps", [1, 2, 7, STEPS])
def test_wsd_may_be_all_warm_up_and_decay(warmup: float, decay: float, steps: int) -> None:
    assert factors(WSDLR(warmup=warmup, decay=decay), steps) == pytest.approx(
        factors(LinearLR(warmup=warmup), steps)
    )


def test_wsd_refuses_a_warm_up_and_a_decay_longer_than_the_run() -> None:
    with pytest.raises(ConfigError, match=r"scheduler\.warmup \+ scheduler\.decay = 1\.2"):
        WSDLR(warmup=0.5, decay=0.7)


def test_a_warm_up_shorter_than_a_step_is_one_step_as_in_transformers() -> None:
    assert factors(ConstantLR(warmup=0.06), 10) == [0.5, *[1.0] * 9]
    arguments = transformers.TrainingArguments(warmup_steps=0.06)
    assert arguments.get_warmup_steps(10) == 1


def test_a_warm_up_is_not_longer_for_the_rounding_of_a_product() -> None:
    assert 0.07 * 100 > 7
    assert factors(ConstantLR(warmup=0.07), 100)[7] == 1.0
