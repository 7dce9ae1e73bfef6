"""What models cost: parameters, size, and speed in turn on the same batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.evaluation.computation import body_parameters, megaflops, peak_bytes
from distillkit.metrics import EvaluationSettings
from distillkit.metrics.efficiency import megabytes, seconds_each
from distillkit.models.folders import place
from distillkit.models.saved import ForwardFn, Loaded, SavedModel
from distillkit.token_table import TokenTable
from distillkit.training.collation import Collator

WARM_UP = 3  # rounds before those that count
WORK = {"peak_megabytes": "memory", "megaflops": "operations"}  # column -> what it is of
SAME_TEXT = 50  # forward passes of one text, whose times should be alike


@dataclass(frozen=True, slots=True)
class Measured:
    """A model under measurement: the held-out text under its own tokenizer, and how it is asked.

    `others` answer with it, and their answers are averaged, weighted by `shares`. Where `table` is
    that of all in other tokens, each position of theirs is `counts` [positions] of its own.
    """

    saved: SavedModel
    loaded: Loaded
    table: TokenTable
    collate: Collator
    forward_fn: ForwardFn
    later_members: "tuple[Measured, ...]" = ()
    shares: tuple[float, ...] = (1.0,)
    counts: np.ndarray | None = None

    @property
    def members(self) -> "tuple[Measured, ...]":
        """This model and those that answer with it."""
        return (self, *self.later_members)

    def move(self, device: torch.device) -> None:
        """Put the model on a device, unless it was placed or quantised when it was loaded."""
        for member in self.members:
            options = member.saved.options or {}
            if not (options.get("device_map") or options.get("quantization")):
                member.loaded.model.to(device)


def costs(
    loaded: Mapping[str, Measured], settings: EvaluationSettings, device: torch.device
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """(row -> parameters, size, memory, work and speed; how they were timed).

    Tokenising is not counted, padding to the batch's longest is. All models are timed in turn, and
    before that `WARM_UP` times each. How far times of one and the same text are apart (`spread`:
    the middle 80 % by their median, and of the models the median one) says whether the machine had
    other work.
    """
    count = min(len(measured.table) for measured in loaded.values())
    singles = np.linspace(0, count - 1, min(settings.latency_examples, count)).astype(int)
    rng = np.random.default_rng(0)
    size = min(settings.batch_size, count)
    batches = [rng.choice(count, size, replace=False) for _ in range(settings.throughput_batches)]
    seconds = _timed(loaded, [singles[i : i + 1] for i in range(len(singles))], device)
    many = _timed(loaded, batches, device)
    lengths = next(iter(loaded.values())).table.lengths[singles]
    usual = singles[[np.argsort(lengths, kind="stable")[len(lengths) // 2]]]
    again = _timed(loaded, [usual] * SAME_TEXT, device)
    figures: dict[str, dict[str, Any]] = {}
    for i, (row, measured) in enumerate(loaded.items()):
        tokens = np.array([measured.table.lengths[batch].sum() for batch in batches])
        figures[row] = {**_size(measured), **_work(measured, usual), **_percentiles(seconds[:, i])}
        if measured.table.loss_mask is None:
            figures[row]["sentences_per_second"] = float(size / np.median(many[:, i]))
        else:
            figures[row]["tokens_per_second"] = float(np.median(tokens / many[:, i]))
    low, middle, high = np.percentile(again, [10, 50, 90], axis=0)
    timing = {
        "texts": len(singles),
        "warm_up": WARM_UP,
        "tokens": [int(lengths.min()), int(np.median(lengths)), int(lengths.max())],
        "spread": float(np.median((high - low) / middle)),
    }
    return figures, timing


def runtimes(loaded: Mapping[str, Measured]) -> dict[str, str]:
    """Row -> what ran it, of those that are no plain model of PyTorch."""
    return {row: name for row, measured in loaded.items() if (name := _runtime(measured))}


def unmeasured(
    loaded: Mapping[str, Measured], figures: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Row -> why its memory, or its operations, are blank; of those that lack one."""
    reasons = {}
    for row, measured in loaded.items():
        missing = [what for column, what in WORK.items() if column not in figures[row]]
        if missing:
            is_pytorch = all(_holds_weights(member.loaded.model) for member in measured.members)
            who = "PyTorch, of weights in this form," if is_pytorch else _runtime(measured)
            reasons[row] = f"{who or 'its runtime'} tells no {' and no '.join(missing)}"
    return reasons


