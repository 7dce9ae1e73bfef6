"""One optimizer step of a tiny BERT on a listed loss: its loss and the gradients it leaves.

Run as a module by each process of a distributed step, it writes those of every case:
`python -m tests.contract.steps BODY OUT`.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.models.classifiers import load_classifier
from distillkit.token_table import TokenTable
from distillkit.training.batch_source import PlannedBatches
from distillkit.training.batching import PaddedPlan
from distillkit.training.collation import Collator
from distillkit.training.distillation import Distillation
from distillkit.training.distributed import accelerator_for
from distillkit.training.gradients import accumulate
from distillkit.training.job import TrainingJob
from distillkit.training.objective import ModelWithObjective
from distillkit.training.settings import TrainSettings
from distillkit.types import Batch, LabelSpace, SoftTargets
from tests.contract.listing import LOSSES, Loss
from tests.processes import save_steps

EXAMPLES = 8
CPU = torch.device("cpu")
Step = tuple[float, dict[str, Tensor]]

# name -> (how many examples the step has, micro_batch_size): what processes share out unevenly
CUTS: dict[str, tuple[int, int | None]] = {
    "even": (8, None),
    "odd": (7, None),
    "one example": (1, None),
    "odd micro-batches": (8, 3),
    "last micro-batch of one": (7, 2),
}


class Answers:
    """What a target store looks like from the training loop."""

    def __init__(self, logits: Tensor) -> None:
        self._logits = logits

    def rows(self, keys: np.ndarray) -> np.ndarray:
        return np.arange(len(keys))

    def read(self, rows: np.ndarray, device: torch.device) -> SoftTargets:
        return SoftTargets(self._logits[torch.from_numpy(rows)])


def examples(loss: Loss) -> TokenTable:
    """Examples of 3 to 17 tokens; every third has no label."""
    rng = np.random.default_rng(0)
    lengths = 3 + 2 * np.arange(EXAMPLES)
    labels = rng.integers(0, loss.classes, EXAMPLES)
    return TokenTable(
        ids=rng.integers(5, 60, lengths.sum()),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        segments=None,
        keys=np.arange(EXAMPLES),
        labels=labels + 0.5 if loss.target == "real" else labels,
        label_mask=np.arange(EXAMPLES) % 3 != 2,
    )


def classifier(loss: Loss, body: Path) -> Any:
    """The tiny BERT with a new head, without dropout."""
    torch.manual_seed(0)
    space = LabelSpace(tuple("abc"[: loss.classes]) if loss.classes > 1 else ())
    kind = loss.task.problem_type
    return load_classifier(str(body), space, key="", problem_type=kind).eval()


def collator(loss: Loss, *, padding: int = 0) -> Callable[[np.ndarray], Batch]:
    """The engine's own collator, with more padding on the right."""
    table = examples(loss)
    collate = Collator(table, pad_id=0, device=CPU)

    def pad(indices: np.ndarray) -> Batch:
        batch = collate(indices)
        wider = {
            name: torch.nn.functional.pad(value, (0, padding))
            for name, value in batch.inputs.items()
        }
        return replace(batch, inputs=wider)

    return pad


def step(
    loss: Loss,
    model: Any,
    *,
    count: int = EXAMPLES,
    micro: int | None = None,
    padding: int = 0,
) -> Step:
    """(loss, gradients by name) of one optimizer step on the first `count` examples."""
    weights = {"hard_weight": 0.5} if loss.target == "logits" else {}
    table = examples(loss)
    job = TrainingJob(
        task=loss.task,
        loss=loss.module(**weights),
        examples=table,
        validation=table,
        store=Answers(loss.random(EXAMPLES, dtype=torch.float32)[0]),  # type: ignore[arg-type]
        make_optimizer=torch.optim.SGD,
        schedule=lambda step, steps: 1.0,
        settings=TrainSettings(steps=1, micro_batch_size=micro),
        seed=0,
        batch_key="",
    )
    objective = Distillation(job, model, SimpleNamespace(padding_side="right"), CPU)
    accelerator = accelerator_for(has_unused_parameters=objective.has_unused_parameters, cpu=True)
    trained = accelerator.prepare(ModelWithObjective(model, objective))
    plan = PaddedPlan(table.lengths[:count], size=count, seed=0)
    source = PlannedBatches(plan, table.positions, collator(loss, padding=padding), micro)
    rank, world = accelerator.process_index, accelerator.num_processes
    shares = accumulate(
        accelerator,
        trained,
        source.micro_batches(1, rank, world),
        positions=int(table.positions[:count].sum()),
        dtype=torch.float32,
    )
    named = model.named_parameters()
    return shares["loss"], {name: p.grad.clone() for name, p in named if p.grad is not None}


def every_case(body: Path) -> dict[tuple[str, str], Step]:
    """The step of every loss and cut."""
    return {
        (loss.name, name): step(loss, classifier(loss, body), count=count, micro=micro)
        for loss in LOSSES
        for name, (count, micro) in CUTS.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_steps(every_case(Path(sys.argv[1])), sys.argv[2])
