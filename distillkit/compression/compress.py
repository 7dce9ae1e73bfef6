"""A student's folder -> a folder of another format, complete: config, tokenizer, card, weights."""

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from distillkit.artifacts.workspace import read_json, write_json
from distillkit.compression.cards import card
from distillkit.compression.formats import Format
from distillkit.compression.student import TrainedStudent
from distillkit.metrics.efficiency import WEIGHTS, megabytes
from distillkit.models.runtimes.record import RECORD

CARD, CONFIG = "README.md", "config.json"
INDEX = ".index.json"  # which shard has which weights


def compress(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Write a student in a format under `out`; the facts of the artifact.

    Raises `ModelError` for a student that cannot be written so; `out` is then worth nothing.
    """
    out.mkdir(parents=True)
    copy_beside(student.folder, out)
    facts = function(form)(form, student, out)
    config = read_json(out / CONFIG)
    record = config.get(RECORD, {}) | {"format": form.name} | facts.pop("record", {})
    write_json(out / CONFIG, config | {RECORD: record})
    (out / CARD).write_text(card(form, config, out), encoding="utf-8")
    return {**facts, "megabytes": megabytes(out)}


def function(form: Format) -> Callable[[Format, TrainedStudent, Path], dict[str, Any]]:
    """What writes a format."""
    module, name = form.write.split(":")
    write: Callable[..., Any] = getattr(import_module(module), name)
    return write


def copy_beside(folder: Path, out: Path) -> None:
    """Copy what lies beside the weights: config, tokenizer, templates, code of the model's own."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name == "additional_chat_templates":
            shutil.copytree(path, out / path.name)
        elif path.is_file() and not is_weights(path) and path.name != CARD:
            shutil.copyfile(path, out / path.name)


def is_weights(path: Path) -> bool:
    """Whether a file holds weights, or says where they are."""
    return path.suffix in WEIGHTS or path.name.endswith(INDEX)
