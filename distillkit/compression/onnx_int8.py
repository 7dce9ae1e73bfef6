"""model.onnx with weights in int8, by ONNX Runtime's own quantisation."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distillkit.compression.formats import Format
from distillkit.compression.student import TrainedStudent
from distillkit.errors import ModelError
from distillkit.models.runtimes.onnx import FILE


def write_dynamic(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Quantise the weights once, and activations as they come, by the range of each batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet(), _one_line(student.at):
        quantize_dynamic(
            student.folder / FILE, out / FILE, weight_type=QuantType.QInt8, **form.settings
        )
    return {}


@contextlib.contextmanager
def _one_line(at: str) -> Iterator[None]:
    """Turn what the quantiser raises into a `ModelError`."""
    try:
        yield
    except Exception as error:  # it raises what it likes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{at}: ONNX Runtime cannot quantise it ({reason[:300]})") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice off the terminal."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
