#!/usr/bin/env python3
"""What a loss on hidden states costs beside the dense way, as ratios within one run.

    memory     peak of loss and backward pass above what was there before, chunked / dense
                                                                      (wanted: at most 0.10)
    time       seconds of loss and backward pass, chunked / dense     (wanted: at most 1.10)
    gradient   |float32 - float64| / |float64| of hidden states and head, chunked
                                                                      (wanted: at most 1e-3)

The loss is forward KL, against the 64 likeliest entries and the tail ("few"), or against a teacher
given by its hidden states ("all"). The dense way is plain PyTorch: logits, log_softmax, autograd.
Each step runs in a process of its own, which tells its peak; both sides take turns, and the median
of the rounds' ratios counts. Where the dense way would need more than `--most` GiB, its memory is
taken from the line through two smaller steps, and times are compared at the larger of these.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from distillkit.losses import ForwardKL, chunked, reduce_terms
from distillkit.types import (
    HardLabels,
    Head,
    HiddenOutputs,
    HiddenTargets,
    SparseTargets,
    Targets,
)

K = 64
CHECKED = 256  # positions whose gradient is compared with float64
# how many tensors [positions, vocabulary] the dense way holds at its peak, about
DENSE_TENSORS = {"few": 3, "all": 5}


@dataclass(frozen=True)
class Size:
    positions: int
    vocabulary: int
    hidden: int
    chunk_mib: float


SMALL, FULL = Size(2048, 32_768, 256, 8.0), Size(8192, 151_936, 1024, 128.0)


def student(size: Size) -> tuple[Tensor, Tensor]:
    """Hidden states and weights that give logits with a standard deviation of 2."""
    torch.manual_seed(0)
    hidden = torch.randn(size.positions, size.hidden)
    weight = torch.randn(size.vocabulary, size.hidden).mul_(2 * size.hidden**-0.5)
    return hidden, weight


def teacher(case: str, size: Size, weight: Tensor) -> Targets:
    """Random entries with 0.9 of the mass, or hidden states for the student's own head."""
    torch.manual_seed(1)
    if case == "all":
        return HiddenTargets(
            torch.randn(size.positions, size.hidden), Head(weight.detach(), size.vocabulary)
        )
    ids = torch.randint(size.vocabulary // K, (size.positions, K))
    ids += torch.arange(K) * (size.vocabulary // K)  # no id twice
    log_p = torch.randn(size.positions, K).mul_(2).log_softmax(dim=-1) + torch.tensor(0.9).log()
    return SparseTargets(ids, log_p, {1.0: torch.zeros(size.positions)})


def dense_loss(hidden: Tensor, weight: Tensor, targets: Targets) -> Tensor:
    """Forward KL as one would write it down; from logits in bfloat16 on in float32."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    if isinstance(targets, HiddenTargets):
        with torch.no_grad():
            said = targets.hidden @ targets.head.weight.T
            log_p = F.log_softmax(said, dim=-1, dtype=wide)
            del said
        log_q = F.log_softmax(hidden @ weight.T, dim=-1, dtype=wide)
        return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    assert isinstance(targets, SparseTargets)
    log_q = F.log_softmax(hidden @ weight.T, dim=-1, dtype=wide).gather(-1, targets.ids)
    rest_p = 1 - targets.log_probs.exp().sum(dim=-1)
    rest_q = 1 - log_q.exp().sum(dim=-1)
    kept = (targets.log_probs.exp() * (targets.log_probs - log_q)).sum(dim=-1)
    return (kept + rest_p * (rest_p.log() - rest_q.log())).mean()


def chunked_loss(hidden: Tensor, weight: Tensor, targets: Targets) -> Tensor:
    count, device = len(hidden), hidden.device
    unknown = torch.zeros(count, dtype=torch.bool, device=device)
    labels = HardLabels(torch.zeros(count, device=device), unknown, None)
    terms = ForwardKL()(HiddenOutputs(hidden, Head(weight, len(weight))), targets, labels)
    return reduce_terms(terms, count=count)[0]


LOSSES = {"dense": dense_loss, "chunked": chunked_loss}


def one_step(side: str, case: str, size: Size) -> dict[str, float]:
    """Peak bytes and seconds of one step, in this process."""
    chunked.CHUNK_BYTES = int(size.chunk_mib * 2**20)
    warm = Size(8, 1024, 64, 1.0)
    for measured in (warm, size):
        hidden, weight = (tensor.requires_grad_() for tensor in student(measured))
        targets = teacher(case, measured, weight)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, begun = resident("VmRSS"), time.perf_counter()
        LOSSES[side](hidden, weight, targets).backward()
        seconds = time.perf_counter() - begun
    return {"bytes": resident("VmHWM") - before, "seconds": seconds}


def resident(what: str) -> int:
    """Bytes of memory that this process has (VmRSS), or had at most (VmHWM).

    Linux only. getrusage would not do: its peak goes on from the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith(f"{what}:"))
    return int(kib) * 1024


def apart(side: str, case: str, size: Size) -> dict[str, float]:
    """`one_step` in a process of its own."""
    order = json.dumps({"side": side, "case": case, "size": asdict(size)})
    done = subprocess.run(
        [sys.executable, __file__, "--step", order], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def gradient_error(case: str, size: Size) -> float:
    """The larger of both relative errors against plain autograd in float64."""
    chunked.CHUNK_BYTES = int(size.chunk_mib * 2**20)
    few = Size(min(size.positions, CHECKED), size.vocabulary, size.hidden, size.chunk_mib)
    gradients = []
    for side, dtype in (("chunked", torch.float32), ("dense", torch.float64)):
        hidden, weight = (tensor.to(dtype).requires_grad_() for tensor in student(few))
        targets = teacher(case, few, weight)
        if isinstance(targets, HiddenTargets):
            targets = HiddenTargets(targets.hidden.to(dtype), targets.head)
        loss = LOSSES[side](hidden, weight, targets)
        gradients.append([g.double() for g in torch.autograd.grad(loss, (hidden, weight))])
    errors = [(a - b).norm() / b.norm() for a, b in zip(*gradients, strict=True)]
    return float(max(errors))


def measure(case: str, size: Size, rounds: int, most: float) -> dict[str, float]:
    """All figures of one case."""
    fits = int(most * 2**30 / (DENSE_TENSORS[case] * 4 * size.vocabulary))
    beside = Size(min(size.positions, fits), size.vocabulary, size.hidden, size.chunk_mib)
    dense, ours = [], []
    for _ in range(rounds):
        dense.append(apart("dense", case, beside))
        ours.append(apart("chunked", case, beside))
    dense_bytes = statistics.median(step["bytes"] for step in dense)
    ours_bytes = statistics.median(step["bytes"] for step in ours)
    if beside.positions < size.positions:
        half = Size(beside.positions // 2, size.vocabulary, size.hidden, size.chunk_mib)
        slope = (dense_bytes - apart("dense", case, half)["bytes"]) / (
            beside.positions - half.positions
        )
        dense_bytes += slope * (size.positions - beside.positions)
        ours_bytes = apart("chunked", case, size)["bytes"]
    times = [a["seconds"] / b["seconds"] for a, b in zip(ours, dense, strict=True)]
    return {
        "memory_ratio": ours_bytes / dense_bytes,
        "chunked_gib": ours_bytes / 2**30,
        "dense_gib": dense_bytes / 2**30,
        "dense_measured_at": beside.positions,
        "time_ratio": statistics.median(times),
        "time_lowest": min(times),
        "time_highest": max(times),
        "dense_seconds": statistics.median(step["seconds"] for step in dense),
        "gradient_error": gradient_error(case, size),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help=f"{FULL}; else {SMALL}")
    parser.add_argument("--case", choices=["few", "all", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=float, default=16.0, help="GiB that the dense way may take")
    parser.add_argument("--chunk-mib", type=float, help="logits held at a time")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        order = json.loads(chosen.step)
        print(json.dumps(one_step(order["side"], order["case"], Size(**order["size"]))))
        return
    size = FULL if chosen.full else SMALL
    if chosen.chunk_mib:
        size = Size(size.positions, size.vocabulary, size.hidden, chosen.chunk_mib)
    cases = ["few", "all"] if chosen.case == "both" else [chosen.case]
    figures: dict[str, dict[str, object]] = {
        "size": asdict(size),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
        },
    }
    print(f"{size.positions:,} positions x {size.vocabulary:,} classes, hidden {size.hidden:,}")
    for case in cases:
        found = measure(case, size, chosen.rounds, chosen.most)
        figures[case] = dict(found)
        print(
            f"{case:4}  memory {found['chunked_gib']:.2f} / {found['dense_gib']:.2f} GiB = "
            f"{found['memory_ratio']:.3f}   time {found['time_ratio']:.3f} "
            f"[{found['time_lowest']:.3f}, {found['time_highest']:.3f}] at "
            f"{found['dense_measured_at']:,} positions   gradient {found['gradient_error']:.1e}"
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
