"""model.onnx with weights in int8, by ONNX Runtime's own quantisation."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.compression.formats import Format
from distillkit.compression.student import TrainedStudent
from distillkit.errors import ModelError
from distillkit.models.runtimes.onnx import FILE, new_session


def write_dynamic(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Quantise the weights once, and activations as they come, by the range of each batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet(), _one_line(student.at):
        quantize_dynamic(
            student.folder / FILE, out / FILE, weight_type=QuantType.QInt8, **form.settings
        )
    return {}


def write_static(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Quantise weights and activations once; the ranges are those of calibration texts."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    settings = dict(form.settings)
    method = CalibrationMethod[settings.pop("calibration")]
    inferred = out / f".{FILE}"
    with _quiet(), _one_line(student.at):
        quant_pre_process(student.folder / FILE, inferred, skip_symbolic_shape=True)
        quantize_static(
            inferred,
            out / FILE,
            _Calibration(inferred, student.texts()),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,  # U8S8: what processors multiply in one instruction
            calibrate_method=method,
            **settings,
        )
    inferred.unlink()
    return {}


class _Calibration:
    """Texts in the form that ONNX Runtime's calibration reads: a dict of arrays, then None."""

    def __init__(self, file: Path, texts: Iterator[dict[str, Tensor]]) -> None:
        self.texts = texts
        self.names = [value.name for value in new_session(file).get_inputs()]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The inputs of the next text; None after the last."""
        text = next(self.texts, None)
        if text is None:
            return None
        zeros = torch.zeros_like(text["input_ids"])
        return {name: text.get(name, zeros).long().numpy() for name in self.names}


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
