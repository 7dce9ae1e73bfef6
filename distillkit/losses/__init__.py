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
from distillkit.losses.loss import HardLabelLoss
from distillkit.losses.reduction import reduce_terms

__all__ = [
    "JSD",
    "BernoulliKL",
    "ForwardKL",
    "HardLabelLoss",
    "LogitMSE",
    "ReverseKL",
    "SkewKL",
    "SkewReverseKL",
    "SoftCrossEntropy",
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
