"""The one place that turns `_target_` nodes into objects."""

from collections.abc import Mapping
from functools import partial as bound
from importlib import import_module
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from distillkit.config.classes import is_trusted
from distillkit.config.renamed import announce, current
from distillkit.config.schema import class_refusal
from distillkit.console.wording import brief
from distillkit.errors import ConfigError, DistillkitError


def build(node: DictConfig, *, key: str, partial: bool = False) -> Any:
    """The object of a node; `partial` leaves parameters to be given at run time.

    The node is resolved once, and what is looked at then is what is set up: our own classes, and
    those that the command line of the node's config trusts. Raises the target's own
    `DistillkitError`, or a `ConfigError` that names the group or a class that may not stand there.
    """
    plain = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    callable_, settings = _parts({str(k): v for k, v in plain.items()}, key, granted(node))
    return bound(callable_, **settings) if partial else _called(callable_, settings, plain, key)


def granted(node: DictConfig) -> tuple[str, ...]:
    """What the config that a node belongs to trusts, which the command line alone says."""
    root = node._get_root()
    trusted = root.get("trusted") if isinstance(root, DictConfig) else None
    return tuple(map(str, trusted)) if isinstance(trusted, ListConfig) else ()


def refusal(node: Mapping[Any, Any] | DictConfig, error: BaseException, *, key: str) -> ConfigError:
    """That the target of a node refuses what it is given, in the target's own words."""
    reason = brief(error)
    message = f"{node['_target_']} refuses its settings ({reason})"
    return ConfigError(f"{key}: {message}; change them, as {key}.NAME=VALUE")


def _built_value(value: Any, key: str, trusted: tuple[str, ...], *, anywhere: bool) -> Any:
    """Plain data with each node inside it that names a class set up."""
    if isinstance(value, list):
        return [
            _built_value(item, f"{key}.{i}", trusted, anywhere=anywhere)
            for i, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    if "_target_" not in value:
        return {
            k: _built_value(v, f"{key}.{k}", trusted, anywhere=anywhere) for k, v in value.items()
        }
    callable_, settings = _parts(value, key, trusted, anywhere=anywhere)
    return _called(callable_, settings, value, key)


def _parts(
    node: Mapping[str, Any], key: str, trusted: tuple[str, ...], *, anywhere: bool = False
) -> tuple[Any, dict[str, Any]]:
    """What a node calls, and the settings that it calls it with."""
    announce(node["_target_"], key)
    target = current(node["_target_"])
    refused = class_refusal(target, key, trusted, anywhere=anywhere)
    if refused:
        raise ConfigError(f"{key}._target_: {refused}")
    anywhere = anywhere or is_trusted(target, trusted)
    module, _, name = target.rpartition(".")
    try:
        callable_ = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}._target_: {target} cannot be had ({brief(error)})") from error
    settings = {
        str(k): _built_value(v, f"{key}.{k}", trusted, anywhere=anywhere)
        for k, v in node.items()
        if k != "_target_"
    }
    return callable_, settings


def _called(callable_: Any, settings: dict[str, Any], node: Mapping[Any, Any], key: str) -> Any:
    try:
        return callable_(**settings)
    except DistillkitError:
        raise
    except Exception as error:  # whatever the class does not like
        raise refusal(node, error, key=key) from error
