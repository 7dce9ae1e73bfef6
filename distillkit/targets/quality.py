"""How far what a store keeps is from what the teacher said."""

from typing import Any

import torch
from torch import Tensor

from distillkit.losses.divergences import log_sides
from distillkit.losses.elementwise import cross_entropy_terms, kl_terms
from distillkit.losses.heads import project
from distillkit.targets.codecs.logits import TeacherOutput, chunks, count
from distillkit.types import (
    AveragedTargets,
    Distribution,
    HiddenTargets,
    SoftTargets,
    SparseTargets,
    Targets,
)

Sums = dict[str, float]


@torch.inference_mode()
def quality(
    output: TeacherOutput, targets: Targets, distribution: Distribution = "softmax"
) -> dict[str, float]:
    """Means over positions of the teacher's answers `output` against the targets `targets` of them.

    `entropy` of the teacher, in nats: the least soft cross-entropy that any student can reach;
    `kept_mass` of the ids that are kept; `ids` kept a position; `kl` of what was said from what is
    decoded, over the kept ids and one bucket of all others; `gradient_bias`, the L1 distance of the
    expected target from the teacher's distribution, which bounds the bias of the expected gradient
    of a cross-entropy with respect to the logits, where the rest is renormalised away (0 for an
    unbiased estimate); `gradient_noise`, the L2 norm of one estimate's error, likewise. Of labels
    of which several may hold, `entropy` and `label_kl` are sums over the labels; of real values
    nothing is measured.
    """
    if distribution == "real":
        return {}
    sums: Sums = {}
    for part, logits in chunks(output):
        if distribution == "bernoulli":
            sums_of_part = _of_labels(logits.double(), targets.part(part))
        else:
            log_p = torch.log_softmax(logits.double(), dim=-1)
            sums_of_part = _of_chunk(log_p, targets.part(part))
            sums_of_part["entropy"] = -(log_p.exp() * log_p).nan_to_num(0.0).sum(-1)
        for name, values in sums_of_part.items():
            sums[name] = sums.get(name, 0.0) + float(values.sum())
    positions = max(1, count(output))
    return {"positions": count(output)} | {name: value / positions for name, value in sums.items()}


def _of_chunk(log_p: Tensor, targets: Targets) -> dict[str, Tensor]:
    p = log_p.exp()
    assert not isinstance(targets, AveragedTargets), "a store holds the average itself"
    if not isinstance(targets, SparseTargets):
        log_q = torch.log_softmax(_logits(targets).double(), dim=-1)
        return {
            "ids": torch.full_like(p[:, 0], p.shape[1]),
            "kept_mass": torch.ones_like(p[:, 0]),
            "kl": (p * (log_p - log_q)).nan_to_num(0.0).sum(-1),
            "gradient_bias": (p - log_q.exp()).abs().sum(-1),
        }
    log_kept = targets.log_probs.double().to(log_p.device)
    ids, used = targets.ids.to(log_p.device), torch.isfinite(log_kept)
    p_kept = p.gather(-1, ids) * used
    sums = {"ids": used.sum(-1).double(), "kept_mass": p_kept.sum(-1)}
    if targets.is_estimate:
        sums["gradient_bias"] = torch.zeros_like(p[:, 0])
        error = p.scatter_add(-1, ids, -log_kept.exp() * used)
        sums["gradient_noise"] = error.norm(dim=-1)
        return sums
    q = log_kept.exp() * used
    rest_p, rest_q = _complement(p_kept), _complement(q)
    kept_kl = torch.where(used & (p_kept > 0), p_kept * (p_kept.log() - log_kept), 0.0).sum(-1)
    rest_kl = torch.where(rest_p > 0, rest_p * (rest_p.log() - rest_q.clamp(min=1e-30).log()), 0.0)
    sums["kl"] = kept_kl + rest_kl
    sums["gradient_bias"] = p.scatter_add(-1, ids, -q / q.sum(-1, keepdim=True)).abs().sum(-1)
    return sums


def _of_labels(logits: Tensor, targets: Targets) -> dict[str, Tensor]:
    assert isinstance(targets, SoftTargets | HiddenTargets), "other codecs keep no such outputs"
    log_p, log_q = log_sides(logits, 1.0), log_sides(_logits(targets).double(), 1.0)
    return {
        "entropy": cross_entropy_terms(log_p, log_p).sum(dim=(-1, -2)),
        "label_kl": kl_terms(log_p, log_q).sum(dim=(-1, -2)),
    }


def _complement(targets: Tensor) -> Tensor:
    return (1.0 - targets.sum(-1)).clamp(min=0.0)


def _logits(targets: SoftTargets | HiddenTargets) -> Tensor:
    if isinstance(targets, HiddenTargets):
        return project(targets.hidden, targets.head)
    return targets.logits


def described(means: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) lines of a quality report, for a terminal."""
    texts = {
        "entropy": ("mean entropy", "{:.4f} nats a position: the floor of a soft cross-entropy"),
        "ids": ("ids kept", "{:,.1f} a position"),
        "kept_mass": ("kept mass", "{:.4f}"),
        "kl": ("KL(said || decoded)", "{:.2e} nats over the kept ids and the rest"),
        "label_kl": ("KL(said || decoded)", "{:.2e} nats, the sum over the labels"),
        "gradient_bias": ("bias of the gradient", "{:.4f} at most (L1), the rest renormalised"),
        "gradient_noise": ("noise of the gradient", "{:.4f} (L2) of one estimate"),
    }
    lines = [
        (title, text.format(means[name])) for name, (title, text) in texts.items() if name in means
    ]
    return [("quality", f"of {means['positions']:,} positions at capture"), *lines]
