#!/usr/bin/env python3
"""How text, capture, opening, reading and training grow: 1, 10 and 100 times as much of the same.

    text       a file of lines of JSON streamed into splits and token tables
    capture    a teacher's pass, 50 draws a token, shards written and synced
    opening    of the store, and the rows of all its examples by their keys
    reading    1,000 batches of 16 examples in random order, decoded
    training   30 steps of a student from the store, its batches planned over all examples

Each size is a process of its own. `seconds` is its processor time, `MiB` the most memory of its own
beyond what it held before the work. What should not grow is told by the ratio of 100 to 1: seconds
a token of text and capture, seconds of reading and training, memory of all. The models are small
and random: what is measured is what the number of examples costs.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from language_speed import DEVICE, RandomTeacher, Tokenizer, llama, shape, texts
from large_store import own_memory
from timing import ORIGIN, machine
from tokenizers import Tokenizer as Words
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from distillkit.data import Corpus, Documents, prepare_documents
from distillkit.losses import ForwardKL
from distillkit.schedules import LinearLR
from distillkit.stages.corpus import make_tokens
from distillkit.stages.target_work import TargetWork
from distillkit.stages.targets import generate_targets
from distillkit.targets import Sampled, StoredTargets, TargetStore
from distillkit.tasks import CausalLM
from distillkit.token_table import TokenTable
from distillkit.training.batch_source import PlannedBatches
from distillkit.training.collation import collator
from distillkit.training.distillation import Distillation
from distillkit.training.job import TrainingJob
from distillkit.training.learning import batch_plan
from distillkit.training.settings import TrainSettings
from distillkit.training.trainer import Trainer
from distillkit.types import LabelSpace

SIZES = (1, 10, 100)
DOCUMENTS, TOKENS = 2_000, 10_000  # of size 1: of the text, and of what the teacher reads
LENGTH, VOCABULARY, STEPS, BATCHES = 64, 2048, 30, 1_000
STAGES = ("text", "capture", "opening", "reading", "training")
TASK = CausalLM(max_length=LENGTH)
Figures = dict[str, dict[str, float]]


@contextmanager
def measured(figures: Figures, name: str) -> Iterator[None]:
    """Note the processor time of what is done here, and the most memory that it took."""
    before, most, ended = own_memory(), [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            most[0] = max(most[0], own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.process_time()
    try:
        yield
    finally:
        spent = time.process_time() - begun
        ended.set()
        watcher.join()
        most[0] = max(most[0], own_memory())
        figures[name] = {"seconds": spent, "MiB": max(0.0, most[0] - before)}


def write_documents(path: Path, count: int) -> None:
    """Lines of JSON, a text of 100 words each."""
    rng, words = random.Random(0), [f"word{i}" for i in range(1000)]
    with path.open("w") as file:
        for number in range(count):
            text = " ".join([f"number{number}", *rng.choices(words, k=99)])
            file.write(json.dumps({"text": text}) + "\n")


def text(figures: Figures, folder: Path, size: int) -> None:
    """A file of lines becomes splits and token ids."""
    vocabulary = {"[UNK]": 0, "[EOS]": 1, **{f"word{i}": i + 2 for i in range(1000)}}
    words = Words(WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", eos_token="[EOS]"
    )
    write_documents(folder / "text.jsonl", DOCUMENTS * size)
    data = Documents(train=str(folder / "text.jsonl"), streaming=True)
    write_documents(folder / "first.jsonl", 200)  # what is imported and begun once is no growth
    for name, one in (
        ("first", Documents(train=str(folder / "first.jsonl"), streaming=True)),
        ("text", data),
    ):
        with measured(figures, "text"):
            prepare_documents(one, cache=folder, out=folder / name)
            corpus = Corpus.open(folder / name, None)
            make_tokens(corpus, tokenizer, TASK, name="train", out=folder / name / "tokens")


def capture(figures: Figures, folder: Path, table: TokenTable, teacher: RandomTeacher) -> None:
    """A teacher's pass over all examples."""
    settings = StoredTargets(codec=Sampled(), batch_tokens=4096)
    with measured(figures, "capture"):
        (folder / "store").mkdir()
        work = TargetWork(teacher, TASK, LabelSpace(()), table, settings, ORIGIN)
        generate_targets(work, out=folder / "store")


