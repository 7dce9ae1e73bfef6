"""The one place that turns `_target_` nodes into objects."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from distillkit.errors import ConfigError, DistillkitError


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
        reason = " ".join(str(cause or error).split())
        raise ConfigError(f"{key}: {node['_target_']} refuses its settings ({reason})") from error
