"""How large a value is, and how large an operation of a template would make one, beforehand."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jinja2.utils import Namespace

MOST_SIZE = 10_000_000  # characters of one value; a member of a list or a mapping counts as 50
MEMBER = 50
MOST_BITS = 10_000  # of an integer
MOST_INDENT = 16  # of JSON: each level of each line has it

_WIDE = re.compile(r"\*|\d{7}")  # a width that is given beside, or of millions
_FIELD = re.compile(r"%[^%a-zA-Z]*[a-zA-Z]|\{[^{}]*\}")
_NESTED = re.compile(r"\{[^{}]*\{")
_Containers: tuple[Any, ...] = (list, tuple, set, frozenset, Mapping)
_Containers += (type({}.keys()), type({}.values()), type({}.items()))


class TemplateLimit(Exception):
    """A chat template that takes or makes too much; its words follow "the chat template"."""


def too_large() -> TemplateLimit:
    """That a value has more than `MOST_SIZE`."""
    return TemplateLimit(f"makes a value of more than {MOST_SIZE:,} characters")


def size_of(value: Any) -> int:
    """The characters that a value has when it is written out, roughly; no more than decides."""
    if isinstance(value, str):
        return len(value)
    total, waiting = 0, [value]
    while waiting and total <= MOST_SIZE:
        part: Any = waiting.pop()
        if isinstance(part, Namespace):
            part = object.__getattribute__(part, "_Namespace__attrs")  # it has no other way in
        if isinstance(part, (str, bytes)):
            total += len(part)
        elif isinstance(part, int):
            total += part.bit_length() // 3
        elif isinstance(part, _Containers):
            if len(part) * MEMBER > MOST_SIZE:
                return len(part) * MEMBER
            waiting.extend(part)
            if isinstance(part, Mapping):
                waiting.extend(part.values())
            total += MEMBER * len(part)
    return total


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Raise `TemplateLimit` where `left operator right` would be too large."""
    if operator == "+":
        grown = isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple))
        _check(size_of(left) + size_of(right) if grown else 0)
    elif operator == "*":
        for number, sequence in ((left, right), (right, left)):
            if isinstance(number, (str, bytes, list, tuple)) and isinstance(sequence, int):
                _check(max(len(number), size_of(number)) * max(0, sequence))
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() + right.bit_length())
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * max(0, right) if abs(left) > 1 else 0)
    elif operator == "%" and isinstance(left, (str, bytes)):
        _check_format(str(left), [right])


def check_call(name: str, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise `TemplateLimit` where the filter or method `name` of `value` would make too much."""
    arguments = [*args, *kwargs.values()]
    numbers = [abs(argument) for argument in arguments if isinstance(argument, int)]
    widths = [*numbers, *(len(argument) for argument in arguments if isinstance(argument, str))]
    widest = max(widths, default=0)
    match name:
        case "center" | "ljust" | "rjust" | "zfill" | "batch" | "slice" | "truncate":
            _check(MEMBER * widest if name in ("batch", "slice") else widest)
        case "round":
            _check_bits(4 * widest)
        case "tojson":
            if widest > MOST_INDENT and kwargs.get("indent", args[1:2]):
                raise TemplateLimit(f"asks for JSON with an indent above {MOST_INDENT}")
        case "indent" | "expandtabs":
            _check(widest * (1 + sum(map(str(value).count, "\n\t"))))
        case "wordwrap":
            _check(widest * (1 + size_of(value) // max(1, min([*numbers, 79]))))
        case "replace":
            _check_replaced(str(value), [*args, *kwargs.values()])
        case "join":
            _check_joined(value, arguments)
        case "translate":
            longest = max(
                (size_of(argument) for m in arguments for argument in _values(m)), default=1
            )
            _check(len(str(value)) * max(1, longest))
        case "format" | "format_map" if isinstance(value, str):
            _check_format(value, arguments)


def _values(mapping: Any) -> Iterable[Any]:
    return mapping.values() if isinstance(mapping, Mapping) else ()


def _check_replaced(text: str, arguments: list[Any]) -> None:
    if len(arguments) > 1:
        _check(len(text) + text.count(str(arguments[0])) * len(str(arguments[1])))


def _check_joined(values: Any, arguments: list[Any]) -> None:
    """Of the values that are joined, and what stands between them."""
    between = max((len(argument) for argument in arguments if isinstance(argument, str)), default=0)
    _check(size_of(values) + between * len(values))


def _check_format(text: str, arguments: list[Any]) -> None:
    """Of a format with its arguments: no width of millions, each field as long as all of them."""
    fields = _FIELD.findall(text)
    if any(_WIDE.search(field) for field in fields) or _NESTED.search(text) or _WIDE.search(text):
        wide = [field for field in fields if _WIDE.search(field)]
        if wide or _NESTED.search(text):
            raise TemplateLimit("writes a value in a width that it computes, or of millions")
    _check(len(text) + len(fields) * sum(map(size_of, arguments)))


def _check(size: int) -> None:
    if size > MOST_SIZE:
        raise too_large()


def _check_bits(bits: int) -> None:
    if bits > MOST_BITS:
        raise TemplateLimit(f"makes a number of more than {MOST_BITS:,} bits")
