"""Losses: pure functions of logits, and the thin modules that a run chooses among."""

from distillkit.losses.distillation import (
    JSD,
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
from distillkit.losses.reduction import reduce_terms
from distillkit.losses.relation_losses import AttentionKL, AttentionMSE, Relations

__all__ = [
    "JSD",
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
    "LogitLoss",
    "LogitMSE",
    "Loss",
    "Mixture",
    "Patience",
    "Relations",
    "ReverseKL",
    "SkewKL",
    "SkewReverseKL",
    "SoftCrossEntropy",
    "SoftTargetLoss",
    "SoftmaxLoss",
    "TotalVariation",
    "bernoulli_kl",
    "forward_kl",
    "jsd",
    "logit_mse",
    "reduce_terms",
    "reverse_kl",
    "skew_kl",
    "skew_reverse_kl",
    "soft_cross_entropy",
    "total_variation",
]
