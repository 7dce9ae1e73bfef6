"""The losses against a teacher that a run can choose: they hold the settings of a pure function."""

from abc import abstractmethod

import torch
from torch import Tensor

from distillkit.constraints import Fraction, NonNegative, Share
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
from distillkit.losses.schedules import Temperature, Weight, scheduled
from distillkit.losses.sparse import Rest, sparse_divergence
from distillkit.records import HardLabels, SparseTargets


class LogitMSE(SoftTargetLoss):
    """`logit_mse` to the teacher's logits, mixed with the task's loss on the hard labels."""

    takes = ("softmax", "bernoulli", "real")

    def __init__(
        self,
        soft_weight: Weight = 1.0,
        hard_weight: Weight = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(soft_weight, hard_weight)
        self.reduction = reduction

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Squared logits a position."""
        return logit_mse(logits, self.every_logit(targets), reduction=self.reduction)


class BernoulliKL(SoftTargetLoss):
    """`bernoulli_kl` to the soft targets, mixed with the task's loss on the hard labels."""

    takes = ("bernoulli",)

    def __init__(
        self,
        temperature: Temperature = 1.0,
        soft_weight: Weight = 1.0,
        hard_weight: Weight = 0.0,
        scale_by_t2: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(soft_weight, hard_weight)
        self._temperature = scheduled("temperature", temperature, positive=True)
        self.scale_by_t2, self.reduction = scale_by_t2, reduction

    def soft(self, logits: Tensor, targets: Known, labels: HardLabels) -> Tensor:
        """Nats a position."""
        return bernoulli_kl(
            logits,
            self.every_logit(targets),
            temperature=self._temperature(self.progress),
            scale_by_t2=self.scale_by_t2,
            reduction=self.reduction,
        )


class Divergence(SoftmaxLoss):
    """A divergence of the softened softmax from the teacher's, mixed with the hard labels' loss."""

    takes_estimates = False  # whether an unbiased estimate of p gives an unbiased gradient

    def __init__(
        self,
        temperature: Temperature = 1.0,
        soft_weight: Weight = 1.0,
        hard_weight: Weight = 0.0,
        scale_by_t2: bool = True,
        reduction: Reduction = "batchmean",
        rest: Rest = "tail",
    ) -> None:
        super().__init__(temperature, soft_weight, hard_weight, scale_by_t2, reduction)
        self.rest = rest
        ruled_out = self.by_class(torch.tensor([NOTHING]), torch.tensor([0.0]))
        if rest == "renormalise" and ruled_out.isinf():
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
                self.by_class, logits, targets, rest=self.rest, **self.softening
            )
        return divergence(self.by_class, logits, self.every_logit(targets), **self.softening)

    def _check_entries(self, targets: SparseTargets) -> None:
        if targets.is_estimate and not self.takes_estimates:
            raise ConfigError(
                f"loss: {type(self).__name__} cannot be estimated from entries drawn at "
                "random, which the store holds; choose loss=forward_kl or "
                "loss=soft_cross_entropy, or a store of the likeliest entries"
            )
        if not self._temperature.is_constant:
            least, greatest = self._temperature.span
            raise TargetsError(
                f"loss.temperature: goes through all from {least:g} to {greatest:g}, and a store "
                "of a few entries knows the teacher at single ones; set a number, or keep all "
                "of the teacher with targets=stored, or targets=last_hidden of a language model"
            )


class ForwardKL(Divergence):
    """`forward_kl` to the soft targets, mixed with the task's loss on the hard labels.

    Of targets that were drawn at random it is their cross-entropy, which has the same gradient: the
    value is higher by the teacher's entropy, which cannot be told from a few draws.
    """

    takes_estimates = True

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """p log(p / q)."""
        return kl_terms(log_p, log_q)


class SoftCrossEntropy(Divergence):
    """`soft_cross_entropy` to the soft targets, mixed with the task's loss on the hard labels."""

    takes_estimates = True

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """-p log q."""
        return cross_entropy_terms(log_p, log_q)


class ReverseKL(Divergence):
    """`reverse_kl` to the soft targets, mixed with the task's loss on the hard labels."""

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """q log(q / p)."""
        return reverse_kl_terms(log_p, log_q)


class TotalVariation(Divergence):
    """`total_variation` to the soft targets, mixed with the task's loss on the hard labels."""

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """|p - q| / 2."""
        return total_variation_terms(log_p, log_q)


class JSD(Divergence):
    """`jsd` to the soft targets, mixed with the task's loss on the hard labels."""

    def __init__(
        self,
        beta: Share = 0.5,
        temperature: Temperature = 1.0,
        soft_weight: Weight = 1.0,
        hard_weight: Weight = 0.0,
        scale_by_t2: bool = True,
        reduction: Reduction = "batchmean",
        rest: Rest = "tail",
    ) -> None:
        self.beta = float(beta)  # first: the base class tries the divergence
        super().__init__(temperature, soft_weight, hard_weight, scale_by_t2, reduction, rest)

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """The generalised Jensen-Shannon divergence's."""
        return jsd_terms(log_p, log_q, beta=self.beta)


class SkewKL(Divergence):
    """`skew_kl` to the soft targets, mixed with the task's loss on the hard labels."""

    def __init__(
        self,
        skew: Fraction = 0.1,
        temperature: Temperature = 1.0,
        soft_weight: Weight = 1.0,
        hard_weight: Weight = 0.0,
        scale_by_t2: bool = True,
        reduction: Reduction = "batchmean",
        rest: Rest = "tail",
    ) -> None:
        self.skew = float(skew)  # first: the base class tries the divergence
        super().__init__(temperature, soft_weight, hard_weight, scale_by_t2, reduction, rest)

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """p log(p / m), m = skew p + (1 - skew) q."""
        return skew_kl_terms(log_p, log_q, skew=self.skew)


class SkewReverseKL(SkewKL):
    """`skew_reverse_kl` to the soft targets, mixed with the task's loss on the hard labels."""

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """q log(q / m), m = (1 - skew) p + skew q."""
        return skew_reverse_kl_terms(log_p, log_q, skew=self.skew)


class AlphaBeta(Divergence):
    """`alpha_beta` to the soft targets, mixed with the task's loss on the hard labels.

    Of a store of a few entries it is that of the buckets, but unless alpha + beta is 1 it is no
    bound on that of the whole: powers of probabilities do not add up.
    """

    def __init__(
        self,
        alpha: NonNegative = 0.2,
        beta: NonNegative = 0.7,
        temperature: Temperature = 1.0,
        soft_weight: Weight = 1.0,
        hard_weight: Weight = 0.0,
        scale_by_t2: bool = True,
        reduction: Reduction = "batchmean",
        rest: Rest = "tail",
    ) -> None:
        if alpha + beta == 0:
            raise ConfigError(
                "loss.alpha = 0, loss.beta = 0: one of both must be greater than 0; forward KL is "
                "at (1, 0), reverse KL at (0, 1)"
            )
        self.alpha, self.beta = float(alpha), float(beta)  # first: the base class tries them
        super().__init__(temperature, soft_weight, hard_weight, scale_by_t2, reduction, rest)

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """The alpha-beta divergence's."""
        return alpha_beta_terms(log_p, log_q, alpha=self.alpha, beta=self.beta)
