#!/usr/bin/env python3
"""What distillkit adds to the bare work of language models, as ratios within one run.

    teacher pass   tokens a second of generate-targets with 50 draws a token, shards written and
                   synced  /  those of the teacher's own forward (all logits, nothing kept) on the
                   same batches                                             (wanted: at least 0.90)
    float32 logits the same  /  those of the teacher's body and its head with float32 sums, chunk by
                   chunk: what a forward costs whose logits are as exact as those that are kept
    student step   a KD step from that store (rows packed, draws looked up and decoded)  /  a step
                   on the next token alone of the same student on the same ready rows, in a plain
                   PyTorch loop with fused AdamW                             (wanted: at most 1.10)
    chunked step   the same KD step  /  distillkit's own step on the next token alone

Both sides take turns in every round, so that a slow moment of the machine falls on both; the
median of the rounds' ratios counts. Weights and token ids are random: speed does not depend on
them but for the number of different ids among the draws, which a sharpened head brings to about
what a trained one gives.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timing import ORIGIN, device, machine, ratio, seconds, shown
from transformers import LlamaConfig, LlamaForCausalLM

from distillkit.losses import ForwardKL, HardLabelLoss
from distillkit.models.precision import Precision, autocast, resolve
from distillkit.models.saved import Loaded, SavedModel
from distillkit.schedules import LinearLR
from distillkit.stages import targets as stage
from distillkit.stages.target_work import TargetWork
from distillkit.targets import Sampled, StoredTargets, TargetStore
from distillkit.targets.codecs.logits import chunks
from distillkit.tasks import CausalLM
from distillkit.token_table import TokenTable
from distillkit.training.batch_source import PlannedBatches
from distillkit.training.batching import length_buckets
from distillkit.training.collation import collator
from distillkit.training.distillation import Distillation
from distillkit.training.job import TrainingJob
from distillkit.training.learning import batch_plan
from distillkit.training.settings import TrainSettings
from distillkit.training.trainer import Trainer
from distillkit.types import LabelSpace

DEVICE = device()
Clock = Callable[[], float]
SPREAD = 4.5  # of the logits: 50 draws then have about 20 different ids


@dataclass(frozen=True)
class Pair:
    """The shapes of a teacher and its student, and the format of the teacher's weights."""

    teacher: dict[str, int]
    student: dict[str, int]
    weights: torch.dtype = torch.float32


def shape(hidden: int, layers: int, heads: tuple[int, int], inner: int) -> dict[str, int]:
    """A Llama's shape; of the heads so many are queries', so many keys' and values'."""
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "intermediate_size": inner,
    }


PAIRS = {
    "135m": Pair(shape(576, 30, (9, 3), 1536), shape(192, 4, (6, 2), 512)),
    "1b": Pair(
        shape(2048, 16, (32, 8), 8192), shape(1024, 8, (16, 4), 4096), weights=torch.bfloat16
    ),
}


class Tokenizer:
    """What batching and the real size of a vocabulary ask of a tokenizer."""

    pad_token_id = 0

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = {str(i): i for i in range(vocabulary)}

    def get_vocab(self) -> dict[str, int]:
        return self.vocabulary


def llama(vocabulary: int, shape: dict[str, int]) -> Any:
    torch.manual_seed(0)
    with torch.device(DEVICE):
        return LlamaForCausalLM(
            LlamaConfig(vocab_size=vocabulary, tie_word_embeddings=False, **shape)
        )


class RandomTeacher:
    """A teacher with random weights."""

    saved = SavedModel("random weights", "teacher")

    def __init__(self, tokenizer: Tokenizer, shape: dict[str, int], weights: torch.dtype) -> None:
        self.model = llama(len(tokenizer.get_vocab()), shape).eval()
        # the last norm's output has about one unit a channel
        std = SPREAD / shape["hidden_size"] ** 0.5
        torch.nn.init.normal_(self.model.lm_head.weight, std=std)
        self.model.to(weights)
        self.tokenizer = tokenizer

    def place(self, task: Any, space: LabelSpace) -> Loaded:
        return Loaded(self.model, self.tokenizer)


