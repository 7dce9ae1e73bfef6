"""The versions of what artifacts hold; what has an earlier one, no run uses any more.

A version is a part of the inputs that name an artifact, and is raised where the same other inputs
make another content.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

VERSIONS = {
    "data of documents": 6,
    "data of conversations": 5,
    "data": 10,  # labelled for a task
    "augmented": 1,
    "transfer": 2,
    "tokens": 5,
    "teacher": 4,
    "answers": 3,
    "targets": 3,
    "initial student": 2,
    "student": 4,
    "compressed": 2,
    "evaluation": 9,
}


def is_earlier(kind: str, inputs: Mapping[str, Any]) -> bool:
    """Whether inputs of an artifact are those of an earlier version of distillkit."""
    current = VERSIONS.get(_variant(kind, inputs))
    version = inputs.get("version", 0)
    return current is not None and isinstance(version, int) and version < current


def _variant(kind: str, inputs: Mapping[str, Any]) -> str:
    if kind == "data" and "task" not in inputs:
        return f"data of {'documents' if inputs.get('kind') == 'Documents' else 'conversations'}"
    if kind == "quantized":
        return "student"
    return "initial student" if kind == "student" and inputs.get("untrained") else kind


def with_what_needs_them(
    digests: Iterable[str], needs: Mapping[str, Collection[str]]
) -> frozenset[str]:
    """Some artifacts and all that is made of them, by digests: `needs` has those each one needs."""
    digests_found, has_more = frozenset(digests), True
    while has_more:
        above = {
            digest for digest, below in needs.items() if not digests_found.isdisjoint(below)
        } - digests_found
        digests_found |= above
        has_more = bool(above)
    return digests_found
