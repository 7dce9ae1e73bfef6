"""One optimizer step of a tiny language model on a listed loss, packed or padded.

Run as a module by each process of a distributed step, it writes those of every case:
`python -m tests.contract.language_steps TEACHER OUT`.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from distillkit.models.causal import load_causal_lm, load_causal_tokenizer
from distillkit.tasks import CausalLM
from distillkit.token_table import TokenTable
from distillkit.training.batch_source import PlannedBatches
from distillkit.training.batching import PackedPlan, PaddedPlan, Plan
from distillkit.training.collation import Collator
from distillkit.training.distillation import Distillation
from distillkit.training.distributed import accelerator_for
from distillkit.training.gradients import accumulate
from distillkit.training.job import TrainingJob
from distillkit.training.objective import ModelWithObjective
from distillkit.training.online_teacher import OnlineTeacher
from distillkit.training.settings import TrainSettings
from distillkit.types import SoftTargets
from tests.contract.listing import LOSSES, Loss
from tests.contract.steps import CPU, Step
from tests.processes import save_steps

EXAMPLES, BLOCK = 8, 24
LANGUAGE = tuple(loss for loss in LOSSES if loss.target != "real")

# name -> (tokens of a shared row or None, rows of a micro-batch or None)
CUTS: dict[str, tuple[int | None, int | None]] = {
    "padded": (None, None),
    "packed": (BLOCK, None),
    "padded, micro-batches": (None, 3),
    "packed, micro-batches": (BLOCK, 1),
    "one long row": (1000, None),
}


def examples(vocabulary: int) -> TokenTable:
    """Examples of 3 to 17 tokens, of which some tokens count; one has a single counted one."""
    rng = np.random.default_rng(0)
    lengths = 3 + 2 * np.arange(EXAMPLES)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(4, vocabulary, offsets[-1]).astype(np.int32)
    counted = rng.random(offsets[-1]) < 0.6
    counted[offsets[1:] - 1] = False  # the last token has nothing to say
    counted[offsets[:-1]] = True
    return TokenTable(
        ids=ids,
        offsets=offsets,
        segments=None,
        keys=np.arange(EXAMPLES),
        labels=np.roll(ids, -1)[counted].astype(np.int64),
        label_mask=np.ones(int(counted.sum()), bool),
        loss_mask=counted,
    )


class Answers:
    """What a target store looks like from the training loop: logits at every counted position."""

    def __init__(self, table: TokenTable, vocabulary: int) -> None:
        rng = np.random.default_rng(1)
        self._begins = table.position_offsets
        self._logits = torch.from_numpy(rng.normal(size=(self._begins[-1], vocabulary))).float()

    def rows(self, keys: np.ndarray) -> np.ndarray:
        return np.asarray(keys)

    def read(self, rows: np.ndarray, device: torch.device) -> SoftTargets:
        places = [np.arange(self._begins[i], self._begins[i + 1]) for i in rows]
        return SoftTargets(self._logits[np.concatenate(places)])


def step(loss: Loss, teacher: Path, cut: str) -> Step:
    """(loss, gradients by name) of one optimizer step on all examples."""
    tokenizer = load_causal_tokenizer(str(teacher), key="")
    model: Any = load_causal_lm(str(teacher), key="").eval()
    weights = {"hard_weight": 0.5} if loss.target == "logits" else {}
    store = Answers(examples(len(tokenizer)), len(tokenizer))
    return step_on(loss.module(**weights), model, tokenizer, cut, store=store)


def step_on(
    loss: nn.Module,
    model: Any,
    tokenizer: Any,
    cut: str,
    *,
    store: Answers | None = None,
    teacher: OnlineTeacher | None = None,
) -> Step:
    """(loss, gradients by name) of one optimizer step, taught by a store or a teacher."""
    table = examples(len(tokenizer))
    block, micro = CUTS[cut]
    job = TrainingJob(
        task=CausalLM(max_length=BLOCK),
        loss=loss,  # type: ignore[arg-type]
        examples=table,
        validation=table,
        store=store,  # type: ignore[arg-type]
        teacher=teacher,
        make_optimizer=torch.optim.SGD,
        schedule=lambda step, steps: 1.0,
        settings=TrainSettings(steps=1, micro_batch_size=micro),
        seed=0,
        batch_key="",
    )
    plan: Plan = (
        PaddedPlan(table.lengths, size=EXAMPLES, seed=0)
        if block is None
        else PackedPlan(table.lengths, size=EXAMPLES, seed=0, block=block)
    )
    assert sorted(plan.batch(1)) == list(range(EXAMPLES))
    objective = Distillation(job, model, tokenizer, CPU)
    accelerator = accelerator_for(has_unused_parameters=objective.has_unused_parameters, cpu=True)
    learner = ModelWithObjective(model, objective)
    trained = accelerator.prepare(learner)
    collate = Collator(table, pad_id=0, device=CPU, block=block, by_text=job.loss.needs_activations)
    source = PlannedBatches(plan, table.positions, collate, micro)
    rank, world = accelerator.process_index, accelerator.num_processes
    shares = accumulate(
        accelerator,
        trained,
        source.micro_batches(1, rank, world),
        positions=int(table.positions.sum()),
        dtype=torch.float32,
    )
    named = learner.named_parameters()
    return shares["loss"], {name: p.grad.clone() for name, p in named if p.grad is not None}


def every_case(teacher: Path) -> dict[tuple[str, str], Step]:
    """The step of every loss and cut."""
    return {(loss.name, cut): step(loss, teacher, cut) for loss in LANGUAGE for cut in CUTS}


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_steps(every_case(Path(sys.argv[1])), sys.argv[2])
