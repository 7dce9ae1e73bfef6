"""Matrices in int8 by torchao: a folder of transformers, for PyTorch."""

from pathlib import Path
from typing import Any

from distillkit.compression.formats import Format
from distillkit.compression.student import TrainedStudent
from distillkit.models.runtimes.torchao import save_int8


def write(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Write the student with its matrices in int8; activations stay in float32."""
    count = save_int8(student.folder, out, key=student.at)
    return {"record": {"parameters": count}}
