"""Metrics: pure functions of numpy arrays, and what each is called.

Models are run on held-out text in `evaluation`.
"""

from distillkit.metrics.settings import EvaluationSettings

__all__ = ["EvaluationSettings"]