def texts(tokens: int, length: int, vocabulary: int) -> TokenTable:
    """Random token ids in documents of half to all of the context, every token predicted."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(length // 2, length + 1, 2 * tokens // length)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(1, vocabulary, offsets[-1]).astype(np.int32)
    counted = np.ones(len(ids), bool)
    counted[offsets[1:] - 1] = False
    return TokenTable(
        ids=ids,
        offsets=offsets,
        segments=None,
        keys=np.array([rng.bytes(15) + b"\1" for _ in lengths], dtype="S16"),
        labels=np.roll(ids, -1)[counted].astype(np.int64),
        label_mask=np.ones(int(counted.sum()), bool),
        loss_mask=counted,
    )


def teacher_ratio(
    rounds: int,
    table: TokenTable,
    teacher: RandomTeacher,
    task: CausalLM,
    folder: Path,
    clock: Clock,
    precision: Precision = "auto",
    batch_tokens: int = 1024,
) -> dict[str, dict[str, float]]:
    settings = StoredTargets(
        codec=Sampled(),
        batch_tokens=batch_tokens,
        shard_tokens=2 * batch_tokens,
        precision=precision,
    )
    stage.QUALITY_POSITIONS = 1  # 512 are nothing beside a real text, and much beside this one
    buckets = length_buckets(table.lengths, tokens=settings.batch_tokens)
    collate = collator(table, teacher.tokenizer, DEVICE)
    batches = [collate(bucket) for bucket in buckets]
    forward_fn = task.forward_fn(teacher.tokenizer)

    # entered once and without inference mode: autocast then converts the weights once
    def bare() -> None:
        with torch.no_grad(), autocast(resolve(precision, DEVICE), DEVICE):
            for batch in batches:
                teacher.model(**batch.inputs)

    def exact() -> None:
        with torch.no_grad(), autocast(resolve(precision, DEVICE), DEVICE):
            for batch in batches:
                for _ in chunks(forward_fn(teacher.model, batch)):
                    pass

    def ours(out: Path) -> None:
        out.mkdir()
        work = TargetWork(teacher, task, LabelSpace(()), table, settings, ORIGIN)  # type: ignore[arg-type]
        stage.generate_targets(work, out=out)

    spent: dict[str, list[float]] = {"bare": [], "exact": [], "ours": []}
    for i in range(rounds + 1):
        for name, call in (("bare", bare), ("exact", exact)):
            spent[name].append(seconds(call, clock=clock))
        spent["ours"].append(seconds(partial(ours, folder / f"store-{i}"), clock=clock))
    each = {
        f"{name}_tokens_per_second": len(table.ids) / statistics.median(times[1:])
        for name, times in spent.items()
    }
    return {
        "teacher pass": ratio(spent["bare"][1:], spent["ours"][1:]) | each,
        "float32 logits": ratio(spent["exact"][1:], spent["ours"][1:]) | each,
    }


def student_ratios(
    rounds: int,
    table: TokenTable,
    tokenizer: Tokenizer,
    shape: dict[str, int],
    task: CausalLM,
    settings: TrainSettings,
    folder: Path,
    clock: Clock,
) -> dict[str, dict[str, float]]:
    start = partial(llama, len(tokenizer.get_vocab()), shape)
    steps = settings.steps or 0
    job = TrainingJob(
        task=task,
        loss=ForwardKL(temperature=1.0),
        examples=table,
        validation=table,
        store=TargetStore.open(folder / "store-0"),
        make_optimizer=partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.01, fused=True),
        schedule=LinearLR(),
        settings=settings,
        seed=0,
        batch_key="",
    )
    plan = batch_plan(job, start())
    collate = collator(table, tokenizer, DEVICE, block=task.max_length)
    ready = [collate(plan.batch(step)) for step in range(1, steps + 1)]

    def bare() -> None:
        model = start().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
        for batch in ready:
            with autocast(resolve(settings.precision, DEVICE), DEVICE):
                logits = model(**batch.inputs).logits.flatten(0, 1)[batch.loss_index]
            F.cross_entropy(logits.float(), batch.labels).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    def ours(loss: Any, store: TargetStore | None, out: Path) -> None:
        student = start()
        Trainer(
            student,
            Distillation(replace(job, loss=loss, store=store), student, tokenizer, DEVICE),
            PlannedBatches(plan, table.positions, collate, settings.micro_batch_size),
            make_optimizer=job.make_optimizer,
            schedule=job.schedule,
            settings=job.settings,
            seed=job.seed,
            evaluate=lambda model: {"score": 0.0},
            out=out,
            label="bench",
        ).run()

    spent: dict[str, list[float]] = {"bare": [], "kd": [], "ce": []}
    for i in range(rounds + 1):
        kd = partial(ours, job.loss, job.store, folder / f"kd-{i}")
        ce = partial(ours, HardLabelLoss(), None, folder / f"ce-{i}")
        for name, call in (("bare", bare), ("kd", kd), ("ce", ce)):
            spent[name].append(seconds(call, clock=clock))
    each = {
        f"{name}_ms": 1e3 * statistics.median(times[1:]) / steps for name, times in spent.items()
    }
    return {
        "student step": ratio(spent["kd"][1:], spent["bare"][1:]) | each,
        "chunked step": ratio(spent["kd"][1:], spent["ce"][1:]) | each,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=16_384, help="that the teacher reads")
    parser.add_argument("--length", type=int, default=256, help="tokens of context")
    parser.add_argument("--vocabulary", type=int, default=49_152)
    parser.add_argument("--pair", choices=PAIRS, default="135m", help="teacher and student")
    parser.add_argument("--layers", type=int, help="of the teacher, if not all")
    parser.add_argument(
        "--batch-tokens", type=int, default=4096, help="that the teacher reads at once"
    )
    parser.add_argument("--batch-size", type=int, default=4, help="rows of the student's batch")
    parser.add_argument(
        "--precision", choices=["auto", "float32", "bfloat16"], default="auto", help="the teacher's"
    )
    parser.add_argument(
        "--student-precision", choices=["auto", "float32", "bfloat16"], default="float32"
    )
    parser.add_argument("--steps", type=int, default=8, help="of the student, a round")
    parser.add_argument(
        "--work",
        action="store_true",
        help="count processor time of all threads, for a busy machine: nothing overlaps then",
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    chosen = parser.parse_args()
    clock = time.process_time if chosen.work else time.perf_counter
    tokenizer, task = Tokenizer(chosen.vocabulary), CausalLM(max_length=chosen.length)
    table = texts(chosen.tokens, chosen.length, chosen.vocabulary)
    pair = PAIRS[chosen.pair]
    layers = chosen.layers or pair.teacher["num_hidden_layers"]
    teacher = RandomTeacher(tokenizer, pair.teacher | {"num_hidden_layers": layers}, pair.weights)
    settings = TrainSettings(
        steps=chosen.steps,
        batch_size=chosen.batch_size,
        precision=chosen.student_precision,
        keep="last",
        eval_every=10**9,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, Any] = {}
        figures |= teacher_ratio(
            chosen.rounds,
            table,
            teacher,
            task,
            folder,
            clock,
            precision=chosen.precision,
            batch_tokens=chosen.batch_tokens,
        )
        for name, side in (("teacher pass", "bare"), ("float32 logits", "exact")):
            found = figures[name]
            print(
                f"{name}  {found['ours_tokens_per_second']:,.0f} / "
                f"{found[f'{side}_tokens_per_second']:,.0f} tokens/s = {shown(found)}",
                flush=True,
            )
        figures |= student_ratios(
            chosen.rounds, table, tokenizer, pair.student, task, settings, folder, clock
        )
    figures["machine"] = machine()
    step, chunked = figures["student step"], figures["chunked step"]
    print(f"student step  {step['kd_ms']:.1f} ms / {step['bare_ms']:.1f} ms = {shown(step)}")
    print(f"chunked step  {step['kd_ms']:.1f} ms / {step['ce_ms']:.1f} ms = {shown(chunked)}")
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
