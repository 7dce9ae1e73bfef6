"""Lists and mappings as Python prints them, read as data: nothing runs, and none is too large."""

import ast
from typing import Any

MOST_CHARACTERS = 1_000_000  # a tree of Python takes a hundred times the memory of its text


def literal(text: str) -> Any:
    """The value of a literal of Python; raises `ValueError` for what is none, or too large."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"longer than {MOST_CHARACTERS:,} characters")
    try:
        return ast.literal_eval(text)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
