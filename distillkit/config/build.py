"""The one place that turns `_target_` nodes into objects."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from distillkit.errors import ConfigError, DistillkitError
from distillkit.wording import brief


def build(node: DictConfig, *, key: str, partial: bool = False) -> Any:
    """The object of a checked node; `partial` leaves parameters to be given at run time.

    Raises the target's own `DistillkitError`, or a `ConfigError` that names the group.
    """
    try:
        return instantiate(node, _convert_="all", _partial_=partial)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, DistillkitError):
            raise cause from error
        raise refusal(node, cause or error, key=key) from error


def refusal(node: DictConfig, error: BaseException, *, key: str) -> ConfigError:
    """That the target of a node refuses what it is given, in the target's own words."""
    reason = brief(error)
    said = f"{node['_target_']} refuses its settings ({reason})"
    return ConfigError(f"{key}: {said}; change them, as {key}.NAME=VALUE")
