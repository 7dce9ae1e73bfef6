"""Losses of relations between a text's tokens: attention scores and maps, products of vectors.

`mask` [texts, tokens] says which tokens there are. What padding has to do with is never counted, so
a text's value does not depend on what else is in its batch.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from distillkit.losses.elementwise import NOTHING, kl_terms
from distillkit.losses.reduction import at_least_float32, unit

Vectors = Float[Tensor, "texts tokens width"]
Relation = Float[Tensor, "texts heads tokens tokens"]
Mask = Bool[Tensor, "texts tokens"]
Values = Float[Tensor, "texts"]


def relation(
    left: Vectors, right: Vectors, *, heads: int
) -> Float[Tensor, "texts {heads} tokens tokens"]:
    """left right^T / sqrt(d) of vectors that are cut into `heads` parts of width d each.

    With a layer's queries, keys and its own heads these are its attention scores. The number of
    relation heads is free, so that models of other widths and heads can be compared: Wang et al.
    2021 (MiniLM v2), https://arxiv.org/abs/2012.15828, section 3.1.
    """

    def split(vectors: Tensor) -> Tensor:
        return at_least_float32(vectors).unflatten(-1, (heads, -1)).transpose(1, 2)

    left_heads, right_heads = split(left), split(right)
    return left_heads @ right_heads.transpose(-1, -2) / math.sqrt(left_heads.shape[-1])


def relation_mse(student: Relation, teacher: Relation, mask: Mask) -> Values:
    """The squared difference of attention scores before the softmax, mean over heads and pairs.

    Jiao et al. 2020 (TinyBERT), https://arxiv.org/abs/1909.10351, equation 7. Here the mean is over
    the n * n pairs of a text's tokens. Its official code (task_distill.py) sets scores of padded
    keys to 0, but not those of padded queries, and divides by the S * S pairs of the padded batch:
    a text's value is n / S times the mean over n keys and S queries, padding, which no model looks
    at, among them. Both are the same where nothing is padded; of texts of 25 tokens in batches that
    are padded to S = 128 the code's loss is about a fifth of this one.
    """
    difference = at_least_float32(student) - at_least_float32(teacher)
    return _pair_mean(difference.square().mean(dim=1), mask)


def relation_kl(student: Relation, teacher: Relation, mask: Mask) -> Values:
    """KL(teacher || student) of the softmax over the keys, in nats, mean over heads and queries.

    Of attention scores and of value relations: Wang et al. 2020 (MiniLM),
    https://arxiv.org/abs/2002.10957, sections 3.1 and 3.2. Of any relation: Wang et al. 2021
    (MiniLM v2), https://arxiv.org/abs/2012.15828, section 3.1.
    """
    # of a text without tokens nothing is ruled out, nor counted: a softmax of nothing is no number
    padding = (~mask & mask.any(dim=-1, keepdim=True))[:, None, None, :]
    log_p = F.log_softmax(at_least_float32(teacher).masked_fill(padding, NOTHING), dim=-1)
    log_q = F.log_softmax(at_least_float32(student).masked_fill(padding, NOTHING), dim=-1)
    return text_mean(kl_terms(log_p, log_q).sum(dim=-1).mean(dim=1), mask)


def gram_mse(student: Vectors, teacher: Vectors, mask: Mask) -> Values:
    """The squared difference of h_i h_j / d, mean over pairs of tokens; the widths d may differ.

    What the configurations of TextBrewer call mmd: Yang et al. 2020,
    https://arxiv.org/abs/2002.12620.
    """

    def gram(hidden: Tensor) -> Tensor:
        wide = at_least_float32(hidden)
        return wide @ wide.transpose(-1, -2) / hidden.shape[-1]

    return _pair_mean((gram(student) - gram(teacher)).square(), mask)


def flow_mse(
    student: tuple[Vectors, Vectors], teacher: tuple[Vectors, Vectors], mask: Mask
) -> Values:
    """The squared difference of two layers' Gram matrix, mean over its entries.

    The matrix is the mean of a b^T over a text's tokens, of two layers' hidden states a and b: how
    features flow from one to the other. Yim et al. 2017 (FSP), "A Gift from Knowledge
    Distillation", section 3. Student and teacher need the same widths.
    """
    share = mask / mask.sum(dim=-1, keepdim=True).clamp_min(1)

    def flow(layers: tuple[Tensor, Tensor]) -> Tensor:
        first, second = (at_least_float32(layer) for layer in layers)
        return (first * share.to(first.dtype).unsqueeze(-1)).transpose(-1, -2) @ second

    return (flow(student) - flow(teacher)).square().mean(dim=(-1, -2))


def contrast(
    student: Float[Tensor, "texts width"],
    teacher: Float[Tensor, "texts width"],
    *,
    temperature: float = 0.1,
) -> Values:
    """-log softmax of the cosine to the text's own teacher among those to all texts of the batch.

    In nats, divided by the `temperature`: the student's text must be told from the others by what
    the teacher makes of them. Tian et al. 2020 (CRD), https://arxiv.org/abs/1910.10699, in its
    InfoNCE form with the batch as negatives. The only loss here that depends on what else is in a
    micro-batch.
    """
    of_student, of_teacher = unit(student), unit(teacher)
    own = torch.arange(len(of_student), device=of_student.device)
    return F.cross_entropy(of_student @ of_teacher.T / temperature, own, reduction="none")


def text_mean(values: Float[Tensor, "texts tokens"], mask: Mask) -> Values:
    """The mean over the tokens that there are."""
    return values.masked_fill(~mask, 0.0).sum(dim=-1) / mask.sum(dim=-1).clamp_min(1)


def _pair_mean(values: Float[Tensor, "texts tokens tokens"], mask: Mask) -> Values:
    pairs = mask.unsqueeze(-1) & mask.unsqueeze(-2)
    return values.masked_fill(~pairs, 0.0).sum(dim=(-1, -2)) / pairs.sum(dim=(-1, -2)).clamp_min(1)
