"""Stretches of words out of their tags: B-PER, I-PER, O and their kin."""

import re
from collections.abc import Sequence

TAG = re.compile(r"O|[BIES]-.+")


def are_entities(names: Sequence[str]) -> bool:
    """Whether tags are those of entities (IOB1, IOB2, IOBES)."""
    return any(name != "O" for name in names) and all(TAG.fullmatch(name) for name in names)


def entity_spans(tags: Sequence[str | None]) -> list[tuple[str, int, int]]:
    """(kind, first word, the one after the last) of each entity; a word without a tag has none.

    As `conlleval` has it (Tjong Kim Sang, De Meulder 2003): one begins at B- and S-, and at I- and
    E- after another kind, none, or an end.
    """
    spans: list[tuple[str, int, int]] = []
    mark, kind, begin = "O", "", 0
    for place, tag in enumerate([*tags, "O"]):
        current, _, name = (tag or "O").partition("-")
        goes_on = current in "IE" and mark in "BI" and name == kind
        if mark != "O" and not goes_on:
            spans.append((kind, begin, place))
        if current != "O" and not goes_on:
            begin = place
        mark, kind = current, name
    return spans
