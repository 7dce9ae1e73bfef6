"""The codecs by name: each is one class in a file of its own, which is found here by itself."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, get_type_hints

import distillkit.targets.codecs as codecs
from distillkit.artifacts.code_identity import code_identity, full_name
from distillkit.console.progress import warn
from distillkit.console.wording import brief, listed
from distillkit.errors import TargetsError
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.validity import is_of


def _codecs() -> Iterator[type[Codec]]:
    """The codecs of this package's files, in the order of their names."""
    for name in sorted(module.name for module in iter_modules(codecs.__path__)):
        if name != __name__.rpartition(".")[2]:
            module = import_module(f"{codecs.__name__}.{name}")
            kinds = [value for value in vars(module).values() if isinstance(value, type)]
            own = [
                value
                for value in kinds
                if value.__module__ == module.__name__ and issubclass(value, Codec)
            ]
            yield from (value for value in own if hasattr(value, "name"))


CODECS = tuple(_codecs())
WHOLE = tuple(codec.name for codec in CODECS if codec.keeps_all)

# classes from outside that the command line trusts, by their full name: a store's record alone
# never has a class imported
_trusted: dict[str, type[Codec]] = {}


def register(kind: type[Codec]) -> None:
    """Let stores of a trusted class from outside be read in this process."""
    if kind not in CODECS:
        _trusted[full_name(kind)] = kind


def record_of(codec: Codec) -> dict[str, Any]:
    """What a manifest has of a codec: its settings, and the class and files of one from outside."""
    return codec.settings() | code_identity(codec)


def from_settings(settings: dict[str, Any]) -> Codec:
    """The codec that a manifest names; raises `TargetsError` for one that is not known here."""
    fields = dict(settings)
    made_by, sources = fields.pop("class", None), fields.pop("sources", None)
    name = fields.pop("name", None)
    kind = _class_of(name, made_by)
    if made_by is not None and sources != code_identity(kind)["sources"]:
        warn(
            f"targets.codec = {name}: the file of {made_by} is not the one that wrote this store; "
            "what is read may not be what was kept"
        )
    try:
        codec = kind(**fields)
    except TypeError:
        raise TargetsError(
            f"targets.codec = {name}: this distillkit does not know it with the settings "
            f"{listed(fields)}; use the distillkit that wrote the store"
        ) from None
    if made_by is None:
        _check_values(codec, fields)
    return codec


def _class_of(name: Any, made_by: Any) -> type[Codec]:
    codecs_by_name = {codec.name: codec for codec in CODECS}
    if made_by is not None:
        if not isinstance(made_by, str) or made_by not in _trusted:
            raise TargetsError(
                f"targets.codec = {brief(name, 60)}: kept by {brief(made_by, 80)}, a class from "
                "outside distillkit; a run reads it whose config names it as "
                "targets.codec._target_, with 'trusted=[…]' on the command line, and "
                "`distillkit targets` with 'trusted=[…]' alone"
            )
        return _trusted[made_by]
    if not isinstance(name, str) or name not in codecs_by_name:
        raise TargetsError(
            f"targets.codec = {brief(name, 60)}: not known to this distillkit; it knows "
            f"{', '.join(codecs_by_name)}"
        )
    return codecs_by_name[name]


def _check_values(codec: Codec, fields: dict[str, Any]) -> None:
    hints = get_type_hints(type(codec), include_extras=True)
    for field, value in fields.items():
        if not is_of(value, hints[field]):
            raise TargetsError(
                f"targets.codec.{field} = {brief(value, 60)}: {codec.name} takes no such value; "
                "the store is damaged"
            )
