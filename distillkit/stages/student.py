"""Stage: soft targets (or hard labels alone) -> a student."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.artifacts.digests import file_sha256
from distillkit.artifacts.versions import VERSIONS
from distillkit.console.progress import say
from distillkit.models.configs import check_positions
from distillkit.models.vocabularies import fit_to_tokenizer
from distillkit.stages.teacher import TeacherModel
from distillkit.students import FromTeacher, PretrainedStudent, ScratchStudent, Student
from distillkit.students.embeddings import start_from_teacher
from distillkit.students.from_teacher import make
from distillkit.students.heads import order_outputs
from distillkit.tasks import Task, identity_of
from distillkit.token_table import TokenTable
from distillkit.training.learning import MODEL, TrainingJob, collator, learn
from distillkit.training.settings import TrainSettings
from distillkit.types import LabelSpace

NOT_CONTENT = ("log_every", "checkpoint_seconds")  # settings that change no weight


PACKING = 2  # the version of how it is told which models keep packed examples apart


def inputs(
    student: Student,
    task: Task,
    *,
    source: str,
    tokenizer: str,
    teacher: str,
    texts: Callable[[], list[str]],
    targets: str | None,
    data: list[str],
    loss: dict[str, Any],
    optimizer: dict[str, Any],
    scheduler: dict[str, Any],
    settings: TrainSettings,
    seed: int,
) -> dict[str, Any]:
    """What decides a student's weights.

    `teacher` enters only where the student starts from its weights, and `texts` (all that it is
    asked about) where how often they have a word plays a part; `targets` is None for a control,
    which learns from labels alone.
    """
    shape = asdict(student)
    shape.pop("path", None)
    start: Any = teacher if starts_from_teacher(student) else None
    if counts_words(student):
        start = {"teacher": teacher, "counts": texts()}
    return {
        "version": VERSIONS["student"],
        "student": shape,
        "source": source,
        "tokenizer": tokenizer,
        "start": start,
        **identity_of(task),
        **task.feature_inputs(held_out=False),
        **task.scoring,
        "packs": PACKING if task.packs else False,
        "targets": targets,
        "data": data,
        "loss": loss,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "trainer": {k: v for k, v in asdict(settings).items() if k not in NOT_CONTENT},
        "seed": seed,
    }


def start_inputs(
    student: Student, task: Task, *, teacher: str, data: list[str], seed: int
) -> dict[str, Any]:
    """What decides a student before training."""
    shape = asdict(student)
    shape.pop("path", None)
    return {
        "version": VERSIONS["initial student"],
        "student": shape,
        "start": teacher,
        **identity_of(task),
        **task.feature_inputs(held_out=False),
        "data": data,
        "seed": seed,
        "untrained": True,
    }


def starts_from_teacher(student: Student) -> bool:
    """Whether the student's first weights are made from the teacher's."""
    return isinstance(student, FromTeacher) or counts_words(student)


def counts_words(student: Student) -> bool:
    """Whether the student starts from the teacher's word embeddings, frequent words first."""
    return isinstance(student, ScratchStudent) and student.embeddings == "pca"


def make_student(
    student: Student,
    task: Task,
    space: LabelSpace,
    teacher: Callable[[], TeacherModel],
    calibration: Callable[[], TokenTable],
    texts: Callable[[], TokenTable],
    *,
    folder: str,
    seed: int,
    tokenizer: Any = None,
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """The student before training, and its tokenizer.

    `folder` is where its weights come from, and `tokenizer` what it will read with (None:
    that of the folder); the same seed gives the same weights.
    `teacher` is called only if the student starts from its weights, `calibration` (training
    examples) only if these are chosen by what they do, and `texts` (all that the teacher is asked
    about) only if they are reduced by how often words occur.
    """
    key = "student.path" if isinstance(student, PretrainedStudent) else "student.tokenizer"
    if tokenizer is None:
        tokenizer = task.load_tokenizer(folder, key=key, trust_remote_code=trust_remote_code)
    torch.manual_seed(seed)
    if isinstance(student, PretrainedStudent):
        model = task.load_body(folder, space, key=key, trust_remote_code=trust_remote_code)
        if task.one_tokenizer:
            added = fit_to_tokenizer(model, tokenizer)
            if added:
                say(f"student: its vocabulary grows by {added:,} tokens that the teacher has")
    elif isinstance(student, FromTeacher):
        loaded = teacher().load(task, space)
        model = make(student, loaded.model, _batches(student, calibration, loaded.tokenizer))
        if loaded.order is not None:
            order_outputs(model, loaded.order, space)
    else:
        model = task.new_model(student.config, space, tokenizer, key="student.config")
    task.agree_on_padding(model, tokenizer, key=f"student = {type(model).__name__}")
    check_positions(model, task.max_length, whose="the student")
    if counts_words(student):
        start_from_teacher(
            model,
            _teacher_embeddings(teacher(), task, space),
            counts=torch.from_numpy(np.bincount(texts().ids, minlength=len(tokenizer))),
        )
    return model, tokenizer


def _batches(
    student: FromTeacher, calibration: Callable[[], TokenTable], tokenizer: Any
) -> Iterator[dict[str, Any]]:
    """The calibration examples one by one: without padding, every token is a real one."""
    examples = calibration()
    collate = collator(examples, tokenizer, torch.device("cpu"))
    count = min(student.calibration_examples, len(examples))
    for index in np.linspace(0, len(examples) - 1, count).astype(int):
        yield dict(collate(np.array([index])).inputs)


def train_student(
    model: Any, tokenizer: Any, job: TrainingJob, *, out: Path, label: str
) -> dict[str, Any]:
    """Train a student by a `TrainingJob` and save it under `out`."""
    return learn(model, tokenizer, job, out=out, label=label)


def keep_untrained(model: Any, tokenizer: Any, task: Task, *, out: Path) -> dict[str, Any]:
    """Save a student as it is before training under `out`."""
    task.save(model, tokenizer, out / MODEL)
    return {
        "parameters": model.num_parameters(),
        "weights_sha256": file_sha256(out / MODEL / "model.safetensors"),
    }


def _teacher_embeddings(teacher: TeacherModel, task: Task, space: LabelSpace) -> torch.Tensor:
    """The teacher's word embeddings; the teacher itself is gone when this returns."""
    model = teacher.load(task, space).model
    table: torch.Tensor = model.get_input_embeddings().weight.detach().clone()
    return table
