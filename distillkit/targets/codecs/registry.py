"""The codecs by name: each is one class in a file of its own."""

from typing import Any, get_type_hints

from distillkit.console.wording import brief, listed
from distillkit.errors import TargetsError
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.dense import Dense
from distillkit.targets.codecs.last_hidden import LastHidden
from distillkit.targets.codecs.sampled import Sampled
from distillkit.targets.codecs.sampled_logits import SampledLogits
from distillkit.targets.codecs.top_k import TopK
from distillkit.targets.codecs.top_p import TopP
from distillkit.targets.validity import is_of

CODECS: tuple[type[Codec], ...] = (Dense, LastHidden, Sampled, SampledLogits, TopK, TopP)


def from_settings(settings: dict[str, Any]) -> Codec:
    """The codec that a manifest names; raises `TargetsError` for one of a newer distillkit."""
    fields = dict(settings)
    name = fields.pop("name", None)
    known = {codec.name: codec for codec in CODECS}
    if not isinstance(name, str) or name not in known:
        raise TargetsError(
            f"targets.codec = {brief(name, 60)}: not known to this distillkit; it knows "
            f"{', '.join(known)}"
        )
    try:
        codec = known[name](**fields)
    except TypeError:
        raise TargetsError(
            f"targets.codec = {name}: this distillkit does not know it with the settings "
            f"{listed(fields)}; use the distillkit that wrote the store"
        ) from None
    hints = get_type_hints(type(codec), include_extras=True)
    for field, value in fields.items():
        if not is_of(value, hints[field]):
            raise TargetsError(
                f"targets.codec.{field} = {brief(value, 60)}: {name} takes no such value; the "
                "store is damaged"
            )
    return codec
