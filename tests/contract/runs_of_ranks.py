"""Short trainings of tiny models, by however many processes and whatever shares out the model.

Run as a module by each process, it writes the logged rows and the weights that each case ends with:
`python -m tests.contract.runs_of_ranks BERT LLAMA OUT`.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from distillkit.console.progress import rank
from distillkit.losses import ForwardKL, chunked
from distillkit.models.causal import load_causal_lm, load_causal_tokenizer
from distillkit.models.device import leave_process_group
from distillkit.models.execution import executing
from distillkit.models.saved import Loaded
from distillkit.schedules import ConstantLR
from distillkit.tasks import CausalLM
from distillkit.token_table import TokenTable
from distillkit.training import shards
from distillkit.training.batch_source import PlannedBatches
from distillkit.training.batching import PackedPlan, PaddedPlan, Plan
from distillkit.training.collation import Collator
from distillkit.training.distillation import Distillation
from distillkit.training.job import TrainingJob
from distillkit.training.online_teacher import OnlineTeacher
from distillkit.training.settings import TrainSettings
from distillkit.training.trainer import Trainer
from distillkit.training.validation import validation
from distillkit.types import LabelSpace, SparseTargets
from tests.contract import inside_steps, language_steps, steps
from tests.contract.listing import NAMES
from tests.contract.steps import CPU

BLOCK = 24
SETTINGS: dict[str, Any] = {
    "steps": 5,
    "batch_size": 3,  # of 8 examples: the last batch of an epoch is of 2
    "micro_batch_size": 2,
    "eval_every": 2,
    "log_every": 1,
    "keep": "best",
    "checkpoint_seconds": 600.0,
}


class Entries(language_steps.Answers):
    """A store of a few entries: the 5 likeliest, or 9 that were drawn."""

    def __init__(self, table: TokenTable, vocabulary: int, *, drawn: bool) -> None:
        super().__init__(table, vocabulary)
        log_probs = self._logits.log_softmax(-1)
        zero = {1.0: torch.zeros(len(log_probs))}
        values, ids = log_probs.topk(5)
        self._entries = SparseTargets(ids, values, zero)
        if drawn:
            ids = log_probs.exp().multinomial(9, True, generator=torch.Generator().manual_seed(0))
            values = torch.full(ids.shape, -np.log(9))
            self._entries = SparseTargets(ids, values, zero, is_estimate=True)

    def read(self, rows: np.ndarray, device: torch.device) -> Any:
        places = [np.arange(self._begins[i], self._begins[i + 1]) for i in rows]
        return self._entries.part(torch.from_numpy(np.concatenate(places)))


def encoder(bert: Path, _: Path) -> tuple[Any, Any, TrainingJob]:
    """A classifier that learns from stored logits and labels."""
    loss = NAMES["forward_kl"]
    table, store = steps.examples(loss), steps.Answers(loss.random(8, dtype=torch.float32)[0])
    job = _job(loss.task, loss.module(hard_weight=0.5), table, store=store)
    return steps.classifier(loss, bert), SimpleNamespace(padding_side="right", pad_token_id=0), job


def language(
    _: Path, llama: Path, *, store: Callable[[TokenTable, int], Any]
) -> tuple[Any, Any, TrainingJob]:
    """A language model that learns from a store."""
    tokenizer, model = load_causal_tokenizer(str(llama), key=""), load_causal_lm(str(llama), key="")
    table = language_steps.examples(len(tokenizer))
    job = _job(CausalLM(max_length=BLOCK), ForwardKL(), table, store=store(table, len(tokenizer)))
    return model, tokenizer, job


def online(_: Path, llama: Path, *, loss: str) -> tuple[Any, Any, TrainingJob]:
    """A language model whose teacher, itself shaken, is asked about each batch."""
    tokenizer, model = load_causal_tokenizer(str(llama), key=""), load_causal_lm(str(llama), key="")
    shaken, task = deepcopy(model), CausalLM(max_length=BLOCK)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in shaken.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter)).requires_grad_(False)
    teacher = OnlineTeacher(Loaded(shaken.eval(), tokenizer), task, "float32", 30)
    module = ForwardKL() if loss == "forward_kl" else inside_steps.built(loss)
    table = language_steps.examples(len(tokenizer))
    return model, tokenizer, _job(task, module, table, teacher=teacher)


# name -> (what makes model, tokenizer and job, tokens of a row that is shared, settings)
CASES: dict[str, tuple[Callable[..., tuple[Any, Any, TrainingJob]], int | None, dict[str, Any]]] = {
    "encoder": (encoder, None, {}),
    "language": (partial(language, store=language_steps.Answers), BLOCK, {"max_grad_norm": None}),
    "top-k": (partial(language, store=partial(Entries, drawn=False)), None, {}),
    "sampled": (partial(language, store=partial(Entries, drawn=True)), BLOCK, {}),
    "online": (partial(online, loss="forward_kl"), BLOCK, {}),
    "inside": (partial(online, loss="mixture"), None, {"micro_batch_size": None}),
    "recomputed": (partial(online, loss="mixture"), None, {"gradient_checkpointing": True}),
    "bfloat16": (partial(language, store=language_steps.Answers), None, {"precision": "bfloat16"}),
}


RESUMED = ("encoder", "language", "inside")
CHUNK = 16  # positions of a chunk of logits, where they are counted


def _job(task: Any, loss: Any, table: TokenTable, **more: Any) -> TrainingJob:
    return TrainingJob(
        task=task,
        loss=loss,
        examples=table,
        validation=table,
        store=more.get("store"),
        teacher=more.get("teacher"),
        make_optimizer=partial(torch.optim.AdamW, lr=3e-3, eps=1e-4, fused=True),
        schedule=ConstantLR(),
        settings=TrainSettings(**SETTINGS),
        seed=0,
        batch_key="",
        labels=LabelSpace(tuple("abc")),
    )


def train(name: str, bert: Path, llama: Path, out: Path, **changes: Any) -> dict[str, Tensor]:
    """Train a case; the weights that the first process ends with. Rows are in metrics.jsonl."""
    make, block, settings = CASES[name]
    schedule, evaluate = changes.pop("schedule", None), changes.pop("evaluate", None)
    model, tokenizer, job = make(bert, llama)
    chosen = TrainSettings(**SETTINGS | settings | changes)
    lengths, size = job.examples.lengths, chosen.batch_size
    plan: Plan = PaddedPlan(lengths, size=size, seed=0)
    if block is not None:
        plan = PackedPlan(lengths, size=size, seed=0, block=block)
    by_text = job.loss.needs_activations
    collate = Collator(job.examples, pad_id=0, device=CPU, block=block, by_text=by_text)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):  # what is drawn depends on the rank
            module.p = 0.0
    with executing(model, chosen):
        Trainer(
            model,
            Distillation(job, model, tokenizer, CPU),
            PlannedBatches(plan, job.examples.positions, collate, chosen.micro_batch_size),
            make_optimizer=job.make_optimizer,
            schedule=schedule or job.schedule,
            settings=chosen,
            seed=0,
            evaluate=evaluate or validation(job, tokenizer, CPU),
            out=out,
            label=name,
        ).run()
    return {} if rank() else {k: v.clone().contiguous() for k, v in model.state_dict().items()}


class Killed(BaseException):
    """What SIGKILL does, at one moment in all processes."""


def until(step: int) -> Callable[[int, int], float]:
    """The schedule of all cases, during which the run is killed after a step."""

    def schedule(current: int, steps: int) -> float:
        if current > step:
            raise Killed
        return ConstantLR()(current, steps)

    return schedule


def train_until(step: int, name: str, bert: Path, llama: Path, out: Path) -> None:
    """Train a case, a checkpoint a step, and be killed after one."""
    with suppress(Killed):
        train(name, bert, llama, out, schedule=until(step), checkpoint_seconds=0.0)
        raise AssertionError("the run ended before")


class LargestLogits(TorchDispatchMode):
    """The most rows that any tensor over a vocabulary has, views of the head left out."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.vocabulary, self.hidden, self.rows = vocabulary, hidden, 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            is_logits = isinstance(tensor, Tensor) and tensor.shape[-1:] == (self.vocabulary,)
            if is_logits and tensor.ndim > 1 and tensor.shape[-2] != self.hidden:
                self.rows = max(self.rows, tensor.numel() // self.vocabulary)
        return result


def largest_logits(bert: Path, llama: Path, out: Path, *, chunk: int) -> int:
    """The most positions whose logits are there at a time while a student learns from a teacher."""
    tokenizer, before = load_causal_tokenizer(str(llama), key=""), chunked.CHUNK_BYTES
    chunked.CHUNK_BYTES = 4 * chunk * len(tokenizer)
    try:
        with LargestLogits(len(tokenizer), 32) as largest:
            changes = {"batch_size": 8, "micro_batch_size": None, "steps": 2}
            train("online", bert, llama, out, evaluate=lambda _: {"score": 0.0}, **changes)
    finally:
        chunked.CHUNK_BYTES = before
    return largest.rows


def rows(out: Path) -> list[dict[str, float]]:
    """The logged rows of a case."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def _late(gather: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    def late(value: Any) -> list[Any]:
        gathered = gather(value)
        time.sleep(0.2 * bool(rank()))
        return gathered

    return late


def _main(bert: Path, llama: Path, out: Path, *cases: str) -> None:
    """All that the tests read; or the named cases alone, gone on with where they stand."""

    def finish(name: str, folder: Path) -> None:
        weights = train(name, bert, llama, folder)
        if not rank():
            save_file(weights, folder / "weights.safetensors")

    for name in cases or CASES:
        finish(name, out / name)
    if cases:
        return
    shards.gather = _late(shards.gather)  # the first process renames what the others wrote
    for name in RESUMED:
        train_until(3, name, bert, llama, out / "again" / name)
        finish(name, out / "again" / name)
        train_until(2, name, bert, llama, out / "left" / name)
    most = largest_logits(bert, llama, out / "largest", chunk=CHUNK)
    (out / f"largest-{rank()}.json").write_text(json.dumps(most))


if __name__ == "__main__":
    torch.set_num_threads(1)
    _main(*map(Path, sys.argv[1:4]), *sys.argv[4:])
    leave_process_group()  # or a thread of gloo may abort what ends
