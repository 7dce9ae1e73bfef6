"""Losses: pure functions of logits, and the thin modules that a run chooses among."""

from distillkit.losses.distillation import (
    JSD,
    ForwardKL,
    LogitMSE,
    ReverseKL,
    SkewKL,
    SkewReverseKL,
    SoftCrossEntropy,
    TotalVariation,
)
from distillkit.losses.divergences import (
    forward_kl,
    jsd,
    logit_mse,
    reverse_kl,
    skew_kl,
    skew_reverse_kl,
    soft_cross_entropy,
    total_variation,
)
from distillkit.losses.loss import HardLabelLoss, LogitLoss, Loss, SoftmaxLoss, SoftTargetLoss
from distillkit.losses.mixture import Mixture
from distillkit.losses.reduction import reduce_terms

__all__ = [
    "JSD",
    "ForwardKL",
    "HardLabelLoss",
    "LogitLoss",
    "LogitMSE",
    "Loss",
    "Mixture",
    "ReverseKL",
    "SkewKL",
    "SkewReverseKL",
    "SoftCrossEntropy",
    "SoftTargetLoss",
    "SoftmaxLoss",
    "TotalVariation",
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
