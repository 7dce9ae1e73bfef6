"""Tasks: what is predicted, how text becomes features, what counts, how models are loaded."""

from distillkit.tasks.causal_lm import CausalLM
from distillkit.tasks.classification import Classification
from distillkit.tasks.regression import Regression
from distillkit.tasks.sequence import SequenceTask
from distillkit.tasks.task import Loaded, SavedModel, Task

__all__ = [
    "CausalLM",
    "Classification",
    "Loaded",
    "Regression",
    "SavedModel",
    "SequenceTask",
    "Task",
]
