"""Which class outside the project decides an artifact: its full name and the content of its files.

Classes of distillkit are covered by the version in a stage's fingerprint, those of torch by none.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from distillkit.artifacts.digests import file_sha256

OURS = ("distillkit", "torch")  # packages whose classes are named by what a config calls them
_WITHOUT_SOURCE = ("builtins", "abc", "typing", "collections", "functools")


def code_identity(instance: Any) -> dict[str, Any]:
    """{"class": full name, "sources": sha256 of its file and of its bases' files}; {} for ours.

    `made` is a class, a function, or an object of a class. What cannot be read has no digest: the
    name alone stands for it.
    """
    kind = instance if isinstance(instance, type) or inspect.isroutine(instance) else type(instance)
    if _is_ours(kind):
        return {}
    classes = inspect.getmro(kind) if isinstance(kind, type) else (kind,)
    files = (
        _source(kind_of_base.__module__) for kind_of_base in classes if not _is_ours(kind_of_base)
    )
    return {"class": full_name(kind), "sources": [digest for digest in files if digest]}


def full_name(kind: Any) -> str:
    """package.module.Name of a class or function."""
    return f"{kind.__module__}.{kind.__qualname__}"


def code_of_node(node: Any) -> dict[str, Any]:
    """The same of every class that a config's node names: `_target_` -> identity; {} for ours."""
    codes = {}
    for target in _targets(node):
        if target.partition(".")[0] in OURS:
            continue
        module, _, name = target.rpartition(".")
        identity = code_identity(getattr(import_module(module), name))
        if identity:
            codes[target] = identity
    return codes


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _targets(value)


def _is_ours(kind: Any) -> bool:
    return kind.__module__.partition(".")[0] in (*OURS, *_WITHOUT_SOURCE)


@cache
def _source(module: str) -> str | None:
    try:
        file = inspect.getsourcefile(import_module(module))
        return file_sha256(Path(file)) if file else None
    except (ImportError, OSError, TypeError):
        return None
