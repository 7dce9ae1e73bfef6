"""The losses against a teacher that a run can choose: they hold the settings of a pure function."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from distillkit.errors import ConfigError, TargetsError
from distillkit.losses.chunked import Known
from distillkit.losses.divergences import bernoulli_kl, divergence, logit_mse
from distillkit.losses.elementwise import (
    NOTHING,
    alpha_beta_terms,
    cross_entropy_terms,
    jsd_terms,
    kl_terms,
    reverse_kl_terms,
    skew_kl_terms,
    skew_reverse_kl_terms,
    total_variation_terms,
)
from distillkit.losses.loss import SoftmaxLoss, SoftTargetLoss
from distillkit.losses.reduction import Reduction
from distillkit.losses.sparse import Rest, sparse_divergence
from distillkit.schedules import Temperature, scheduled
from distillkit.setting_types import Fraction, NonNegative, Share
from distillkit.types import HardLabels, SparseTargets


@dataclass(eq=False, repr=False, kw_only=True)
class LogitMSE(SoftTargetLoss):
    """`logit_mse` to the teacher's logits, mixed with the task's loss on the hard labels."""

    supported_outputs = ("softmax", "bernoulli", "real")

    reduction: Reduction = "mean"

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Squared logits a position."""
        return logit_mse(logits, self.dense_logits(targets), reduction=self.reduction)


@dataclass(eq=False, repr=False, kw_only=True)
class BernoulliKL(SoftTargetLoss):
    """`bernoulli_kl` to the soft targets, mixed with the task's loss on the hard labels."""

    supported_outputs = ("bernoulli",)

    temperature: Temperature = 1.0
    scale_by_t2: bool = True
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._temperature = scheduled("temperature", self.temperature, positive=True)

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Nats a position."""
        return bernoulli_kl(
            logits,
            self.dense_logits(targets),
            temperature=self._temperature(self.progress),
            scale_by_t2=self.scale_by_t2,
            reduction=self.reduction,
        )


@dataclass(eq=False, repr=False, kw_only=True)
class Divergence(SoftmaxLoss):
    """A divergence of the softened softmax from the teacher's, mixed with the hard labels' loss."""

    takes_estimates = False  # whether an unbiased estimate of p gives an unbiased gradient

    rest: Rest = "tail"

    def __post_init__(self) -> None:
        super().__post_init__()
        ruled_out = self.by_class(torch.tensor([NOTHING]), torch.tensor([0.0]))
        if self.rest == "renormalise" and ruled_out.isinf():
            raise ConfigError(
                f"loss.rest = renormalise: {type(self).__name__} is infinite where the teacher "
                "says 0; set loss.rest=tail, which gives the rest what the teacher left over"
            )

    @abstractmethod
    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """The divergence's terms, of log-probabilities."""

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Nats a position."""
        if isinstance(targets, SparseTargets):
            self._check_entries(targets)
            return sparse_divergence(
                self.by_class, logits, targets, rest=self.rest, **self.softmax_settings
            )
        return divergence(
            self.by_class, logits, self.dense_logits(targets), **self.softmax_settings
        )

    def _check_entries(self, targets: SparseTargets) -> None:
        if targets.is_estimate and not self.takes_estimates:
            raise ConfigError(
                f"loss: {type(self).__name__} cannot be estimated from entries drawn at "
                "random, which the store holds; choose loss=forward_kl or "
                "loss=soft_cross_entropy, or a store of the likeliest entries"
            )
        if not self._temperature.is_constant:
            lowest, greatest = self._temperature.span
            raise TargetsError(
                f"loss.temperature: goes through all from {lowest:g} to {greatest:g}, and a store "
                "of a few entries knows the teacher at single ones; set a number, or keep all "
                "of the teacher with targets=stored, or targets=last_hidden of a language model"
            )


@dataclass(eq=False, repr=False, kw_only=True)
class ForwardKL(Divergence):
    """`forward_kl` to the soft targets, mixed with the task's loss on the hard labels.

    Of targets that were drawn at random it is their cross-entropy, which has the same gradient: the
    value is higher by the teacher's entropy, which cannot be told from a few draws.
    """

    takes_estimates = True

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """p log(p / q)."""
        return kl_terms(log_p, log_q)


@dataclass(eq=False, repr=False, kw_only=True)
class SoftCrossEntropy(Divergence):
    """`soft_cross_entropy` to the soft targets, mixed with the task's loss on the hard labels."""

    takes_estimates = True

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """-p log q."""
        return cross_entropy_terms(log_p, log_q)


@dataclass(eq=False, repr=False, kw_only=True)
class ReverseKL(Divergence):
    """`reverse_kl` to the soft targets, mixed with the task's loss on the hard labels."""

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """q log(q / p)."""
        return reverse_kl_terms(log_p, log_q)


@dataclass(eq=False, repr=False, kw_only=True)
class TotalVariation(Divergence):
    """`total_variation` to the soft targets, mixed with the task's loss on the hard labels."""

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """|p - q| / 2."""
        return total_variation_terms(log_p, log_q)


@dataclass(eq=False, repr=False, kw_only=True)
class JSD(Divergence):
    """`jsd` to the soft targets, mixed with the task's loss on the hard labels."""

    beta: Share = 0.5

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """The generalised Jensen-Shannon divergence's."""
        return jsd_terms(log_p, log_q, beta=self.beta)


@dataclass(eq=False, repr=False, kw_only=True)
class SkewKL(Divergence):
    """`skew_kl` to the soft targets, mixed with the task's loss on the hard labels."""

    skew: Fraction = 0.1

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """p log(p / m), m = skew p + (1 - skew) q."""
        return skew_kl_terms(log_p, log_q, skew=self.skew)


@dataclass(eq=False, repr=False, kw_only=True)
class SkewReverseKL(SkewKL):
    """`skew_reverse_kl` to the soft targets, mixed with the task's loss on the hard labels."""

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """q log(q / m), m = (1 - skew) p + skew q."""
        return skew_reverse_kl_terms(log_p, log_q, skew=self.skew)


@dataclass(eq=False, repr=False, kw_only=True)
class AlphaBeta(Divergence):
    """`alpha_beta` to the soft targets, mixed with the task's loss on the hard labels.

    Of a store of a few entries it is that of the buckets, but unless alpha + beta is 1 it is no
    bound on that of the whole: powers of probabilities do not add up.
    """

    alpha: NonNegative = 0.2
    beta: NonNegative = 0.7

    def __post_init__(self) -> None:
        if self.alpha + self.beta == 0:
            raise ConfigError(
                "loss.alpha = 0, loss.beta = 0: one of both must be greater than 0; forward KL is "
                "at (1, 0), reverse KL at (0, 1)"
            )
        super().__post_init__()

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """The alpha-beta divergence's."""
        return alpha_beta_terms(log_p, log_q, alpha=self.alpha, beta=self.beta)
