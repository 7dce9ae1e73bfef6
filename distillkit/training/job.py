"""What a training stage hands to the training loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from distillkit.losses.loss import Loss
from distillkit.schedules import LearningRateSchedule
from distillkit.targets.hidden_states import StoredStates
from distillkit.targets.reader import TargetStore
from distillkit.tasks import Task
from distillkit.tasks.shared_words import Selection
from distillkit.token_table import TokenTable
from distillkit.training.online_teacher import TeacherInLoop
from distillkit.training.settings import TrainSettings
from distillkit.types import LabelSpace

UNNAMED = LabelSpace(())


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training run, but for the model: task, loss, data, soft targets, optimizer, length.

    `store` holds the soft targets of all `examples`, and `states` the teacher's hidden states where
    the loss compares them; or a `teacher` gives both for each batch. None of them where the loss
    takes hard labels only.
    """

    task: Task
    loss: Loss
    examples: TokenTable
    validation: TokenTable
    store: TargetStore | None
    make_optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
    schedule: LearningRateSchedule
    settings: TrainSettings
    seed: int
    batch_key: str  # the setting that the batch size came from, for messages
    teacher: TeacherInLoop | None = None
    states: StoredStates | None = None  # in the store's folder
    labels: LabelSpace = UNNAMED
    selection: Selection | None = None  # positions of a store that has more of them
