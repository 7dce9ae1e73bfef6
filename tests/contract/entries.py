"""A few entries of a teacher's distribution, as a store would keep them."""

import math

import torch
from torch import Tensor

from distillkit.types import HardLabels, SparseTargets

TEMPERATURES = (1.0, 0.5, 4.0)


def entries_of(logits: Tensor, ids: Tensor) -> SparseTargets:
    """The entries `ids` [positions, k] of logits [positions, vocabulary]."""
    log_p = logits.log_softmax(dim=-1)
    log_z = {t: (log_p / t).logsumexp(dim=-1) for t in TEMPERATURES}
    return SparseTargets(ids, log_p.gather(-1, ids), log_z)


def top_entries(logits: Tensor, k: int) -> SparseTargets:
    """The top k."""
    return entries_of(logits, logits.topk(k, dim=-1).indices)


def drawn_entries(logits: Tensor, draws: int, *, temperature: float, seed: int) -> SparseTargets:
    """Classes drawn with replacement, each with its share of the draws."""
    p = (logits / temperature).softmax(dim=-1)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.multinomial(p, draws, replacement=True, generator=generator)
    counts = torch.zeros_like(p).scatter_add_(-1, ids, torch.ones(ids.shape, dtype=p.dtype))
    shares, ids = (counts / draws).topk(int((counts > 0).sum(dim=-1).max()), dim=-1)
    ids = ids.masked_fill(shares == 0, 0)
    log_z = {temperature: torch.zeros(len(p), dtype=p.dtype)}
    return SparseTargets(ids, shares.log(), log_z, is_estimate=True)


def with_unused_entries(targets: SparseTargets, count: int) -> SparseTargets:
    """The same, with entries that are not used among the others."""
    ids, log_probs = targets.ids, targets.log_probs
    ids = torch.cat([ids, ids.new_zeros(len(ids), count)], dim=-1).roll(1, dims=-1)
    nothing = log_probs.new_full((len(ids), count), -math.inf)
    log_probs = torch.cat([log_probs, nothing], dim=-1).roll(1, dims=-1)
    return SparseTargets(ids, log_probs, targets.log_z, targets.is_estimate)


def no_labels(count: int) -> HardLabels:
    """Positions of which no label is known."""
    return HardLabels(torch.zeros(count), torch.zeros(count, dtype=torch.bool), None)
