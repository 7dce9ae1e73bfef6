"""Losses: pure functions of logits, and the thin modules that a run chooses among.

They know tensors and settings alone: masks and shifts are a task's, weights of texts a batch's.
"""

from distillkit.losses.akl import AKL, akl
from distillkit.losses.distillation import (
    JSD,
    AlphaBeta,
    BernoulliKL,
    ForwardKL,
    LogitMSE,
    ReverseKL,
    SkewKL,
    SkewReverseKL,
    SoftCrossEntropy,
    TotalVariation,
)
from distillkit.losses.divergences import (
    alpha_beta,
    bernoulli_kl,
    forward_kl,
    jsd,
    logit_mse,
    reverse_kl,
    skew_kl,
    skew_reverse_kl,
    soft_cross_entropy,
    total_variation,
)
from distillkit.losses.dkd import DKD, dkd
from distillkit.losses.hidden_losses import (
    Contrast,
    FlowMSE,
    GramMSE,
    HiddenCosine,
    HiddenMSE,
    Patience,
)
from distillkit.losses.loss import HardLabelLoss, LogitLoss, Loss, SoftmaxLoss, SoftTargetLoss
from distillkit.losses.mixture import Mixture
from distillkit.losses.ranking import ListMLE, RankNet, list_mle, rank_net
from distillkit.losses.reduction import reduce_terms
from distillkit.losses.relation_losses import AttentionKL, AttentionMSE, Relations
from distillkit.losses.standardised_kl import StandardisedKL, standardised_kl
from distillkit.losses.taid import TAID, taid

__all__ = [
    "AKL",
    "DKD",
    "JSD",
    "TAID",
    "AlphaBeta",
    "AttentionKL",
    "AttentionMSE",
    "BernoulliKL",
    "Contrast",
    "FlowMSE",
    "ForwardKL",
    "GramMSE",
    "HardLabelLoss",
    "HiddenCosine",
    "HiddenMSE",
    "ListMLE",
    "LogitLoss",
    "LogitMSE",
    "Loss",
    "Mixture",
    "Patience",
    "RankNet",
    "Relations",
    "ReverseKL",
    "SkewKL",
    "SkewReverseKL",
    "SoftCrossEntropy",
    "SoftTargetLoss",
    "SoftmaxLoss",
    "StandardisedKL",
    "TotalVariation",
    "akl",
    "alpha_beta",
    "bernoulli_kl",
    "dkd",
    "forward_kl",
    "jsd",
    "list_mle",
    "logit_mse",
    "rank_net",
    "reduce_terms",
    "reverse_kl",
    "skew_kl",
    "skew_reverse_kl",
    "soft_cross_entropy",
    "standardised_kl",
    "taid",
    "total_variation",
]
