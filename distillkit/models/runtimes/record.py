"""What a compressed folder's config.json says of how it was made."""

from typing import Any

RECORD = "distillkit_compression"  # a field beside transformers' own, which keep it


def record_of(config: Any) -> dict[str, Any]:
    """`format`, `parameters` and `positions` (in tokens) of a compressed model; else nothing."""
    found = getattr(config, RECORD, None)
    return found if isinstance(found, dict) else {}


def computes_in(config: Any) -> str:
    """The type that a trained model is loaded in: float32, unless it was compressed otherwise."""
    return "auto" if record_of(config).get("format") == "bf16" else "float32"