def _runtime(measured: Measured) -> str | None:
    own = getattr(measured.loaded.model, "runtime", None)
    if own is None and measured.saved.loader is None and place(measured.saved.folder)[1]:
        return "PyTorch with the weights of its GGUF file"
    return None if own is None else str(own)


def _size(measured: Measured) -> dict[str, Any]:
    paths = [Path(member.saved.folder) for member in measured.members]
    models = [member.loaded.model for member in measured.members]
    size = {
        "parameters": sum(model.num_parameters() for model in models),
        "megabytes": sum(map(megabytes, paths)) if all(p.exists() for p in paths) else None,
    }
    if all(_holds_weights(it) or hasattr(it, "body_parameters") for it in models):
        size["body_parameters"] = sum(map(body_parameters, models))
    return size


def _holds_weights(model: Any) -> bool:
    """Whether a model's weights are PyTorch's, to be looked at; those of a runtime are not."""
    is_module = isinstance(model, torch.nn.Module)
    return is_module and any(it.numel() for it in model.parameters())


def _work(measured: Measured, usual: np.ndarray) -> dict[str, float]:
    """Memory and operations of a text of the median length; nothing where they cannot be told.

    Of other runtimes than PyTorch's, and of weights that are held in another form, they are not;
    but a runtime may tell its memory.
    """
    peak, flops = 0.0, 0.0
    for member in measured.members:
        model = member.loaded.model
        if hasattr(model, "peak_bytes") and not measured.later_members:
            own = model.peak_bytes(member.collate(usual).inputs) / 1e6
            return {"peak_megabytes": own} if own else {}  # not every system tells
        if not _holds_weights(model):
            return {}
        inputs = member.collate(usual).inputs
        try:
            flops += megaflops(model, inputs)
            peak += peak_bytes(model, inputs) / 1e6
        except (RuntimeError, NotImplementedError, TypeError, AttributeError):
            return {}
    return {"peak_megabytes": peak, "megaflops": flops}


def _percentiles(seconds: np.ndarray) -> dict[str, float]:
    return {f"latency_p{p}_ms": float(np.percentile(seconds, p) * 1e3) for p in (50, 95, 99)}


def ratios(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How much smaller and faster the student is than its teacher."""
    student, teacher = rows.get("student"), rows.get("teacher")
    if student is None or teacher is None:
        return {}
    speed = "sentences_per_second" if "sentences_per_second" in student else "tokens_per_second"
    return {
        "smaller": teacher["parameters"] / student["parameters"],
        "faster": teacher["latency_p50_ms"] / student["latency_p50_ms"],
        "faster_batched": student[speed] / teacher[speed],
    }


def _timed(
    loaded: Mapping[str, Measured], batches: Sequence[np.ndarray], device: torch.device
) -> np.ndarray:
    """Seconds of a forward pass, [batches, models]; the models in turn on each batch.

    Of a batch of one text the second pass is timed.
    """

    def ready(measured: Measured) -> list[list[tuple[Any, Any]]]:
        """(model, what it is given) of all that answer, batch by batch."""
        return [[(m.loaded.model, m.collate(b).inputs) for m in measured.members] for b in batches]

    def call(inputs_of_row: list[tuple[Any, Any]]) -> None:
        for model, inputs in inputs_of_row:
            model(**inputs)
        if device.type == "cuda":
            torch.cuda.synchronize()

    members = [ready(measured) for measured in loaded.values()]
    calls = [
        lambda i, inputs_of_row=inputs_of_row: call(inputs_of_row[i]) for inputs_of_row in members
    ]
    with torch.inference_mode():
        single = len(batches[0]) == 1
        return seconds_each(calls, rounds=len(batches), warm_up=WARM_UP, is_twice=single)