def read(figures: Figures, folder: Path, table: TokenTable) -> TargetStore:
    """The store opened, and read in random order."""
    keys = np.array(table.keys)
    with measured(figures, "opening"):
        store = TargetStore.open(folder / "store")
        rows = store.rows(keys)
    order = np.random.default_rng(0).choice(rows, (BATCHES, 16))
    with measured(figures, "reading"):
        for batch in order:
            store.read(batch)
    return store


def train(figures: Figures, folder: Path, table: TokenTable, store: TargetStore) -> None:
    """Some steps of a student."""
    student, tokenizer = llama(VOCABULARY, shape(64, 2, (4, 2), 128)), Tokenizer(VOCABULARY)
    job = TrainingJob(
        task=TASK,
        loss=ForwardKL(temperature=1.0),
        examples=table,
        validation=table,
        store=store,
        make_optimizer=partial(torch.optim.AdamW, lr=1e-3),
        schedule=LinearLR(),
        settings=TrainSettings(steps=STEPS, batch_size=16, keep="last", eval_every=10**9),
        seed=0,
        batch_key="",
    )
    with measured(figures, "training"):
        plan = batch_plan(job, student)
        Trainer(
            student,
            Distillation(job, student, tokenizer, DEVICE),
            PlannedBatches(plan, table.positions, collator(table, tokenizer, DEVICE, block=LENGTH)),
            make_optimizer=job.make_optimizer,
            schedule=job.schedule,
            settings=job.settings,
            seed=0,
            evaluate=lambda model: {"score": 0.0},
            out=folder / "student",
            label="growth",
        ).run()


def measure(size: int) -> dict[str, Any]:
    """All figures of one size, in this process."""
    figures: Figures = {}
    teacher = RandomTeacher(Tokenizer(VOCABULARY), shape(64, 2, (4, 2), 128), torch.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text(figures, folder, size)
        warm = folder / "warm"  # imports, first allocations
        warm.mkdir()
        for out, tokens in ((warm, TOKENS // 4), (folder, TOKENS * size)):
            texts(tokens, LENGTH, VOCABULARY).save(out / "table")
            table = TokenTable.open(out / "table")
            capture(figures, out, table, teacher)
            train(figures, out, table, read(figures, out, table))
        return {"size": size, "tokens": len(table.ids), "examples": len(table), **figures}


def in_a_process(size: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--size", str(size)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def table_rows(measured_sizes: list[dict[str, Any]]) -> Iterator[str]:
    """A row a stage: processor time and memory of each size, and how they grow."""
    sizes = [one["size"] for one in measured_sizes]
    heads = [*(f"{size}x" for size in sizes), f"{sizes[-1]}x / {sizes[0]}x"]
    yield "| | " + " | ".join([*(f"{h}: s" for h in heads), *(f"{h}: MiB" for h in heads)]) + " |"
    yield "| --- |" + " ---: |" * (2 * len(heads))
    for stage in STAGES:
        cells = []
        for unit in ("seconds", "MiB"):
            values = [one[stage][unit] for one in measured_sizes]
            cells += [f"{value:.3g}" for value in values]
            # of less than a MiB or a millisecond the ratio is that of chance
            is_small = values[0] < {"seconds": 1e-3, "MiB": 1.0}[unit]
            cells.append("-" if is_small else f"{values[-1] / values[0]:.3g}")
        yield f"| {stage} | " + " | ".join(cells) + " |"


def plot(measured_sizes: list[dict[str, Any]], path: Path) -> None:
    """Processor time and memory over the size, both axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "growth"
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    sizes = [one["size"] for one in measured_sizes]
    titles = {"seconds": "processor time, s", "MiB": "memory of its own, MiB"}
    for axis, (unit, title) in zip(axes, titles.items(), strict=True):
        for stage in STAGES:
            values = [max(one[stage][unit], 1e-3) for one in measured_sizes]
            axis.plot(sizes, values, marker="o", label=stage)
        axis.set(xscale="log", yscale="log", xlabel="size", title=title)
        axis.set_xticks(sizes, [f"{size}x" for size in sizes])
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, help="only measure this size; figures as JSON")
    parser.add_argument("--plot", type=Path, help="draw the figures here, as SVG")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    chosen = parser.parse_args()
    if chosen.size:
        print(json.dumps(measure(chosen.size)))
        return
    figures = [in_a_process(size) for size in SIZES]
    print("\n".join(table_rows(figures)))
    if chosen.plot:
        plot(figures, chosen.plot)
    if chosen.json:
        chosen.json.write_text(json.dumps([machine(), *figures], indent=1) + "\n")


if __name__ == "__main__":
    main()
