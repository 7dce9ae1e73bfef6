"""How messages name things: short lists, nearest names first, others' words cut, sizes."""

import difflib
from collections.abc import Iterable

MOST_NAMES, MOST_CHARACTERS = 10, 200


def brief(text: object, most: int = MOST_CHARACTERS) -> str:
    """Text on one line, its middle left out where it is longer than `most` characters."""
    line = " ".join(str(text).split())
    if len(line) <= most:
        return line
    ending = most // 3
    return f"{line[: most - ending - 3]} … {line[-ending:]}"


def first_line(error: BaseException) -> str:
    """The beginning of what an error says, or its name."""
    text = str(error).strip().split("\n")[0]
    return brief(text) if text else type(error).__name__


def listed(names: Iterable[object], *, most: int = MOST_NAMES, near: str = "") -> str:
    """ "a, b, c … 44 in all": at most so many names, each cut, those like `near` first."""
    every = [brief(name, 60) for name in dict.fromkeys(names)]
    if len(every) <= most:
        return ", ".join(every)
    if near:
        every.sort(key=lambda name: -_likeness(near, name))
    return f"{', '.join(every[:most])} … {len(every):,} in all"


def nearest(word: str, names: Iterable[str], *, how: str = "", always: bool = True) -> str:
    """ "did you mean …?", or the names there are; `how` says what lists them all.

    Unless `always`, it is said only where no name is near.
    """
    every = list(dict.fromkeys(map(str, names)))
    close = closest(word, every)
    if close:
        return f"did you mean {close}?" + (f" ({how})" if how and always else "")
    return f"it takes {listed(every, near=word)}" + (f" ({how})" if how else "")


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
