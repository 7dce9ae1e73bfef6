"""Classes that have another name now: a config that names them as before means the same."""

from typing import Any

CURRENT = {
    **{
        f"distillkit.engine.{name}": f"distillkit.schedules.{name}LR"
        for name in ("Constant", "Cosine", "Linear", "WSD")
    },
    **{
        f"distillkit.losses.schedules.{name}": f"distillkit.schedules.{name}"
        for name in ("Constant", "Cosine", "Linear", "WSD")
    },
    "distillkit.engine.TrainSettings": "distillkit.training.TrainSettings",
}
_announced: set[str] = set()


def current(target: Any) -> Any:
    """The present name of a class; of what was never renamed, or is no name, itself."""
    return CURRENT.get(target, target) if isinstance(target, str) else target


def announce(target: str, key: str) -> None:
    """Say once a process which name a config should have in its `key`, where it has another."""
    if target in CURRENT and target not in _announced:
        from distillkit.console.progress import say

        _announced.add(target)
        say(f"{key}._target_: {target} is called {CURRENT[target]} now")


def with_current_names(value: Any) -> Any:
    """Plain data of a config in which each `_target_` has its present name."""
    if isinstance(value, list):
        return [with_current_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: current(item) if name == "_target_" else with_current_names(item)
        for name, item in value.items()
    }
