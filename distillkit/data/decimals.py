"""Numbers in text, with a decimal point or a decimal comma."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

from distillkit.console.progress import say
from distillkit.console.wording import brief
from distillkit.data.agreement import Agreement
from distillkit.errors import DataError

Decimal = Literal[".", ","]
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_PLAIN = {  # by what stands before the fraction
    ",": re.compile(rf"[+-]?(?:[0-9]+,?[0-9]*|,[0-9]+){_EXPONENT}"),
    ".": re.compile(
        rf"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+){_EXPONENT}|[+-]?(?:nan|inf|infinity)", re.I
    ),
}
_GROUPS = {  # thousands set apart by the other sign
    ",": re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+(?:,[0-9]*)?"),
    ".": re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?"),
}
_NAMES = {",": "comma", ".": "point"}
WHAT = "the real values"


def with_points(
    values: Sequence[Any],
    decimal: Decimal | None,
    *,
    key: str,
    spec: str,
    place: Callable[[int], str],
    agreement: Agreement | None = None,
    at: str = "",
) -> list[Any]:
    """The numbers of a column spelt with a decimal point; what is no text stays.

    Without `decimal` it is the sign that all values show, and that those of the other splits have,
    by the `agreement`; thousands may be set apart by the other sign. Raises `DataError` for a text
    that may be two numbers, or is none; `place` says where row 0, 1, … stands.
    """
    texts = [value.strip() if isinstance(value, str) else value for value in values]
    spelt = [text for text in texts if isinstance(text, str) and text]
    agreement = agreement or Agreement()
    sign: Decimal | None = decimal or _evident(spelt, agreement.form(WHAT), key, spec)
    if sign and decimal is None:
        if sign == "," and agreement.form(WHAT) is None:
            example = next(text for text in spelt if "," in text)
            say(f"{key}: decimal commas in {spec}, as {example}")
        agreement.settle(WHAT, _form(sign), at=at or spec, advice="write all files in one way")
    numbers = []
    for row, text in enumerate(texts):
        if isinstance(text, str) and text:
            if not _fits(text, sign or "."):
                why = "is no number; for classes choose task=classification"
                if decimal is None and _fits(text, _other_sign(sign or ".")):
                    why = "has another decimal sign than the rest; write all in one way"
                raise DataError(
                    f"{key}: holds {brief(text, 60)!r} in {place(row)} of {spec}, which {why}"
                )
            if _GROUPS[sign or "."].fullmatch(text):
                text = text.replace(_other_sign(sign or "."), "")
            text = text.replace(",", ".")
        numbers.append(text)
    return numbers


def _form(sign: Decimal) -> str:
    return f"written with a decimal {_NAMES[sign]}"


def _other_sign(sign: Decimal) -> Decimal:
    return "." if sign == "," else ","


def _fits(text: str, sign: Decimal) -> bool:
    return bool(_PLAIN[sign].fullmatch(text) or _GROUPS[sign].fullmatch(text))


def _evident(spelt: Sequence[str], settled: str | None, key: str, spec: str) -> Decimal | None:
    """The sign before the fraction; None where no number has one.

    Raises `DataError` where only thousands may have the other sign, which nothing else shows: 1,000
    is one or a thousand, and so is 1.000 beside decimal commas.
    """
    if not any(sign in text for text in spelt for sign in _NAMES):
        return None
    signs: tuple[Decimal, ...] = (".", ",")
    fits = {sign: sum(_fits(text, sign) for text in spelt) for sign in signs}
    sign = max(signs, key=lambda s: fits[s])
    if len(set(fits.values())) == 1 and settled is not None:
        sign = next(s for s in signs if settled == _form(s))
    grouped = [
        text for text in spelt if _other_sign(sign) in text and _GROUPS[sign].fullmatch(text)
    ]
    if grouped and not any(sign in text for text in grouped):
        second = _other_sign(sign)
        choice = f"if that is a decimal {_NAMES[second]} set data.decimal='{second}'"
        if settled is not None or any(sign in text for text in spelt):
            choice = f"beside it are decimal {_NAMES[sign]}s; if that is a fraction mend it"
        raise DataError(
            f"{key}: holds {grouped[0]} in {spec}; {choice}, if it is thousands set "
            f"data.decimal='{sign}', or write the number without a {_NAMES[second]}"
        )
    return sign
