"""Metrics: pure functions of numpy arrays."""

from distillkit.metrics.settings import EvaluationSettings

__all__ = ["EvaluationSettings"]
