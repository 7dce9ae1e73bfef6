"""How models are measured."""

from dataclasses import dataclass

from distillkit.constraints import Fraction, PositiveInt


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured on the test split, and how often.

    `ece_bins` equal-width bins of confidence; `latency_examples` single forward passes;
    `throughput_batches` batches of `batch_size`; a bootstrap interval at `level` from `resamples`.
    """

    ece_bins: PositiveInt = 15
    latency_examples: PositiveInt = 200
    throughput_batches: PositiveInt = 12
    batch_size: PositiveInt = 32
    resamples: PositiveInt = 2000
    level: Fraction = 0.95
