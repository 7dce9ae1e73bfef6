"""Stage: a trained student -> the same student in another format."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.artifacts.versions import VERSIONS
from distillkit.compression.compress import compress
from distillkit.compression.formats import Format
from distillkit.compression.student import TrainedStudent
from distillkit.console.progress import say
from distillkit.models.classifiers import load_complete
from distillkit.models.configs import architecture_class
from distillkit.token_table import TokenTable
from distillkit.training.collation import collator
from distillkit.training.learning import MODEL

CALIBRATION_TEXTS = 256


def inputs(form: Format, *, student: str, texts: str | None) -> dict[str, Any]:
    """What decides a compressed student; `texts` is the identity of those that calibrate it.

    The packages that write it enter by version: another one may write other bytes.
    """
    return {
        "version": VERSIONS["compressed"],
        "format": form.name,
        "format_version": form.version,
        "settings": form.settings,
        "student": student,
        **({"texts": [texts, CALIBRATION_TEXTS]} if texts else {}),
        "packages": {name: version(name) for name in form.packages},
    }


def compress_student(form: Format, student: TrainedStudent, *, out: Path) -> dict[str, Any]:
    """Write a student in a format under `out`; the artifact's facts."""
    say(f"compression: {form.name}")
    return compress(form, student, out / MODEL)


def load(folder: str, *, key: str, trust_remote_code: bool) -> Any:
    """The trained model of a folder, as its config names it, in float32 and eval mode."""
    auto_class = architecture_class(folder, key=key, trust_remote_code=trust_remote_code)
    model = load_complete(
        folder,
        key=key,
        auto_class=auto_class,
        trust_remote_code=trust_remote_code,
        dtype="float32",
    )
    return model.eval()


def calibration_texts(table: TokenTable, tokenizer: Any) -> Iterator[dict[str, Tensor]]:
    """The inputs of examples spread over a table, one by one: every token is a real one."""
    collate = collator(table, tokenizer, torch.device("cpu"))
    count = min(CALIBRATION_TEXTS, len(table))
    for index in np.linspace(0, len(table) - 1, count).astype(int):
        yield dict(collate(np.array([index])).inputs)
