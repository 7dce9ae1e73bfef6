"""What models cost: parameters, size, and speed in turn on the same batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.metrics import EvaluationSettings
from distillkit.metrics.efficiency import megabytes, seconds_each
from distillkit.models.saved import ForwardFn, Loaded, SavedModel
from distillkit.token_table import TokenTable
from distillkit.training.collation import Collator


@dataclass(frozen=True, slots=True)
class Measured:
    """A model under measurement: the held-out text under its own tokenizer, and how it is asked.

    `others` answer with it, and their answers are averaged, weighted by `shares`.
    """

    saved: SavedModel
    loaded: Loaded
    table: TokenTable
    collate: Collator
    ask: ForwardFn
    later_members: "tuple[Measured, ...]" = ()
    shares: tuple[float, ...] = (1.0,)

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
) -> dict[str, dict[str, Any]]:
    """Parameters, size and speed; tokenising is not counted, padding to the batch's longest is."""
    count = min(len(measured.table) for measured in loaded.values())
    singles = np.linspace(0, count - 1, min(settings.latency_examples, count)).astype(int)
    rng = np.random.default_rng(0)
    size = min(settings.batch_size, count)
    batches = [rng.choice(count, size, replace=False) for _ in range(settings.throughput_batches)]
    seconds = _timed(loaded, [singles[i : i + 1] for i in range(len(singles))], device)
    many = _timed(loaded, batches, device)
    figures: dict[str, dict[str, Any]] = {}
    for i, (row, measured) in enumerate(loaded.items()):
        paths = [Path(member.saved.folder) for member in measured.members]
        tokens = np.array([measured.table.lengths[batch].sum() for batch in batches])
        figures[row] = {
            "parameters": sum(member.loaded.model.num_parameters() for member in measured.members),
            "megabytes": sum(map(megabytes, paths)) if all(p.exists() for p in paths) else None,
            "latency_p50_ms": float(np.percentile(seconds[:, i], 50) * 1e3),
            "latency_p95_ms": float(np.percentile(seconds[:, i], 95) * 1e3),
        }
        if measured.table.loss_mask is None:
            figures[row]["sentences_per_second"] = float(size / np.median(many[:, i]))
        else:
            figures[row]["tokens_per_second"] = float(np.median(tokens / many[:, i]))
    return figures


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
    """Seconds of a forward pass, [batches, models]; the models in turn on each batch."""

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
        return seconds_each(calls, rounds=len(batches))
