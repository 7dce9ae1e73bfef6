"""A user's own loss with a hook under an earlier name is refused: it would never be called."""

from dataclasses import dataclass
from typing import Any

import pytest

from distillkit.errors import ConfigError
from distillkit.losses import ForwardKL
from distillkit.losses.loss import RENAMED, Loss


@pytest.mark.parametrize("name", RENAMED)
def test_a_hook_under_an_earlier_name_is_refused_with_the_new_one(name: str) -> None:
    constants = {"passes_over": True, "looks_inside": True, "takes": ("real",), "extent": "last"}
    value: Any = constants.get(name, lambda self, *_: {})
    message = rf"^{__name__}\.Own\.{name}: such a hook of a loss is called {RENAMED[name]} now"
    with pytest.raises(ConfigError, match=message):
        type("Own", (ForwardKL,), {name: value, "__module__": __name__, "__qualname__": "Own"})


def test_a_hook_that_comes_with_another_base_is_refused() -> None:
    class Annealed:
        def at(self, progress: float) -> None: ...

    with pytest.raises(ConfigError, match="on_step_begin"):
        type("Own", (Annealed, Loss), {})


def test_an_earlier_name_that_is_set_on_a_loss_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ForwardKL\.passes_over.*has_unused_parameters"):
        ForwardKL().passes_over = True


def test_a_setting_may_have_such_a_name() -> None:
    @dataclass(eq=False, repr=False, kw_only=True)
    class Own(ForwardKL):
        after: float = 0.5

    assert Own(after=0.25).after == 0.25
