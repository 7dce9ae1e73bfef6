"""Stage: a pretrained body and labelled text -> a fitted teacher."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from distillkit.engine.schedules import Linear
from distillkit.engine.settings import TrainSettings
from distillkit.examples import TokenTable
from distillkit.losses import HardLabelLoss
from distillkit.records import LabelSpace
from distillkit.stages.learning import Recipe, learn
from distillkit.tasks import Loaded, SavedModel, Task
from distillkit.teachers import LocalTeacher


@dataclass(frozen=True, slots=True)
class TeacherModel:
    """A teacher that is ready to be asked; `origin` is what a target store remembers of it."""

    saved: SavedModel
    origin: dict[str, Any]

    def load(self, task: Task, space: LabelSpace) -> Loaded:
        """The model in eval mode, its tokenizer, where the data's labels stand in its output."""
        return task.load(self.saved, space)

    def place(self, task: Task, space: LabelSpace) -> Loaded:
        """The same, on the device that is computed on, if it may be moved."""
        loaded = self.load(task, space)
        if self.may_move:
            loaded.model.to(Accelerator().device)
        return loaded

    @property
    def may_move(self) -> bool:
        """Whether the model may be moved to a device: one that was placed or quantised may not."""
        options = self.saved.options or {}
        return not (options.get("device_map") or options.get("quantization"))


def fitted_inputs(
    teacher: LocalTeacher, task: Task, *, body: str, labelled: str, seed: int
) -> dict[str, Any]:
    """What decides a fitted teacher: its body, the labelled text, and how it is fitted."""
    how = ("epochs", "batch_size", "lr", "weight_decay", "warmup")
    return {
        "version": 2,
        "body": body,
        "data": labelled,
        "task": type(task).__name__,
        **task.feature_inputs(held_out=False),
        **task.scoring,
        "seed": seed,
        **{name: getattr(teacher, name) for name in how},
    }


def ready_inputs(teacher: LocalTeacher, *, source: str) -> dict[str, Any]:
    """What decides a ready teacher's answers: its files, and how its outputs are named."""
    return {"version": 1, "ready": source, "labels": teacher.labels}


def fit_teacher(
    teacher: LocalTeacher,
    task: Task,
    space: LabelSpace,
    examples: TokenTable,
    validation: TokenTable,
    *,
    folder: str,
    seed: int,
    checkpoint_seconds: float,
    trust_remote_code: bool,
    out: Path,
) -> dict[str, Any]:
    """Fine-tune the body in `folder` on hard labels; save the best by validation under `out`."""
    torch.manual_seed(seed)  # the new head
    model = task.load_body(folder, space, key=teacher.key, trust_remote_code=trust_remote_code)
    tokenizer = task.load_tokenizer(folder, key=teacher.key, trust_remote_code=trust_remote_code)
    task.agree_on_padding(model, tokenizer, key=f"{teacher.key} = {folder}")
    steps_per_epoch = -(-len(examples) // teacher.batch_size)
    recipe = Recipe(
        task=task,
        loss=HardLabelLoss(),
        examples=examples,
        validation=validation,
        store=None,
        make_optimizer=partial(
            torch.optim.AdamW, lr=teacher.lr, weight_decay=teacher.weight_decay, fused=True
        ),
        schedule=Linear(warmup=teacher.warmup),
        settings=TrainSettings(
            epochs=teacher.epochs,
            batch_size=teacher.batch_size,
            precision="auto",
            eval_every=max(1, steps_per_epoch // 2),
            checkpoint_seconds=checkpoint_seconds,
        ),
        seed=seed,
        batch_key="teacher.batch_size",
        labels=space,
    )
    return learn(model, tokenizer, recipe, out=out, label="teacher")
