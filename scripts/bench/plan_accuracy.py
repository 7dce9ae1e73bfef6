#!/usr/bin/env python3
"""What `distillkit plan` predicts / what real trainings take, on this machine, in one run.

    time      processor time of a process in a training of 1 and of 2 processes (DDP over gloo): the
              plan's operations, divided by the speed that a training of another shape has just
              reached ("calibrated"), or by the plan's own share of a probe of products ("probed")
    memory    of a process at its peak, beside Python: the plan's, for the same two

Calibration, probe and trainings take turns in every round, so that a slow moment of the machine
falls on all; the median of the rounds counts. Wanted: within 25 %. Models are new Llamas, texts
random; PyTorch has one thread.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from growth import measured
from language_speed import Tokenizer, llama, shape, texts
from timing import machine, ratio, shown

from distillkit.losses import HardLabelLoss
from distillkit.models.hardware import SHARE, probe
from distillkit.models.shapes import Shape, shape_of
from distillkit.planning import cost_model
from distillkit.planning.cost_model import Job
from distillkit.planning.scale import Cluster, Training
from distillkit.schedules import LinearLR
from distillkit.tasks import CausalLM
from distillkit.training.batch_source import PlannedBatches
from distillkit.training.batching import PackedPlan
from distillkit.training.collation import collator
from distillkit.training.distillation import Distillation
from distillkit.training.distributed import compute_device
from distillkit.training.job import TrainingJob
from distillkit.training.learning import batch_plan
from distillkit.training.settings import TrainSettings
from distillkit.training.trainer import Trainer

LENGTH, VOCABULARY, STEPS, ROWS = 128, 8192, 12, 8
SHAPES = {
    "reference": shape(192, 4, (6, 2), 512),
    "narrow": shape(128, 6, (4, 2), 384),
    "wide": shape(384, 4, (6, 2), 1024),
}
TASK = CausalLM(max_length=LENGTH)


def train(name: str, steps: int, folder: Path) -> dict[str, float]:
    """Seconds and bytes of a training in this process, after a step that gets it warm."""
    table, tokenizer = texts(40_000, LENGTH, VOCABULARY), Tokenizer(VOCABULARY)
    found: dict[str, dict[str, float]] = {}
    for label, count in (("warm", 2), ("steps", steps)):
        with measured(found, label):
            student = llama(VOCABULARY, SHAPES[name])
            job = TrainingJob(
                task=TASK,
                loss=HardLabelLoss(),
                examples=table,
                validation=table,
                store=None,
                make_optimizer=partial(torch.optim.AdamW, lr=1e-3, fused=True),
                schedule=LinearLR(),
                settings=TrainSettings(steps=count, batch_size=ROWS, keep="last", eval_every=10**9),
                seed=0,
                batch_key="",
            )
            plan = batch_plan(job, student)
            collate = collator(table, tokenizer, compute_device(), block=LENGTH)
            Trainer(
                student,
                Distillation(job, student, tokenizer, compute_device()),
                PlannedBatches(plan, table.positions, collate),
                make_optimizer=job.make_optimizer,
                schedule=job.schedule,
                settings=job.settings,
                seed=0,
                evaluate=lambda model: {"score": 0.0},
                out=folder / label,
                label="plan",
            ).run()
    # of the first: what it freed, the second takes again
    return {"seconds": found["steps"]["seconds"], "bytes": found["warm"]["MiB"] * 2**20}


def planned(name: str, steps: int, processes: int) -> tuple[Shape, float, float]:
    """(the shape, operations of a process, bytes of a process) as the plan has them."""
    table = texts(40_000, LENGTH, VOCABULARY)
    model_shape = shape_of(llama(VOCABULARY, SHAPES[name]))
    plan = PackedPlan(table.lengths, size=ROWS, seed=0, block=LENGTH)
    batches = [plan.rows(step) for step in range(1, steps + 1)]
    work = cost_model.work(table.lengths, table.positions, batches)
    flops = cost_model.TRAINING * cost_model.forward_flops(model_shape, work)
    options: dict[str, Any] = {"heads": 6, "states": 2, "narrow": False, "keeps_scores": False}
    memory = cost_model.learning_memory(model_shape, work, **options)
    if processes == 1:
        return model_shape, flops, sum(memory.values())
    job = Job("student", "", "", memory=memory, states=2, micro_rows=ROWS, sample_rows=ROWS)
    training = Training(job, model_shape, Cluster(processes, 1.0, 1e12))
    return model_shape, flops / processes, training.held("ddp").total


def in_processes(name: str, steps: int, processes: int) -> dict[str, float]:
    """What a training takes in each of so many new processes, their mean."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command += [__file__, "--train", name, "--steps", str(steps)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [*command, "--out", folder],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        found = [json.loads(path.read_text()) for path in Path(folder).glob("rank-*.json")]
    assert len(found) == processes
    return {key: sum(one[key] for one in found) / processes for key in found[0]}


def probed(model_shape: Shape) -> float:
    """FLOP/s of this machine as the plan takes them, in processor time."""
    begun, spent = time.perf_counter(), time.process_time()
    rows = LENGTH * ROWS
    rate = probe(
        rows,
        model_shape.hidden,
        model_shape.neurons,
        dtype=torch.float32,
        device=torch.device("cpu"),
        seconds=0.5,
    )
    return SHARE * rate * (time.perf_counter() - begun) / (time.process_time() - spent)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--train", choices=SHAPES, help="only train this; figures under --out")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.train:
        rank = os.environ.get("RANK", "0")
        found = train(chosen.train, chosen.steps, chosen.out)
        (chosen.out / f"rank-{rank}.json").write_text(json.dumps(found))
        return
    predicted: dict[str, list[float]] = {}
    real: dict[str, list[float]] = {}
    for _ in range(chosen.rounds):
        _, reference_flops, _ = planned("reference", chosen.steps, 1)
        rate = reference_flops / in_processes("reference", chosen.steps, 1)["seconds"]
        for name in ("narrow", "wide"):
            for processes in (1, 2):
                model_shape, flops, size = planned(name, chosen.steps, processes)
                taken = in_processes(name, chosen.steps, processes)
                for key, value, part in (
                    ("time, calibrated", flops / rate, "seconds"),
                    ("time, probed", flops / probed(model_shape), "seconds"),
                    ("memory", size, "bytes"),
                ):
                    label = f"{key}: {name}, {processes} process{'es' * (processes > 1)}"
                    predicted.setdefault(label, []).append(value)
                    real.setdefault(label, []).append(taken[part])
    figures: dict[str, Any] = {"machine": machine()}
    for label in sorted(predicted):
        figures[label] = ratio(predicted[label], real[label])
        print(f"{label:<42} {shown(figures[label])}")
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
