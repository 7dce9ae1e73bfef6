"""Losses: pure functions of logits, and the thin modules that a run chooses among."""

from distillkit.losses.distillation import ForwardKL, HardLabelLoss, LogitMSE, SoftCrossEntropy
from distillkit.losses.divergences import forward_kl, logit_mse, soft_cross_entropy
from distillkit.losses.reduction import reduce_terms

__all__ = [
    "ForwardKL",
    "HardLabelLoss",
    "LogitMSE",
    "SoftCrossEntropy",
    "forward_kl",
    "logit_mse",
    "reduce_terms",
    "soft_cross_entropy",
]
