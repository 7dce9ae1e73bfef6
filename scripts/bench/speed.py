#!/usr/bin/env python3
"""What distillkit adds to the bare work, as ratios within one run.

    student step   a KD step from the store  /  a hard-label step of the same student on the same
                   batches in a plain PyTorch loop with fused AdamW           (wanted: at most 1.10)
    teacher pass   tokens a second of generate-targets, writing included  /  those of the bare
                   forward on the same buckets                              (wanted: at least 0.90)
    every loss     the same for each choice of `loss` that looks at logits alone: a step from the
                   store with it  /  the bare step                            (wanted: at most 1.10)
    relation step  a step of hidden states, relations and logits, the teacher in the loop  /  the
                   same hard-label step and the teacher's bare forward, measured apart
                                                                             (wanted: at most 1.15)
    attention step the same of hidden states and attention scores, for a student with as many heads
                   as its teacher                                            (wanted: at most 1.15)
    padding        the share of padding in the teacher's batches              (wanted: at most 5 %)

Both sides take turns in every round, so that a slow moment of the machine falls on both; the
median of the rounds' ratios counts. Weights and texts are random: speed does not depend on them.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from timing import ORIGIN, device, machine, ratio, seconds, shown
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
)

from distillkit.config.build import build
from distillkit.config.paths import CONF
from distillkit.losses import AttentionMSE, ForwardKL, HiddenMSE, Loss, Mixture, Relations
from distillkit.models.precision import Precision, autocast, resolve
from distillkit.models.saved import Loaded, SavedModel
from distillkit.schedules import LinearLR
from distillkit.stages.target_work import TargetWork
from distillkit.stages.targets import generate_targets
from distillkit.targets import Dense, StoredTargets, TargetStore, TargetWriter
from distillkit.tasks import Classification
from distillkit.token_table import TokenTable
from distillkit.training.batch_source import PlannedBatches
from distillkit.training.batching import PaddedPlan, length_buckets, padding_waste
from distillkit.training.collation import Collator, collator
from distillkit.training.distillation import Distillation
from distillkit.training.job import TrainingJob
from distillkit.training.online_teacher import OnlineTeacher
from distillkit.training.settings import TrainSettings
from distillkit.training.trainer import Trainer
from distillkit.types import Batch, LabelSpace, Outputs

DEVICE = device()
VOCABULARY = 30522
SPACE = LabelSpace(("negative", "positive"))
BERT_TINY = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
TWELVE_HEADS = {"hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 12}
ONLINE: dict[str, tuple[dict[str, int], Callable[[], dict[str, Loss]]]] = {
    "relation step": (
        BERT_TINY,
        lambda: {
            "hidden": HiddenMSE(layers="uniform"),
            "relations": Relations(relation_heads=4),
            "logits": ForwardKL(temperature=2.0),
        },
    ),
    "attention step": (
        TWELVE_HEADS,
        lambda: {
            "hidden": HiddenMSE(layers="uniform"),
            "attention": AttentionMSE(layers="uniform"),
        },
    ),
}


class Tokenizer:
    """What padding asks of a tokenizer."""

    pad_token_id = 0
    padding_side = "right"


class RandomTeacher:
    """A teacher of MiniLM-L6's shape."""

    saved = SavedModel("random weights", "teacher")

    def __init__(self) -> None:
        torch.manual_seed(0)
        shape = BertConfig(
            hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
        )
        self.model = BertForSequenceClassification(shape).eval().to(DEVICE)

    def place(self, task: Any, space: LabelSpace) -> Loaded:
        return Loaded(self.model, Tokenizer(), np.arange(2))


