"""How tags say where an entity begins and ends."""

import re
from collections.abc import Iterable, Sequence

SCHEMES = {
    "IOB1": "I-X where an entity begins (IOB1)",
    "IOB2": "B-X where an entity begins (IOB2)",
    "IOBES": "E-X and S-X where an entity ends (IOBES)",
}
_TAG = re.compile(r"O|([BIES])-(.+)")


def scheme(sentences: Iterable[Sequence[str]]) -> str | None:
    """The scheme that tags show, by most of them; None for other tags, and without entities.

    In IOB1 an entity begins with I-X unless it stands right behind another X.
    """
    begins = {"B": 0, "I": 0}
    ends = 0
    for tags in sentences:
        before = None
        for tag in tags:
            match = _TAG.fullmatch(tag)
            if match is None:
                return None
            sign, name = match.groups()
            ends += sign in ("E", "S")
            if sign in begins and name != before:
                begins[sign] += 1
            before = name
    if ends:
        return "IOBES"
    if not any(begins.values()):
        return None
    return "IOB2" if begins["B"] >= begins["I"] else "IOB1"
