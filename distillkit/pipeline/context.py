"""What a run is made from: its config, the objects built from it, its workspace and seed.

It imports no other file of `pipeline`: all of them may import it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from distillkit.artifacts.run_records import RunRecord
from distillkit.artifacts.workspace import Workspace
from distillkit.data import Augmentation, Data
from distillkit.losses import Loss
from distillkit.metrics import EvaluationSettings
from distillkit.students import Student
from distillkit.targets import StoredTargets, TargetProvider
from distillkit.tasks import Task
from distillkit.teachers import Teacher
from distillkit.training.settings import TrainSettings


@dataclass(frozen=True, eq=False)
class RunContext:
    """One run, or one phase of it: its config, the objects built from it, and its workspace.

    `makes` names the kinds of artifact that may be made, not only found. Of a run in phases, the
    student of `phase` starts from that of `before`.
    """

    cfg: DictConfig
    makes: tuple[str, ...]
    phase: str  # empty where the run has no phases
    before: "RunContext | None"
    workspace: Workspace
    record: RunRecord
    seed: int
    trust_remote_code: bool
    teacher: Teacher
    student: Student
    data: Data
    augmentation: Augmentation
    task: Task
    trainer: TrainSettings
    evaluation: EvaluationSettings
    loss: Loss
    optimizer: Callable[..., Any]  # parameter groups -> optimizer
    schedule: Any
    targets: TargetProvider

    @property
    def given_store(self) -> str | None:
        """The folder of the target store that the config names, if it names one."""
        return self.targets.path

    @property
    def stores_targets(self) -> bool:
        """Whether the student learns from a store, not from a teacher in its training loop."""
        return bool(self.loss.needs_teacher) and self.targets.keeps_store

    @property
    def store_settings(self) -> StoredTargets:
        """The settings of the target store, of a run whose targets are kept in one."""
        assert isinstance(self.targets, StoredTargets), "an online teacher's answers are not kept"
        return self.targets

    @property
    def has_transfer(self) -> bool:
        """Whether there is a transfer set."""
        return self.data.has_transfer or self.augmentation.copies > 0

    @property
    def phases(self) -> "list[RunContext]":
        """This phase after those whose students it starts from, the first one first."""
        return [*(self.before.phases if self.before else []), self]
