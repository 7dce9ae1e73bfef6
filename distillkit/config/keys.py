"""Dotted keys of configs: whether they are there, how deep, and all that there are."""

from difflib import get_close_matches
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

LISTED_BY = {
    "recipe": "`distillkit recipes` lists them",
    "group": "`distillkit train --help` lists them",
    "key": "`distillkit train --cfg job` shows all",
}
SEVERAL = {"path": "teachers"}  # what a choice of a group calls several of what another has one of


def deepest(cfg: DictConfig, key: str) -> tuple[str, str]:
    """The deepest part of a key that exists, and the first name in it that does not."""
    parts = key.split(".")
    depth = 0
    while depth < len(parts) - 1 and exists(cfg, ".".join(parts[: depth + 1])):
        depth += 1
    return ".".join(parts[:depth]), parts[depth]


def sibling(name: str, names: list[str]) -> str | None:
    """The one of a group's names that is surely meant by another, if any."""
    several = SEVERAL.get(name)
    if several in names:
        return several
    return next(iter(get_close_matches(name, names, n=1, cutoff=0.8)), None)


def exists(cfg: DictConfig, key: str) -> bool:
    """Whether a config has a dotted key; one whose value is yet missing counts."""
    node: Any = cfg
    for part in key.split("."):
        # keys(): `in` denies a key whose value is yet missing (???)
        if isinstance(node, DictConfig) and part in node.keys():  # noqa: SIM118
            node = node._get_node(part)
        elif isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
            node = node._get_node(int(part))
        else:
            return False
    return True


def every_key(cfg: DictConfig, prefix: str = "") -> list[str]:
    """All dotted keys of a config, without what names classes."""
    keys = []
    for key in cfg:  # a number or a truth, too
        name, node = str(key), cfg._get_node(key)
        keys.append(f"{prefix}{name}")
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            keys += every_key(node, f"{prefix}{name}.")
    return [key for key in keys if "_target_" not in key]


def holds(record: Any, path: list[str]) -> bool:
    """Whether nested plain data has something at a path."""
    for part in path:
        if not isinstance(record, dict) or part not in record:
            return False
        record = record[part]
    return True


def as_written(cfg: DictConfig, key: str) -> Any:
    """The value at a dotted key of a config, its references not resolved."""
    record: Any = OmegaConf.to_container(cfg, resolve=False)
    for part in key.split("."):
        if isinstance(record, dict):
            record = {str(name): value for name, value in record.items()}.get(part)
        elif isinstance(record, list) and part.isdigit() and int(part) < len(record):
            record = record[int(part)]
        else:
            break  # a reference stands for all that is below it
    return record
