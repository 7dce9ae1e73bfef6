"""Tasks: what is predicted, how text becomes features, what counts, how models are loaded."""

from distillkit.tasks.causal_lm import CausalLM
from distillkit.tasks.classification import Classification
from distillkit.tasks.masked_lm import MaskedLM
from distillkit.tasks.multi_label import MultiLabel
from distillkit.tasks.question_answering import QuestionAnswering
from distillkit.tasks.regression import Regression
from distillkit.tasks.sequence import SequenceTask
from distillkit.tasks.task import HeldOut, Loaded, SavedEnsemble, SavedModel, Task
from distillkit.tasks.token_classification import TokenClassification

__all__ = [
    "CausalLM",
    "Classification",
    "HeldOut",
    "Loaded",
    "MaskedLM",
    "MultiLabel",
    "QuestionAnswering",
    "Regression",
    "SavedEnsemble",
    "SavedModel",
    "SequenceTask",
    "Task",
    "TokenClassification",
]
