"""What a compressed folder's config.json says of how it was made."""

import json
from pathlib import Path
from typing import Any

RECORD = "distillkit_compression"  # a field beside transformers' own, which keep it
GGUF_FILE = "model.gguf"


def record_of(config: Any) -> dict[str, Any]:
    """`format`, `parameters` and `positions` (in tokens) of a compressed model; else nothing."""
    record = getattr(config, RECORD, None)
    return record if isinstance(record, dict) else {}


def computes_in(config: Any) -> str:
    """The type that a trained model is loaded in: float32, unless it was compressed otherwise."""
    return "auto" if record_of(config).get("format") == "bf16" else "float32"


def recorded_format(folder: str) -> str | None:
    """The format of a folder, by its config.json alone; None if that names none."""
    found = _recorded(folder)
    return str(found["format"]) if "format" in found else None


def is_pruned(folder: str) -> bool:
    """Whether a folder's model has only some of the tokens that it was trained with."""
    return "vocabulary" in _recorded(folder)


def _recorded(folder: str) -> dict[str, Any]:
    file = Path(folder) / "config.json"
    if not file.is_file():
        return {}
    return json.loads(file.read_text(encoding="utf-8")).get(RECORD) or {}


def stored_options(folder: str) -> dict[str, str]:
    """How a compressed language model is loaded otherwise than all others are."""
    return {"dtype": "bfloat16"} if recorded_format(folder) == "bf16" else {}
