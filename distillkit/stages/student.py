"""Stage: soft targets (or hard labels alone) -> a student."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.artifacts.digests import file_sha256
from distillkit.artifacts.versions import VERSIONS
from distillkit.console.progress import say
from distillkit.models import adapters
from distillkit.models.configs import check_positions
from distillkit.stages.teacher import TeacherModel
from distillkit.students import Lora, Student, StudentContext
from distillkit.tasks import Task, identity_of
from distillkit.token_table import TokenTable
from distillkit.training.collation import collator
from distillkit.training.job import TrainingJob
from distillkit.training.learning import MODEL, learn
from distillkit.training.settings import TrainSettings
from distillkit.types import LabelSpace

NOT_CONTENT = ("log_every", "checkpoint_seconds")  # settings that change no weight
WHERE_SET = ("compile", "gradient_checkpointing", "attn_implementation")  # that change rounding


ADAPTER = "adapter"  # its folder, beside that of the model


@dataclass(frozen=True, slots=True)
class AdapterWork:
    """LoRA as a student's settings say it; `base` names its model where it is written, too."""

    lora: Lora
    base: str | None
    seed: int

    def put_into(self, model: Any, task: Task, out: Path, label: str) -> Callable[[Any], None]:
        """Freeze the model, and put adapters in; return what ends the training of one."""
        adapters.check_installed("student.adapter = lora")
        whole = model.num_parameters()
        trained, layers = adapters.attach(
            model,
            rank=self.lora.r,
            alpha=self.lora.alpha,
            dropout=self.lora.dropout,
            targets=self.lora.targets,
            trains_head=task.family == "sequence",
            seed=self.seed,
        )
        say(
            f"{label}: LoRA of rank {self.lora.r} in {layers} layers; {trained:,} of "
            f"{whole:,} parameters are trained"
        )

        def finish(model: Any) -> None:
            if self.base is not None:
                shutil.rmtree(out / ADAPTER, ignore_errors=True)  # of a killed run
                adapters.save_adapter(model, out / ADAPTER, base=self.base)
            adapters.merge(model)

        return finish


PACKING = 2  # the version of how it is told which models keep packed examples apart


def fingerprint_fields(
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
    start: Any = teacher if student.starts_from_teacher else None
    if student.counts_words:
        start = {"teacher": teacher, "counts": texts()}
    return {
        "version": VERSIONS["student"],
        "student": student.fingerprint_fields(),
        "source": source,
        "tokenizer": tokenizer,
        "start": start,
        **identity_of(task),
        **task.feature_fields(held_out=False),
        **task.scoring,
        "packs": PACKING if task.packs else False,
        "targets": targets,
        "data": data,
        "loss": same_numbers(loss),
        "optimizer": same_numbers(optimizer),
        "scheduler": same_numbers(scheduler),
        "trainer": {
            k: v
            for k, v in asdict(settings).items()
            if k not in NOT_CONTENT and (v or k not in WHERE_SET)
        },
        "seed": seed,
    }


def same_numbers(value: Any) -> Any:
    """Settings in which 2.0 is 2: however a number is written, it decides the same weights."""
    if isinstance(value, list):
        return [same_numbers(element) for element in value]
    if isinstance(value, dict):
        return {name: same_numbers(element) for name, element in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def start_fields(
    student: Student, task: Task, *, teacher: str, data: list[str], seed: int
) -> dict[str, Any]:
    """What decides a student before training."""
    return {
        "version": VERSIONS["initial student"],
        "student": student.fingerprint_fields(),
        "start": teacher,
        **identity_of(task),
        **task.feature_fields(held_out=False),
        "data": data,
        "seed": seed,
        "untrained": True,
    }


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
    key, _ = student.weights_source or ("student.tokenizer", "")
    if tokenizer is None:
        tokenizer = task.load_tokenizer(folder, key=key, trust_remote_code=trust_remote_code)
    context = StudentContext(
        task=task,
        labels=space,
        key=key,
        load_tokenizer=lambda: tokenizer,
        find_folder=lambda: folder,
        teacher=lambda: teacher().load(task, space),
        calibration=lambda reads, count: _batches(count, calibration, reads),
        texts=texts,
        trust_remote_code=trust_remote_code,
    )
    torch.manual_seed(seed)
    model = student.make(context)
    task.agree_on_padding(model, tokenizer, key=f"student = {type(model).__name__}")
    check_positions(model, task.max_length, owner="the student")
    student.initialize(model, context)
    return model, tokenizer


def _batches(
    count: int, calibration: Callable[[], TokenTable], tokenizer: Any
) -> Iterator[dict[str, Any]]:
    """The calibration examples one by one: without padding, every token is a real one."""
    examples = calibration()
    collate = collator(examples, tokenizer, torch.device("cpu"))
    count = min(count, len(examples))
    for index in np.linspace(0, len(examples) - 1, count).astype(int):
        yield dict(collate(np.array([index])).inputs)


def train_student(
    model: Any,
    tokenizer: Any,
    job: TrainingJob,
    *,
    out: Path,
    label: str,
    start_counts: bool = False,
    adapter: AdapterWork | None = None,
) -> dict[str, Any]:
    """Train a student by a `TrainingJob` and save it under `out`.

    With `start_counts` it stays as it comes where nothing better is found. With an `adapter` its
    weights stay, and what was trained beside them is merged into them at the end.
    """
    finish = adapter.put_into(model, job.task, out, label) if adapter else None
    return learn(
        model, tokenizer, job, out=out, label=label, start_counts=start_counts, finish=finish
    )


def keep_untrained(model: Any, tokenizer: Any, task: Task, *, out: Path) -> dict[str, Any]:
    """Save a student as it is before training under `out`."""
    task.save(model, tokenizer, out / MODEL)
    return {
        "parameters": model.num_parameters(),
        "weights_sha256": file_sha256(out / MODEL / "model.safetensors"),
    }
