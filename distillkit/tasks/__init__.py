"""Tasks: what is predicted, what counts as a loss and a score, and label order; one file a task.

Text becomes token ids in `tokenize`; models are loaded, shaped and saved in `models`.
"""

from distillkit.tasks.causal_lm import CausalLM
from distillkit.tasks.classification import Classification
from distillkit.tasks.masked_lm import MaskedLM
from distillkit.tasks.multi_label import MultiLabel
from distillkit.tasks.question_answering import QuestionAnswering
from distillkit.tasks.regression import Regression
from distillkit.tasks.sequence import SequenceTask
from distillkit.tasks.task import HeldOut, Task, identity_of
from distillkit.tasks.token_classification import TokenClassification

__all__ = [
    "CausalLM",
    "Classification",
    "HeldOut",
    "MaskedLM",
    "MultiLabel",
    "QuestionAnswering",
    "Regression",
    "SequenceTask",
    "Task",
    "TokenClassification",
    "identity_of",
]
