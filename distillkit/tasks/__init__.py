"""Tasks: what is predicted, how labels are read, what counts, how well it went."""

from distillkit.tasks.classification import Classification
from distillkit.tasks.regression import Regression

Task = Classification | Regression

__all__ = ["Classification", "Regression", "Task"]
