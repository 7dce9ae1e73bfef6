"""How messages name things: short lists, nearest names first, others' words cut, sizes."""

import difflib
from collections.abc import Iterable

MOST_NAMES, MOST_CHARACTERS = 10, 200


def brief(text: object, limit: int = MOST_CHARACTERS) -> str:
    """Text on one line, its middle left out where it is longer than `limit` characters."""
    line = " ".join(str(text).split())
    if len(line) <= limit:
        return line
    ending = limit // 3
    return f"{line[: limit - ending - 3]} … {line[-ending:]}"


def first_line(error: BaseException) -> str:
    """The beginning of what an error says, or its name."""
    text = str(error).strip().split("\n")[0]
    return brief(text) if text else type(error).__name__


def listed(names: Iterable[object], *, limit: int = MOST_NAMES, near: str = "") -> str:
    """ "a, b, c … 44 in all": at most so many names, each cut, those like `near` first."""
    unique_names = [brief(name, 60) for name in dict.fromkeys(names)]
    if len(unique_names) <= limit:
        return ", ".join(unique_names)
    if near:
        unique_names.sort(key=lambda name: -_likeness(near, name))
    return f"{', '.join(unique_names[:limit])} … {len(unique_names):,} in all"


def nearest(word: str, names: Iterable[str], *, hint: str = "", always: bool = True) -> str:
    """ "did you mean …?", or the names there are; `hint` says what lists them all.

    Unless `always`, it is said only where no name is near.
    """
    unique_names = list(dict.fromkeys(map(str, names)))
    close = closest(word, unique_names)
    if close:
        return f"did you mean {close}?" + (f" ({hint})" if hint and always else "")
    return f"it takes {listed(unique_names, near=word)}" + (f" ({hint})" if hint else "")


def closest(word: str, names: Iterable[str]) -> str:
    """The name that is most like `word`, if one is like it, whatever their case; else empty."""
    folded = {name.casefold(): name for name in reversed(list(names))}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def size(number: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:,.0f} {unit}" if number >= 100 or unit == "B" else f"{number:,.1f} {unit}"


def _likeness(word: str, name: str) -> float:
    return difflib.SequenceMatcher(None, word.casefold(), name.casefold()).ratio()
