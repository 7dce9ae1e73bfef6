"""Exact draws at the cost of rounded logits: these propose, the exact ones accept or not."""

from dataclasses import replace
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor

from distillkit.fast_paths import FastPath
from distillkit.losses.heads import finish, has_bfloat16
from distillkit.targets.codecs.logits import TeacherOutput, check_mass, chunks, rounded
from distillkit.targets.codecs.sampling import Draws, draw_ids
from distillkit.types import Head, HiddenOutputs

DIGITS = 8  # of a bfloat16's binary fraction
SLACK = 1e-3  # of a bound: float32 sums in another order differ in their last digits


def are_cheaper(output: TeacherOutput) -> TypeGuard[HiddenOutputs]:
    """Whether to draw so: on a processor that multiplies bfloat16.

    Measured with AVX512, where PyTorch has no such product with float32 sums. A GPU has it, and the
    exact logits cost no more there. With AMX PyTorch has it as well, and nothing was measured.
    """
    return (
        isinstance(output, HiddenOutputs)
        and output.hidden.dtype == torch.bfloat16
        and output.hidden.device.type == "cpu"
        and has_bfloat16(output.hidden.device)
        and FastPath.REJECTION_SAMPLING.is_enabled
    )


def draw(output: HiddenOutputs, draws: Draws, count: int, temperature: float) -> Tensor:
    """int64 [positions, count], ascending: ids drawn from the softmax of the exact logits.

    Rejection sampling (von Neumann 1951). The head's product comes out rounded to bfloat16, which
    takes half the time of one in float32; no logit is off by more than M, half the distance of two
    such numbers where the position's largest is. An id that was drawn from the rounded logits r is
    accepted with the probability exp(l - r - M) <= 1; its exact logit l is one scalar product of
    bfloat16 factors with float32 sums. So what is accepted has the distribution of l, and the
    first `count` of a position are taken. Where fewer are (logits in the hundreds), or where a
    processor rounds more than it should, the position is drawn anew from all its exact logits.
    """
    weight = output.head.weight[: output.head.size].to(torch.bfloat16)
    narrow = HiddenOutputs(output.hidden, replace(output.head, weight=weight))
    proposed = count + count // 2 + 8
    columns = 2 * proposed + count
    ids = torch.empty((len(output.hidden), count), dtype=torch.int64)
    anew = torch.empty(len(output.hidden), dtype=torch.bool)
    for part, raw in rounded(narrow):
        uniforms = torch.from_numpy(draws.uniforms(columns, part))
        proposed_ids, gap, bound = _proposals(
            output.hidden[part], narrow.head, raw, uniforms[:, :proposed], temperature
        )
        accepted = uniforms[:, proposed : 2 * proposed].log() < gap - bound
        accepted &= accepted.cumsum(dim=1) <= count
        enough = (accepted.sum(dim=1) == count) & (gap.abs() <= (1 + SLACK) * bound).all(dim=1)
        ids[part][enough] = proposed_ids[accepted & enough[:, None]].view(-1, count)
        anew[part] = ~enough
    rejected = anew.nonzero()[:, 0]
    for part, logits in chunks(HiddenOutputs(output.hidden[rejected], narrow.head)):
        rows = [
            draws.uniforms(columns, slice(i, i + 1))[:, -count:] for i in rejected[part].tolist()
        ]
        weights = (logits / temperature).softmax(dim=-1)
        ids[rejected[part]], _ = draw_ids(weights, torch.from_numpy(np.concatenate(rows)))
    return ids.sort(dim=-1).values


def _proposals(
    hidden: Tensor, head: Head, raw: Tensor, uniforms: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(ids, l - r of each), both [chunk, proposals], and the bound M [chunk, 1] on it."""
    wide = raw.float()
    _, exponent = torch.maximum(wide.amax(dim=1), -wide.amin(dim=1)).frexp()  # aminmax is slow
    bound = torch.exp2(exponent.float() - DIGITS - 1) * abs(head.scale) / temperature
    if head.bias is not None:
        wide += head.bias[: head.size]
    logits = finish(wide, head)
    if temperature != 1:  # a pass over the whole buffer
        logits = logits / temperature
    ids, whole = draw_ids(logits.softmax(dim=-1), uniforms)
    check_mass(whole)
    exact = _exact(hidden, head, ids) / temperature
    return ids, exact - logits.gather(1, ids), bound[:, None]


def _exact(hidden: Tensor, head: Head, ids: Tensor) -> Tensor:
    """The logits of some ids [chunk, ids], each different one computed once."""
    row = torch.arange(len(ids))[:, None].expand_as(ids)
    places, inverse = (row * head.size + ids).unique(return_inverse=True)
    of_row, of_id = places // head.size, places % head.size
    raw = (hidden[of_row].float() * head.weight[of_id].float()).sum(dim=1)
    if head.bias is not None:
        raw += head.bias[of_id]
    return finish(raw, head)[inverse]
