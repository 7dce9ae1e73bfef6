"""Numbers in text, with a decimal point or a decimal comma."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

from distillkit.errors import DataError
from distillkit.progress import say
from distillkit.wording import brief

Decimal = Literal[".", ","]
_COMMA = re.compile(r"[+-]?[0-9]*,?[0-9]+(?:[eE][+-]?[0-9]+)?|[+-]?[0-9]+,")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
_POINT = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:nan|inf|infinity)", re.I
)


def with_points(
    values: Sequence[Any],
    decimal: Decimal | None,
    *,
    key: str,
    spec: str,
    place: Callable[[int], str],
) -> list[Any]:
    """The numbers of a column spelt with a decimal point; what is no text stays.

    Without `decimal`, a comma is one where all values are such numbers, and not all commas may set
    thousands apart. Raises `DataError` for a text that is no number; `place` says where row 0, 1, …
    stands.
    """
    texts = [value.strip() if isinstance(value, str) else value for value in values]
    spelt = [text for text in texts if isinstance(text, str) and text]
    if decimal is None and any("," in text for text in spelt):
        with_commas = [text for text in spelt if "," in text]
        if all(_THOUSANDS.fullmatch(text) for text in with_commas):
            raise DataError(
                f"{key}: holds {with_commas[0]} in {spec}; if that is a decimal comma set "
                "data.decimal=',', else write the number without a comma"
            )
        if all(_COMMA.fullmatch(text) for text in spelt):
            decimal = ","
            say(f"{key}: decimal commas in {spec}, as {with_commas[0]}")
    form = _COMMA if decimal == "," else _POINT
    for row, text in enumerate(texts):
        if isinstance(text, str) and text and not form.fullmatch(text):
            raise DataError(
                f"{key}: holds {brief(text, 60)!r} in {place(row)} of {spec}, which is no number; "
                "for classes choose task=classification"
            )
    if decimal == ",":
        return [text.replace(",", ".") if isinstance(text, str) else text for text in texts]
    return texts
