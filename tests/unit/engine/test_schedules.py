"""The factor on the learning rate, from the step's number alone."""

import math

import pytest

from distillkit.engine.schedules import WSD, Constant, Cosine, Linear, Schedule
from distillkit.errors import ConfigError

STEPS = 200
FALLING = [Linear, Cosine, WSD]


def factors(schedule: Schedule, steps: int = STEPS) -> list[float]:
    return [schedule(step, steps) for step in range(1, steps + 1)]


@pytest.mark.parametrize("kind", [Linear, Cosine, WSD, Constant])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, STEPS])
@pytest.mark.parametrize("warmup", [0.0, 0.06, 0.5, 0.8])
def test_a_factor_is_a_share_of_the_learning_rate(kind: type, steps: int, warmup: float) -> None:
    assert all(0 <= factor <= 1 for factor in factors(kind(warmup=warmup), steps))


@pytest.mark.parametrize("kind", [Linear, Cosine, WSD, Constant])
def test_the_warm_up_rises_evenly_from_the_first_step_to_the_peak(kind: type) -> None:
    found = factors(kind(warmup=0.1))[:20]
    assert found == pytest.approx([step / 20 for step in range(1, 21)])


@pytest.mark.parametrize("kind", [Linear, Cosine, WSD, Constant])
def test_without_a_warm_up_the_first_step_is_at_the_peak_or_just_below(kind: type) -> None:
    assert factors(kind(warmup=0.0))[0] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("kind", FALLING)
@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_the_last_step_is_at_the_final_share(kind: type, final: float) -> None:
    assert factors(kind(final=final))[-1] == pytest.approx(final)


@pytest.mark.parametrize("kind", FALLING)
@pytest.mark.parametrize("final", [0.0, 0.3])
def test_after_the_peak_it_only_falls(kind: type, final: float) -> None:
    found = factors(kind(warmup=0.1, final=final))
    peak = found.index(max(found))
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)
    assert found[peak] == pytest.approx(1.0)
    assert min(found[peak:]) >= final


def test_half_way_down_by_hand() -> None:
    # warm-up over steps 1 … 40, then 160 steps: step 80 is a quarter, step 120 a half of the way
    linear, cosine = Linear(warmup=0.2, final=0.2), Cosine(warmup=0.2, final=0.2)
    assert linear(80, STEPS) == pytest.approx(0.2 + 0.8 * 0.75)
    assert cosine(80, STEPS) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)
    assert linear(120, STEPS) == pytest.approx(0.6)
    assert cosine(120, STEPS) == pytest.approx(0.6)


def test_constant_stays_at_the_peak() -> None:
    assert factors(Constant(warmup=0.1))[19:] == [1.0] * 181


def test_wsd_is_level_until_its_decay() -> None:
    found = factors(WSD(warmup=0.1, decay=0.2, final=0.5))
    assert found[19:160] == [1.0] * 141
    assert found[160:] == pytest.approx([1 - 0.5 * i / 40 for i in range(1, 41)])


def test_wsd_without_a_decay_is_constant() -> None:
    assert factors(WSD(warmup=0.1, decay=0.0)) == factors(Constant(warmup=0.1))


@pytest.mark.parametrize(("warmup", "decay"), [(0.0, 1.0), (0.3, 0.7), (0.9, 0.1)])
def test_wsd_may_be_all_warm_up_and_decay(warmup: float, decay: float) -> None:
    assert factors(WSD(warmup=warmup, decay=decay))[-1] == 0.0


def test_wsd_refuses_a_warm_up_and_a_decay_longer_than_the_run() -> None:
    with pytest.raises(ConfigError, match=r"scheduler\.warmup \+ scheduler\.decay = 1\.2"):
        WSD(warmup=0.5, decay=0.7)


def test_a_warm_up_shorter_than_a_step_is_none() -> None:
    assert factors(Constant(warmup=0.06), 10) == [1.0] * 10
