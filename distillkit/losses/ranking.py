"""Only the order counts: the teacher's likeliest classes, ranked by the student as by the teacher.

Both losses look at the `top` likeliest classes, which a store of the top k holds too.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from distillkit.errors import ConfigError
from distillkit.losses.chunked import Known
from distillkit.losses.divergences import Logits, Values
from distillkit.losses.elementwise import NOTHING, kl_terms, log_sum
from distillkit.losses.loss import SoftmaxLoss, SoftTargetLoss
from distillkit.losses.reduction import Reduction, at_least_float32, per_position
from distillkit.setting_types import PositiveInt
from distillkit.types import HardLabels, SparseTargets

Ranked = tuple[Tensor, Tensor]  # classes [*batch, top], likeliest first, and their scores


def rank_net(
    student: Logits,
    teacher: Logits,
    *,
    top: int = 10,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reduction: Reduction = "batchmean",
) -> Values:
    """Over all pairs of classes, the KL of sigmoid(z_i - z_j): which of both is the likelier.

    Burges et al. 2005 (RankNet), https://doi.org/10.1145/1102351.1102363, section 3, with the
    teacher's probability of the order as target; less its entropy, so that it is 0 where both
    agree. Both differences are divided by the temperature. A class that the teacher rules out is in
    no pair, nor are two that the student rules out. "mean" is over the pairs, these too.
    """
    return _of_pairs(student, _ranked(teacher, top), temperature, scale_by_t2, reduction)


def list_mle(
    student: Logits, teacher: Logits, *, top: int = 10, reduction: Reduction = "batchmean"
) -> Values:
    """Minus the log-likelihood in nats that classes drawn from the student come in that order.

    Xia et al. 2008 (ListMLE), https://doi.org/10.1145/1390156.1390306, of the first `top` places:
    at each place the softmax is over all classes that have had none yet. A class that the teacher
    rules out has no place; where the student rules out all that are left, their order costs
    nothing. "mean" is over the places. It has no temperature: of the teacher it sees the order
    alone.
    """
    return _of_order(student, _ranked(teacher, top), reduction)


def _ranked(scores: Tensor, top: int) -> Ranked:
    likeliest = scores.topk(min(top, scores.shape[-1]), dim=-1)
    return likeliest.indices, likeliest.values


def _of_pairs(
    student: Logits, ranked: Ranked, temperature: float, scale_by_t2: bool, reduction: Reduction
) -> Values:
    ids, scores = ranked
    i, j = torch.triu_indices(ids.shape[-1], ids.shape[-1], offset=1, device=ids.device)
    of_ids = at_least_float32(student).gather(-1, ids)
    scores = scores.to(of_ids.dtype)
    by_student = (of_ids[..., i] - of_ids[..., j]) / temperature
    by_teacher = (scores[..., i] - scores[..., j]) / temperature
    # a class that the teacher rules out, or an entry that is not used, is in no pair
    unknown = ~by_teacher.isfinite() | by_student.isnan()
    by_teacher = by_teacher.masked_fill(unknown, 0.0)
    by_student = by_student.masked_fill(unknown, 0.0)
    values = kl_terms(F.logsigmoid(by_teacher), F.logsigmoid(by_student))
    values = values + kl_terms(F.logsigmoid(-by_teacher), F.logsigmoid(-by_student))
    over: Reduction = reduction if len(i) else "batchmean"  # no pair has no mean
    values = per_position(values.masked_fill(unknown, 0.0), reduction=over)
    return values * (temperature**2 if scale_by_t2 else 1.0)


def _of_order(student: Logits, ranked: Ranked, reduction: Reduction) -> Values:
    ids, scores = ranked
    wide, placed = at_least_float32(student), scores != NOTHING
    of_ids = wide.gather(-1, ids).masked_fill(~placed, NOTHING)
    elsewhere = log_sum(wide.masked_fill(_named(wide, ids, placed), NOTHING))
    candidates = torch.cat([of_ids, elsewhere], dim=-1).unsqueeze(-2)
    had = torch.ones(ids.shape[-1], candidates.shape[-1], device=ids.device).tril(-1).bool()
    candidates = candidates.masked_fill(had, NOTHING).masked_fill(~placed.unsqueeze(-1), 0.0)
    whole = log_sum(candidates).squeeze(-1)
    values = (whole - of_ids).masked_fill(~placed | (whole == NOTHING), 0.0)
    return per_position(values, reduction=reduction)


def _named(student: Tensor, ids: Tensor, placed: Tensor) -> Tensor:
    """Which classes have a place; an entry that is not used leaves the class it names alone."""
    marks = torch.zeros_like(student)
    return marks.scatter_reduce(-1, ids, placed.to(marks.dtype), reduce="amax") > 0


@dataclass(eq=False, repr=False, kw_only=True)
class RankNet(SoftmaxLoss):
    """`rank_net` to the teacher, mixed with the task's loss on the hard labels."""

    top: PositiveInt = 10

    def __post_init__(self) -> None:
        if self.top < 2:
            raise ConfigError(
                f"loss.top = {self.top}: there is no pair of classes; set it to 2 or more"
            )
        super().__post_init__()

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Nats a position."""
        return _of_pairs(logits, _places(self, targets, self.top), **self.softmax_settings)


@dataclass(eq=False, repr=False, kw_only=True)
class ListMLE(SoftTargetLoss):
    """`list_mle` of the teacher's order, mixed with the task's loss on the hard labels."""

    supported_outputs = SoftmaxLoss.supported_outputs
    least_outputs = 2

    top: PositiveInt = 10
    reduction: Reduction = "batchmean"

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Nats a position."""
        return _of_order(logits, _places(self, targets, self.top), self.reduction)


def _places(loss: SoftTargetLoss, targets: Known, top: int) -> Ranked:
    """The teacher's likeliest classes; of a store of the top k at most the k that it has."""
    if not isinstance(targets, SparseTargets):
        return _ranked(loss.dense_logits(targets), top)
    if targets.is_estimate:
        raise ConfigError(
            f"loss: {type(loss).__name__} needs the teacher's order, which entries drawn at random "
            "do not tell; choose loss=forward_kl, or a store of the likeliest entries with "
            "targets=top_k"
        )
    places, scores = _ranked(targets.log_probs, top)
    return targets.ids.gather(-1, places), scores
