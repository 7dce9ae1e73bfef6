"""Several teachers as one: the weighted mean of what each of them says at a position."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.losses.heads import project
from distillkit.losses.reduction import at_least_float32
from distillkit.types import AveragedTargets, Distribution, HiddenTargets


def averaged(
    members: Sequence[Float[Tensor, "*batch classes"]],
    shares: Sequence[float],
    distribution: Distribution,
) -> Float[Tensor, "*batch classes"]:
    """Logits of the mean over `members`, weighted by `shares`, which sum to 1.

    Probabilities are averaged, not logits (an arithmetic, not a geometric mean: Hinton et al. 2015,
    https://arxiv.org/abs/1503.02531, section 2, name both): of a softmax the log of the mean, which
    nothing more is to be normalised of; of labels by themselves the log-odds of the mean; of real
    values their mean. The mean is at temperature 1. A loss that softens it takes
    softmax(log(mean) / T), not the mean of what each member says at T. In float32 at least.
    """
    wide = [at_least_float32(logits) for logits in members]
    if distribution == "real":
        return torch.stack([s * v for s, v in zip(shares, wide, strict=True)]).sum(dim=0)
    if distribution == "bernoulli":
        holds = _log_mean([torch.nn.functional.logsigmoid(v) for v in wide], shares)
        fails = _log_mean([torch.nn.functional.logsigmoid(-v) for v in wide], shares)
        return holds - fails
    return _log_mean([torch.log_softmax(v, dim=-1) for v in wide], shares)


def averaged_logits(targets: AveragedTargets) -> Tensor:
    """The logits [positions, classes] of the mean of several teachers' targets."""
    logits = [
        project(member.hidden, member.head) if isinstance(member, HiddenTargets) else member.logits
        for member in targets.members
    ]
    return averaged(logits, targets.shares, targets.distribution)


def _log_mean(logs: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """log of the weighted mean of what `logs` are the logs of; nothing is lost where it is tiny."""
    weighted = [values + math.log(share) for values, share in zip(logs, shares, strict=True)]
    return torch.logsumexp(torch.stack(weighted), dim=0)
