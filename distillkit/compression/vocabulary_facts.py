"""What pruning a vocabulary did, in words; imports nothing heavy."""

from collections.abc import Mapping
from typing import Any


def describe(facts: Mapping[str, Any]) -> str:
    """In words, what pruning a vocabulary did."""
    text = (
        f"{facts['tokens']:,} of {facts['of']:,} tokens; of the held-out text's tokens "
        f"{facts['spelt_otherwise']:.2%} are spelt otherwise"
    )
    if facts["unknown"] is None:
        return f"{text}, none is unknown"
    return f"{text}, {facts['unknown']:.2%} are unknown (before: {facts['unknown_before']:.2%})"
