"""A small training run without transformers: points of two classes, a net with dropout.

Run as a module by each process of a distributed run, it writes the weights that the process ends
with: `python -m tests.unit.training.toy OUT`.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from distillkit.models.device import leave_process_group
from distillkit.schedules import ConstantLR
from distillkit.training import TrainSettings
from distillkit.training.batch_source import PlannedBatches
from distillkit.training.batching import PaddedPlan
from distillkit.training.checkpoint import Checkpoints
from distillkit.training.distributed import compute_device
from distillkit.training.objective import ModelWithObjective, Objective
from distillkit.training.trainer import Trainer
from distillkit.types import Batch, FitReport, LossTerms

EXAMPLES = 20
STEPS, SEED = 12, 5
X = torch.from_numpy(np.random.default_rng(0).normal(size=(EXAMPLES, 4))).float()
Y = (X[:, 0] + X[:, 1] ** 2 > 0.5).long()
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": partial(torch.optim.AdamW, lr=0.05, fused=True),
    "adam": partial(torch.optim.Adam, lr=0.05),
    "sgd": partial(torch.optim.SGD, lr=0.2, momentum=0.9, nesterov=True),
}


def net(seed: int = 0, *, dropout: float = 0.3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, 8), nn.LayerNorm(8), nn.Dropout(dropout), nn.Tanh(), nn.Linear(8, 2)
    )


def collate(indices: np.ndarray) -> Batch:
    """Where the trainer puts the model, as the library's own collator does."""
    device = compute_device()
    labelled = torch.ones(len(indices), dtype=torch.bool, device=device)
    return Batch({"x": X[indices].to(device)}, indices, Y[indices].to(device), labelled)


def objective(model: nn.Module, batch: Batch) -> LossTerms:
    values = nn.functional.cross_entropy(model(batch.inputs["x"]), batch.labels, reduction="none")
    return LossTerms({"hard": values}, {"hard": 1.0})


class Stateless(Objective):
    """A function of (model, batch) as an objective."""

    def __init__(self, function: Callable[[Any, Batch], LossTerms]) -> None:
        super().__init__()
        self._function = function

    def forward(self, model: Any, batch: Batch) -> LossTerms:
        return self._function(model, batch)


class Projected(Objective):
    """The toy's objective with all that a loss can have of its own.

    A matrix and a vector that are learnt, noise that is drawn for them, and buffers that training
    moves: the mean of the losses so far, and the progress it was told of.
    """

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(2, 3)
        with torch.no_grad():
            for parameter in self.project.parameters():
                parameter.fill_(0.3)
        self.register_buffer("mean", torch.tensor(1.0))
        self.register_buffer("told", torch.tensor(-1.0))
        self.heard: list[float] = []
        self.mean: Tensor
        self.told: Tensor

    def forward(self, model: Any, batch: Batch) -> LossTerms:
        logits = model(batch.inputs["x"])
        hard = nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        noise = torch.randn(len(logits), 3, device=logits.device)
        seen = (self.project(logits) - noise).square().mean(dim=-1) * self.mean
        return LossTerms(
            {"hard": hard, "seen": seen}, {"hard": 1.0, "seen": 1.0 - float(self.told)}
        )

    def on_step_begin(self, progress: float) -> None:
        self.heard.append(progress)
        self.told.fill_(progress)

    def on_step_end(self, shares: Mapping[str, float]) -> None:
        self.mean.mul_(0.9).add_(0.1 * shares["loss"])


def likelihood(model: nn.Module) -> dict[str, float]:
    """Validation on the same points: it goes up and down, so that the best is not the last."""
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        return {"score": -float(nn.functional.cross_entropy(model(X.to(device)), Y.to(device)))}


def train(out: Path, model: nn.Module, **changes: Any) -> FitReport:
    """Train; `changes` are arguments of `Trainer` or of `TrainSettings`."""
    return trainer(out, model, **changes).run()


def trainer(out: Path, model: nn.Module, **changes: Any) -> Trainer:
    """The toy's trainer."""
    settings = {"batch_size": 6, "eval_every": 2, "log_every": 5, "checkpoint_seconds": 0.0}
    known = {field.name for field in fields(TrainSettings)}
    settings |= {name: changes.pop(name) for name in known & changes.keys()}
    chosen = TrainSettings(**{"steps": STEPS} | settings)
    learnt = changes.pop("objective", objective)
    plan = PaddedPlan(np.arange(1, EXAMPLES + 1), size=chosen.batch_size, seed=SEED)
    positions = np.ones(EXAMPLES, np.int64)
    source = PlannedBatches(plan, positions, collate, chosen.micro_batch_size)
    return Trainer(
        model,
        learnt if isinstance(learnt, Objective) else Stateless(learnt),
        changes.pop("source", source),
        settings=chosen,
        seed=SEED,
        make_optimizer=changes.pop("make_optimizer", OPTIMIZERS["adamw"]),
        schedule=changes.pop("schedule", ConstantLR()),
        evaluate=changes.pop("evaluate", likelihood),
        out=out,
        label="toy",
        **changes,
    )


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_bits(found: dict[str, Any], expected: dict[str, Any]) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


SCORES = itertools.count()
# the last step is the best, micro-batches are odd, and nothing is drawn
TOGETHER: dict[str, Any] = {
    "make_optimizer": OPTIMIZERS["sgd"],
    "micro_batch_size": 3,
    "steps": 5,
    "evaluate": lambda model: {"score": float(next(SCORES))},
}


def _on_a_slow_disk(save: Callable[..., None]) -> Callable[..., None]:
    def slow(*args: Any) -> None:
        time.sleep(0.5)
        save(*args)

    return slow


if __name__ == "__main__":
    torch.set_num_threads(1)
    Checkpoints.save_best = _on_a_slow_disk(Checkpoints.save_best)  # type: ignore[method-assign]
    together = net(dropout=0)
    folder = Path(sys.argv[1])
    train(folder / "two", together, **TOGETHER)
    save_file(weights(together), folder / f"{os.environ['RANK']}.safetensors")
    learnt = ModelWithObjective(net(dropout=0), Projected())
    train(folder / "projected", learnt.model, objective=learnt.objective, **TOGETHER)
    save_file(weights(learnt), folder / f"projected-{os.environ['RANK']}.safetensors")
    leave_process_group()  # or a thread of gloo may abort what ends
