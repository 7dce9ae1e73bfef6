"""PyTorch -> model.onnx, with any number of texts of any length, held against PyTorch's logits."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.compression.formats import Format
from distillkit.compression.onnx_forms import exportable
from distillkit.compression.student import TrainedStudent
from distillkit.errors import ModelError
from distillkit.models.configs import usable_positions
from distillkit.models.modes import evaluating
from distillkit.models.padding import takes_segments
from distillkit.models.runtimes.onnx import FILE, INPUTS, SPANS, new_session

TOLERANCE = 1e-4  # of logits, or of the largest one where that is above 1
LENGTHS = (1, 2, 7, 40)  # of the check, in tokens, and the model's longest
LONGEST = 512
BATCHES = (1, 3)
PER_TOKEN = {"logits": 3, **dict.fromkeys(SPANS, 2)}  # output -> its axes if each token has one
# no counterpart in ONNX of what these do
UNKNOWN = {
    "xlnet": "relative positions",
    "funnel": "pooling of a text's length",
    "longformer": "attention in windows",
}


def write(form: Format, student: TrainedStudent, out: Path) -> dict[str, Any]:
    """Write model.onnx of a student under `out`, and what the file does not show."""
    model = student.load()
    check_architecture(model.config, at=student.at)
    gap = export(model, out, at=student.at, opset=form.settings["opset"])
    record = {"parameters": model.num_parameters(), "positions": usable_positions(model)}
    return {"record": record, "difference": gap}


def export(model: Any, out: Path, *, at: str, opset: int) -> float:
    """Write model.onnx under `out`; the largest difference of its logits from PyTorch's.

    Raises `ModelError`, with nothing written, for an operator that ONNX lacks or where the logits
    differ by more than `TOLERANCE`. `at` names the model, for messages.
    """
    names = input_names(model)
    file = out / FILE
    with _quiet(), evaluating(model), torch.no_grad(), exportable(model):
        _write(model, names, file, opset=opset, at=at)
    try:
        return check(model, file, names, at=at)
    except ModelError:
        file.unlink()
        raise


def check_architecture(config: Any, *, at: str) -> None:
    """Raise `ModelError` for an architecture that is known not to be exported."""
    part = UNKNOWN.get(str(config.model_type))
    if part:
        raise ModelError(
            f"{at}: {config.model_type} models are not exported to ONNX (their {part}); choose "
            "another student, or another format (as bf16)"
        )


def input_names(model: Any) -> list[str]:
    """What the exported model takes; segments only if it tells texts of a pair apart by them."""
    return [item for item in INPUTS if item != INPUTS[2] or takes_segments(model)]


class _Outputs(nn.Module):
    """A model that takes its inputs in order and gives a tuple of its outputs."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(**dict(zip(self.names, inputs, strict=True)))
        return tuple(outputs[name] for name in output_names(outputs))


def output_names(outputs: Any) -> tuple[str, ...]:
    """The names of a model's outputs that are exported."""
    return SPANS if SPANS[0] in outputs else ("logits",)


def _write(model: Any, names: list[str], file: Path, *, opset: int, at: str) -> None:
    inputs = trial_inputs(model, names, batch=2, tokens=7)
    outputs = output_names(model(**inputs))
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    axes = tuple({0: "batch", 1: "length"} for _ in names)
    try:
        program = torch.onnx.export(
            _Outputs(model, names).eval(),
            tuple(inputs.values()),
            dynamo=True,
            input_names=names,
            output_names=list(outputs),
            dynamic_shapes=(axes,),
            opset_version=opset,
            verbose=False,
        )
        assert program is not None
        # where in the code each operator is from: as large as a small model, and full of paths
        ClearMetadataAndDocStringPass()(program.model)
        program.save(file)
    except Exception as error:  # each step of the export raises what it likes
        raise ModelError(f"{at}: cannot be exported to ONNX ({_reason(error)})") from error


def trial_inputs(
    model: Any, names: list[str], *, batch: int, tokens: int, seed: int = 0
) -> dict[str, Tensor]:
    """Random ids of texts [batch, tokens], all but the first padded, each in two segments."""
    generator = torch.Generator().manual_seed(seed)
    config = model.config.get_text_config()
    shape = (batch, tokens)
    ids = torch.randint(0, int(config.vocab_size), shape, generator=generator)
    pad = getattr(config, "pad_token_id", None)
    lengths = torch.randint(1, tokens + 1, (batch, 1), generator=generator)
    lengths[0] = tokens
    places = torch.arange(tokens).expand(shape)
    real = places < lengths
    if isinstance(pad, int) and 0 <= pad < int(config.vocab_size):
        ids = ids.masked_fill(real & (ids == pad), (pad + 1) % int(config.vocab_size))
        ids = ids.masked_fill(~real, pad)
    segments = ((places >= (lengths + 1) // 2) & real).long()
    inputs = dict(zip(INPUTS, (ids, real.long(), segments), strict=True))
    return {name: inputs[name] for name in names}


def check(model: Any, file: Path, names: list[str], *, at: str, positions: int = LONGEST) -> float:
    """The largest difference of a file's logits from PyTorch's, over lengths and batch sizes."""
    session = new_session(file)
    longest = min(usable_positions(model) or positions, positions)
    worst = 0.0
    for tokens in sorted({*(item for item in LENGTHS if item < longest), longest}):
        for batch in BATCHES:
            inputs = trial_inputs(model, names, batch=batch, tokens=tokens, seed=tokens)
            gap = difference(model, session, inputs)
            if not gap <= TOLERANCE:  # NaN, too
                raise ModelError(
                    f"{at}: its ONNX form says something else than PyTorch's: of {batch} texts of "
                    f"{tokens} tokens the logits differ by {gap:.2g} (at most {TOLERANCE:g}); it "
                    "was not kept"
                )
            worst = max(worst, gap)
    return worst


def difference(model: Any, session: Any, inputs: dict[str, Tensor]) -> float:
    """How far a session's outputs are from a model's, over the largest of these (or 1)."""
    with evaluating(model), torch.no_grad():
        outputs = model(**inputs)
    results = session.run(None, {name: item.numpy() for name, item in inputs.items()})
    gaps = []
    for name, values in zip(output_names(outputs), results, strict=True):
        expected = outputs[name].float()
        found = torch.from_numpy(values)
        if expected.dim() == PER_TOKEN[name]:  # what is said of padding means nothing
            real = inputs["attention_mask"].bool()
            expected, found = expected[real], found[real]
        scale = max(1.0, float(expected.abs().max()))
        gaps.append(float((found - expected).abs().max()) / scale)
    return max(gaps)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's reports of its steps off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    before = [item.level for item in loggers]
    for item in loggers:
        item.setLevel(logging.ERROR)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        for item, level in zip(loggers, before, strict=True):
            item.setLevel(level)


def _reason(error: BaseException) -> str:
    """The first line of what an export broke at, that of its first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
