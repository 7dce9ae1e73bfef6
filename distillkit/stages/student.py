"""Stage: soft targets (or hard labels alone) -> a student."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from distillkit.engine.settings import TrainSettings
from distillkit.errors import ConfigError
from distillkit.records import LabelSpace
from distillkit.stages.learning import Recipe, learn
from distillkit.stages.teacher import TeacherModel
from distillkit.students import PretrainedStudent, ScratchStudent, Student
from distillkit.students.embeddings import start_from_teacher
from distillkit.tasks import Task
from distillkit.tasks.models import load_classifier, load_tokenizer, new_classifier

NOT_CONTENT = ("log_every", "checkpoint_seconds")  # settings that change no weight


def inputs(
    student: Student,
    task: Task,
    *,
    source: str,
    tokenizer: str,
    teacher: str,
    targets: str | None,
    data: list[str],
    loss: dict[str, Any],
    optimizer: dict[str, Any],
    scheduler: dict[str, Any],
    settings: TrainSettings,
    seed: int,
) -> dict[str, Any]:
    """What decides a student's weights.

    `teacher` enters only where the student starts from its embeddings; `targets` is None for a
    control, which learns from labels alone.
    """
    shape = asdict(student)
    shape.pop("path", None)
    starts_from_teacher = isinstance(student, ScratchStudent) and student.embeddings == "pca"
    return {
        "version": 1,
        "student": shape,
        "source": source,
        "tokenizer": tokenizer,
        "start": teacher if starts_from_teacher else None,
        "task": type(task).__name__,
        "max_length": task.max_length,
        "targets": targets,
        "data": data,
        "loss": loss,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "trainer": {k: v for k, v in asdict(settings).items() if k not in NOT_CONTENT},
        "seed": seed,
    }


def make_student(
    student: Student,
    task: Task,
    space: LabelSpace,
    teacher: Callable[[], TeacherModel],
    *,
    folder: str,
    seed: int,
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """The student before training, and its tokenizer.

    `folder` is where its weights or tokenizer come from; the same seed gives the same weights.
    `teacher` is called only if the student starts from its embeddings.
    """
    key = "student.path" if isinstance(student, PretrainedStudent) else "student.tokenizer"
    tokenizer = load_tokenizer(folder, key=key, trust_remote_code=trust_remote_code)
    torch.manual_seed(seed)
    if isinstance(student, PretrainedStudent):
        model = load_classifier(
            folder,
            space,
            key=key,
            problem_type=task.problem_type,
            fresh_head=True,
            trust_remote_code=trust_remote_code,
        )
        return model, tokenizer
    model = new_classifier(
        student.config, space, tokenizer, key="student.config", problem_type=task.problem_type
    )
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and task.max_length > longest:
        raise ConfigError(
            f"task.max_length = {task.max_length}: the student has positions for {longest} tokens"
        )
    if student.embeddings == "pca":
        start_from_teacher(
            model, _teacher_embeddings(teacher(), task, space), tokens=len(tokenizer)
        )
    return model, tokenizer


def train_student(
    model: Any, tokenizer: Any, recipe: Recipe, *, out: Path, label: str
) -> dict[str, Any]:
    """Train a student by `recipe` and save it under `out`."""
    return learn(model, tokenizer, recipe, out=out, label=label)


def _teacher_embeddings(teacher: TeacherModel, task: Task, space: LabelSpace) -> torch.Tensor:
    """The teacher's word embeddings; the teacher itself is gone when this returns."""
    model, _, _ = teacher.load(task, space)
    table: torch.Tensor = model.get_input_embeddings().weight.detach().clone()
    return table
