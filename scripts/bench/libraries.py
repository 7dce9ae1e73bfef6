#!/usr/bin/env python3
"""distillkit's loss over a head beside the same divergence in other libraries, in one process.

    dense        all logits at once, plain PyTorch: log_softmax in float32
    distillkit   in chunks
    trl          TRL's chunked divergence (trl.kernels)
    trl, dense   TRL's loss of GKD on all logits
    liger        Liger's fused linear JSD (Triton)
    liger, compiled   Liger's chunked loss under torch.compile

Forward KL to a teacher given by its hidden states and head ("all"), the mean over positions;
distillkit and the dense way also of the 64 likeliest entries ("few"). Told are the peak of loss
and backward pass above what was there before, the median time of a step, and how far the gradients
of hidden states and head are from float64 on the same (rounded) inputs. A library that is not
installed, or cannot run here, is left out and named.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from chunked import FULL, SMALL, Size, chunked_loss, dense_loss, student, teacher
from timing import device, machine, seconds
from torch import Tensor

from distillkit.losses import chunked
from distillkit.losses.heads import FLOAT32_OUT
from distillkit.types import HiddenTargets, SparseTargets, Targets

DEVICE = device()
CHECKED = 256  # positions whose gradient is compared with float64
LossOf = Callable[[Tensor, Tensor, Targets], Tensor]


def trl(hidden: Tensor, weight: Tensor, targets: Targets) -> Tensor:
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    assert isinstance(targets, HiddenTargets)
    values, _ = ChunkedDivergenceFunction.apply(
        hidden, weight, None, targets.hidden, targets.head.weight, None, 0.0
    )
    return values.mean()


def trl_dense(hidden: Tensor, weight: Tensor, targets: Targets) -> Tensor:
    from trl.experimental.gkd.gkd_trainer import GKDTrainer

    assert isinstance(targets, HiddenTargets)
    with torch.no_grad():
        said = targets.hidden @ targets.head.weight.T
    total = GKDTrainer.generalized_jsd_loss(
        (hidden @ weight.T)[None], said[None], beta=0.0, reduction="sum"
    )
    return total / len(hidden)


def liger(hidden: Tensor, weight: Tensor, targets: Targets) -> Tensor:
    from liger_kernel.transformers.fused_linear_jsd import LigerFusedLinearJSD

    assert isinstance(targets, HiddenTargets)
    loss = LigerFusedLinearJSD(jsd_beta=0.0)
    return loss(hidden, weight, targets.hidden, targets.head.weight, None)


def liger_compiled(hidden: Tensor, weight: Tensor, targets: Targets) -> Tensor:
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    assert isinstance(targets, HiddenTargets)
    loss = LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=0.0)
    labels = torch.zeros(len(hidden), dtype=torch.long, device=hidden.device)
    return loss(hidden, weight, targets.hidden, targets.head.weight, labels)


SIDES: dict[str, dict[str, LossOf]] = {
    "few": {"dense": dense_loss, "distillkit": chunked_loss},
    "all": {
        "dense": dense_loss,
        "distillkit": chunked_loss,
        "trl": trl,
        "trl, dense": trl_dense,
        "liger": liger,
        "liger, compiled": liger_compiled,
    },
}


@cache
def placed(case: str, size: Size, dtype: torch.dtype) -> tuple[Tensor, Tensor, Targets]:
    """Hidden states, weights and what a teacher said, where the loss is computed."""
    hidden, weight = (tensor.to(DEVICE, dtype) for tensor in student(size))
    targets = teacher(case, size, weight)
    if isinstance(targets, HiddenTargets):
        return hidden, weight, HiddenTargets(targets.hidden.to(DEVICE, dtype), targets.head)
    assert isinstance(targets, SparseTargets)
    log_z = {t: z.to(DEVICE) for t, z in targets.log_z.items()}
    return (
        hidden,
        weight,
        SparseTargets(targets.ids.to(DEVICE), targets.log_probs.to(DEVICE), log_z),
    )


def step(loss: LossOf, hidden: Tensor, weight: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """The gradients of hidden states and weights."""
    hidden, weight = hidden.detach().requires_grad_(), weight.detach().requires_grad_()
    by_hidden, by_weight = torch.autograd.grad(loss(hidden, weight, targets), (hidden, weight))
    return by_hidden, by_weight


def peak(call: Callable[[], object]) -> float | None:
    """GiB that a call holds at most above what was there; None without a GPU to ask."""
    if DEVICE.type != "cuda":
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 2**30


def errors(loss: LossOf, case: str, size: Size, dtype: torch.dtype) -> list[float]:
    """Relative errors of both gradients against the dense loss in float64."""
    few = Size(min(size.positions, CHECKED), size.vocabulary, size.hidden, size.chunk_mib)
    hidden, weight, targets = placed(case, few, dtype)
    found = step(loss, hidden, weight, targets)
    exact = step(dense_loss, hidden.double(), weight.double(), widened(targets))
    return [float((a.double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]


def widened(targets: Targets) -> Targets:
    """The same in float64."""
    if isinstance(targets, HiddenTargets):
        head = replace(targets.head, weight=targets.head.weight.double())
        return HiddenTargets(targets.hidden.double(), head)
    assert isinstance(targets, SparseTargets)
    return SparseTargets(targets.ids, targets.log_probs.double(), targets.log_z)


def measure(case: str, side: str, size: Size, dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """All figures of one side."""
    loss = SIDES[case][side]
    hidden, weight, targets = placed(case, size, dtype)

    def once() -> None:
        step(loss, hidden, weight, targets)

    once()  # kernels are compiled
    return {
        "gib": peak(once),
        "milliseconds": 1e3 * statistics.median(seconds(once) for _ in range(rounds)),
        "errors": errors(loss, case, size, dtype),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help=f"{FULL}; else {SMALL}")
    parser.add_argument(
        "--size", type=int, nargs=3, metavar=("POSITIONS", "CLASSES", "HIDDEN"), help="or this"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    chosen = parser.parse_args()
    size = FULL if chosen.full else SMALL
    if chosen.size:
        size = Size(*chosen.size, size.chunk_mib)
    dtype = getattr(torch, chosen.precision)
    chunked.CHUNK_BYTES = int(size.chunk_mib * 2**20)
    figures: dict[str, Any] = {"machine": machine(), "float32_out": FLOAT32_OUT}
    print(f"{size.positions:,} positions x {size.vocabulary:,} classes, hidden {size.hidden:,}")
    for case, sides in SIDES.items():
        dense: dict[str, Any] = {}
        for side in sides:
            try:
                found = measure(case, side, size, dtype, chosen.rounds)
            except Exception as error:  # of a library that is not ours, and of any kind
                if side in ("dense", "distillkit"):
                    raise
                print(f"{case:4} {side:16} left out: {type(error).__name__}: {str(error)[:200]}")
                continue
            dense = dense or found
            figures[f"{case}: {side}"] = found
            memory = "-"
            if found["gib"] is not None:
                memory = f"{found['gib']:6.2f} GiB ({found['gib'] / dense['gib']:.3f})"
            by_hidden, by_weight = found["errors"]
            print(
                f"{case:4} {side:16} {memory}  {found['milliseconds']:8.1f} ms "
                f"({found['milliseconds'] / dense['milliseconds']:.3f})  gradients "
                f"{by_hidden:.1e}, {by_weight:.1e}",
                flush=True,
            )
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
