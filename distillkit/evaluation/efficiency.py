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
    others: "tuple[Measured, ...]" = ()
    shares: tuple[float, ...] = (1.0,)

    @property
    def every(self) -> "tuple[Measured, ...]":
        """This model and those that answer with it."""
        return (self, *self.others)

    def move(self, device: torch.device) -> None:
        """Put the model on a device, unless it was placed or quantised when it was loaded."""
        for it in self.every:
            options = it.saved.options or {}
            if not (options.get("device_map") or options.get("quantization")):
                it.loaded.model.to(device)


def costs(
    loaded: Mapping[str, Measured], settings: EvaluationSettings, device: torch.device
) -> dict[str, dict[str, Any]]:
    """Parameters, size and speed; tokenising is not counted, padding to the batch's longest is."""
    count = min(len(it.table) for it in loaded.values())
    singles = np.linspace(0, count - 1, min(settings.latency_examples, count)).astype(int)
    rng = np.random.default_rng(0)
    size = min(settings.batch_size, count)
    batches = [rng.choice(count, size, replace=False) for _ in range(settings.throughput_batches)]
    one = _timed(loaded, [singles[i : i + 1] for i in range(len(singles))], device)
    many = _timed(loaded, batches, device)
    found: dict[str, dict[str, Any]] = {}
    for i, (row, it) in enumerate(loaded.items()):
        paths = [Path(member.saved.folder) for member in it.every]
        tokens = np.array([it.table.lengths[batch].sum() for batch in batches])
        found[row] = {
            "parameters": sum(member.loaded.model.num_parameters() for member in it.every),
            "megabytes": sum(map(megabytes, paths)) if all(p.exists() for p in paths) else None,
            "latency_p50_ms": float(np.percentile(one[:, i], 50) * 1e3),
            "latency_p95_ms": float(np.percentile(one[:, i], 95) * 1e3),
        }
        if it.table.loss_mask is None:
            found[row]["sentences_per_second"] = float(size / np.median(many[:, i]))
        else:
            found[row]["tokens_per_second"] = float(np.median(tokens / many[:, i]))
    return found


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

    def ready(it: Measured) -> list[list[tuple[Any, Any]]]:
        """(model, what it is given) of all that answer, batch by batch."""
        return [[(m.loaded.model, m.collate(b).inputs) for m in it.every] for b in batches]

    def call(asked: list[tuple[Any, Any]]) -> None:
        for model, inputs in asked:
            model(**inputs)
        if device.type == "cuda":
            torch.cuda.synchronize()

    every = [ready(it) for it in loaded.values()]
    calls = [lambda i, asked=asked: call(asked[i]) for asked in every]
    with torch.inference_mode():
        return seconds_each(calls, rounds=len(batches))
