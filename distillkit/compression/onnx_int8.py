"""model.onnx with weights in int8, by ONNX Runtime's own quantisation."""

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.compression.fake_quantization import fake_quantized
from distillkit.compression.formats import Format
from distillkit.compression.onnx_export import difference, input_names
from distillkit.compression.student import TrainedStudent
from distillkit.errors import ModelError
from distillkit.models.runtimes.onnx import FILE, new_session

# Of the largest logit (or of 1): values next to the border of two steps of 8 bits fall to either
# side by how sums are rounded, and later layers pass that on
TOLERANCE = 0.05
COMPARED = 16  # texts


def write_dynamic(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Quantise the weights once, and activations as they come, by the range of each batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet(), _one_line(student.at):
        quantize_dynamic(
            student.folder / FILE, out / FILE, weight_type=QuantType.QInt8, **form.settings
        )
    return {}


def write_distilled(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Quantise a student that was trained in this arithmetic; how far its logits are from those.

    Raises `ModelError` where the runtime computes something else than what was trained.
    """
    facts = write_dynamic(form, student, out)
    model, session = student.load(), new_session(out / FILE)
    names, gaps = input_names(model), []
    with torch.no_grad(), fake_quantized(model):
        for text in islice(student.texts(), COMPARED):
            zeros = torch.zeros_like(text["input_ids"])
            gaps.append(difference(model, session, {n: text.get(n, zeros) for n in names}))
    if not max(gaps) <= TOLERANCE:  # NaN, too
        raise ModelError(
            f"{student.at}: ONNX Runtime computes it otherwise than it was trained: logits differ "
            f"by {max(gaps):.2g} (at most {TOLERANCE:g}); choose onnx_int8"
        )
    return facts | {"difference": max(gaps)}


def write_static(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Quantise weights and activations once; the ranges are those of calibration texts."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    settings = dict(form.settings)
    method = CalibrationMethod[settings.pop("calibration")]
    inferred = out / f".{FILE}"
    with _quiet(), _one_line(student.at):
        quant_pre_process(student.folder / FILE, inferred, skip_symbolic_shape=True)
        texts = _Calibration(inferred, student.texts())
        quantize_static(
            inferred,
            out / FILE,
            texts,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,  # U8S8: what processors multiply in one instruction
            calibrate_method=method,
            # histograms are of arrays of one shape, and so of one text at a time
            extra_options={} if method.name == "MinMax" else {"CalibStridedMinMax": 1},
            **settings,
        )
    inferred.unlink()
    return {}


class _Calibration:
    """Texts in the form that ONNX Runtime's calibration reads: a dict of arrays, then None."""

    def __init__(self, file: Path, texts: Iterable[dict[str, Tensor]]) -> None:
        self.texts = [*texts]
        self.names = [value.name for value in new_session(file).get_inputs()]
        self.set_range(0, len(self.texts))

    def __len__(self) -> int:
        return len(self.texts)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Begin again, with these texts alone."""
        self._next = iter(self.texts[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The inputs of the next text; None after the last."""
        text = next(self._next, None)
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
    """Keep the quantiser's advice, and its account of its steps, off the terminal."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(before)