def texts(count: int, seed: int = 0) -> TokenTable:
    """Random token ids with the lengths of review sentences (mean about 25, at most 64)."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(3.1, 0.45, count), 7, 64).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return TokenTable(
        ids=rng.integers(1000, VOCABULARY, offsets[-1]).astype(np.int32),
        offsets=offsets,
        segments=None,
        keys=np.array([rng.bytes(15) + b"\1" for _ in range(count)], dtype="S16"),
        labels=rng.integers(0, 2, count),
        label_mask=np.ones(count, bool),
    )


def student(shape: dict[str, int]) -> Any:
    torch.manual_seed(0)
    config = BertConfig(**shape, intermediate_size=4 * shape["hidden_size"])
    return AutoModelForSequenceClassification.from_config(config)


def bare_steps(shape: dict[str, int], batches: list[Batch], precision: Precision) -> float:
    """Seconds of a plain loop over ready batches."""
    model = student(shape).train().to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    dtype = resolve(precision, DEVICE)

    def loop() -> None:
        for batch in batches:
            with autocast(dtype, DEVICE):
                loss = F.cross_entropy(model(**batch.inputs).logits, batch.labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    return seconds(loop)


def our_steps(
    shape: dict[str, int],
    job: TrainingJob,
    plan: PaddedPlan,
    collate: Collator,
    out: Path,
) -> float:
    """Seconds of the engine over the same batches, cut, padded and looked up as it goes."""
    model = student(shape)
    return seconds(
        lambda: Trainer(
            model,
            Distillation(job, model, Tokenizer(), DEVICE),
            PlannedBatches(plan, job.examples.positions, collate),
            make_optimizer=job.make_optimizer,
            schedule=job.schedule,
            settings=job.settings,
            seed=job.seed,
            evaluate=lambda model: {"score": 0.0},
            out=out,
            label="bench",
        ).run()
    )


def logit_losses() -> dict[str, Loss]:
    """Every choice of `loss` that needs logits and no more of a teacher."""
    files = sorted((CONF / "loss").glob("*.yaml"))
    every = {file.stem: build(DictConfig(OmegaConf.load(file)), key="loss") for file in files}
    return {name: loss for name, loss in every.items() if loss.teacher_scope == "logits"}


def student_ratios(
    rounds: int, steps: int, precision: Precision, folder: Path
) -> dict[str, dict[str, float]]:
    """The recipe's loss ("student step") and each of `logit_losses`, a quarter of the rounds."""
    table = texts(20_000)
    logits = np.random.default_rng(1).normal(size=(len(table), 2)).astype(np.float32)
    with TargetWriter(folder, Dense()) as writer:
        writer.describe(Outputs(torch.from_numpy(logits)))
        writer.write(0, table.keys, np.ones(len(table), np.int64), {"logits": logits})
        writer.finish([len(table)], tokens=len(table.ids), labels=[], origin=ORIGIN)
    job = job_of(
        table,
        ForwardKL(temperature=2.0, hard_weight=0.5),
        steps=steps,
        precision=precision,
        store=TargetStore.open(folder),
    )
    plan = PaddedPlan(table.lengths, size=64, seed=0)
    collate = collator(table, Tokenizer(), DEVICE)
    ready = [collate(plan.batch(step)) for step in range(1, steps + 1)]

    def measured(loss: Loss, rounds: int, name: str) -> dict[str, float]:
        mine, ours, bare = replace(job, loss=loss), [], []
        for i in range(rounds + 1):
            bare.append(bare_steps(BERT_TINY, ready, precision))
            out = folder / f"{name}-{i}"
            ours.append(our_steps(BERT_TINY, mine, plan, collate, out))
        return beside(ours, bare, steps)

    found = {"student step": measured(job.loss, rounds, "step")}
    for name, loss in logit_losses().items():
        found[f"loss={name}"] = measured(loss, max(1, rounds // 4), name)
    return found


def job_of(
    table: TokenTable, loss: Loss, *, steps: int, precision: Precision, **source: Any
) -> TrainingJob:
    """A run on random texts; `source` says where its targets come from."""
    return TrainingJob(
        task=Classification(max_length=64),
        loss=loss,
        examples=table,
        validation=table,
        make_optimizer=partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.01, fused=True),
        schedule=LinearLR(),
        settings=TrainSettings(
            steps=steps, batch_size=64, precision=precision, keep="last", eval_every=10**9
        ),
        seed=0,
        batch_key="",
        **source,
    )


def beside(ours: list[float], bare: list[float], steps: int) -> dict[str, float]:
    """The ratio of steps and how long they take; the first round is to get warm."""
    return ratio(ours[1:], bare[1:]) | {
        "bare_ms": 1e3 * statistics.median(bare[1:]) / steps,
        "ours_ms": 1e3 * statistics.median(ours[1:]) / steps,
    }


def online_ratio(
    name: str, rounds: int, steps: int, precision: Precision, folder: Path
) -> dict[str, float]:
    shape, terms = ONLINE[name]
    table, loaded = texts(20_000), RandomTeacher().place(None, SPACE)
    plan = PaddedPlan(table.lengths, size=64, seed=0)
    collate = collator(table, Tokenizer(), DEVICE, by_text=True)
    ready = [collate(plan.batch(step)) for step in range(1, steps + 1)]
    teacher = OnlineTeacher(loaded, Classification(max_length=64), precision, batch_tokens=4096)

    def asked() -> None:
        for batch in ready:
            with torch.inference_mode(), autocast(resolve(precision, DEVICE), DEVICE):
                loaded.model(**batch.inputs)

    ours, apart = [], []
    for i in range(rounds + 1):
        losses = terms()
        loss = Mixture(losses, dict.fromkeys(losses, 1.0))
        job = job_of(table, loss, steps=steps, precision=precision, store=None, teacher=teacher)
        apart.append(bare_steps(shape, ready, precision) + seconds(asked))
        ours.append(our_steps(shape, job, plan, collate, folder / f"{name}-{i}"))
    return beside(ours, apart, steps)


def teacher_ratio(rounds: int, examples: int, folder: Path) -> dict[str, float]:
    table, teacher, settings = texts(examples), RandomTeacher(), StoredTargets()
    many = texts(50_000).lengths  # padding goes down with the number of texts: that of a recipe
    buckets = length_buckets(table.lengths, tokens=settings.batch_tokens)
    collate = collator(table, Tokenizer(), DEVICE)
    inputs = [collate(bucket).inputs for bucket in buckets]
    dtype = resolve("auto", DEVICE)

    def bare() -> None:
        for batch in inputs:
            with torch.inference_mode(), autocast(dtype, DEVICE):
                teacher.model(**batch)

    def ours(number: int) -> None:
        out = folder / f"pass-{number}"
        out.mkdir()
        task = Classification(max_length=64)
        work = TargetWork(teacher, task, SPACE, table, settings, ORIGIN)  # type: ignore[arg-type]
        generate_targets(work, out=out)

    spent: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds + 1):
        for times, call in zip(spent, (bare, partial(ours, i)), strict=True):
            times.append(seconds(call))
    tokens = len(table.ids)
    return ratio(spent[0][1:], spent[1][1:]) | {
        "bare_tokens_per_second": tokens / statistics.median(spent[0][1:]),
        "ours_tokens_per_second": tokens / statistics.median(spent[1][1:]),
        "padding": padding_waste(many, length_buckets(many, tokens=settings.batch_tokens)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--examples", type=int, default=6000)
    parser.add_argument(
        "--precision",
        choices=["auto", "float32", "bfloat16"],
        default="float32",
        help="of the steps; the teacher's pass has auto",
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = student_ratios(chosen.rounds, chosen.steps, chosen.precision, Path(folder))
        for name in ONLINE:
            fewer = max(1, chosen.steps // 5)
            figures[name] = online_ratio(name, chosen.rounds, fewer, chosen.precision, Path(folder))
        steps = dict(figures)
        figures["teacher pass"] = teacher = teacher_ratio(
            chosen.rounds, chosen.examples, Path(folder)
        )
        figures["machine"] = machine()
    for name, step in steps.items():
        print(f"{name:<26} {step['ours_ms']:.1f} ms / {step['bare_ms']:.1f} ms = {shown(step)}")
    print(
        f"teacher pass  {teacher['ours_tokens_per_second']:,.0f} / "
        f"{teacher['bare_tokens_per_second']:,.0f} tokens/s = {shown(teacher)}"
    )
    print(f"padding  {teacher['padding']:.1%}")
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
