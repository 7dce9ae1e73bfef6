"""Metrics: pure functions of numpy arrays, and what each is called.

`metric.Metric` says what a new one has to do. Models are run on held-out text in `evaluation`.
"""

from distillkit.metrics.metric import Metric
from distillkit.metrics.settings import EvaluationSettings

__all__ = ["EvaluationSettings", "Metric"]
