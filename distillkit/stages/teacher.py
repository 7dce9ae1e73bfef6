"""Stage: a pretrained body and labelled text -> a fitted teacher."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from distillkit.artifacts.digests import is_sealed, place_of, sealed
from distillkit.artifacts.parts import NOWHERE, Parts
from distillkit.artifacts.versions import VERSIONS
from distillkit.artifacts.workspace import read_json, write_json
from distillkit.console.progress import clock, rank, say
from distillkit.console.wording import brief
from distillkit.losses import HardLabelLoss
from distillkit.metrics.titles import title
from distillkit.models.precision import Precision
from distillkit.models.saved import Loaded, SavedModel
from distillkit.schedules import LinearLR
from distillkit.tasks import SequenceTask, Task, identity_of
from distillkit.teachers import Teacher
from distillkit.token_table import TokenTable
from distillkit.training.checkpoint import Checkpoints
from distillkit.training.distributed import compute_device
from distillkit.training.job import TrainingJob
from distillkit.training.learning import learn
from distillkit.training.probe import start_head, takes_probe
from distillkit.training.settings import TrainSettings
from distillkit.types import LabelSpace

PROBE = "probe.json"
PRECISION: Precision = "auto"  # of a fit, and of what is told of the fitted teacher


@dataclass(frozen=True, slots=True)
class TeacherModel:
    """A teacher that is ready to be asked; `origin` is what a target store remembers of it."""

    saved: SavedModel
    origin: dict[str, Any]

    def load(self, task: Task, space: LabelSpace) -> Loaded:
        """The model in eval mode, its tokenizer, where the data's labels stand in its output."""
        return self.saved.open(task, space)

    def place(self, task: Task, space: LabelSpace) -> Loaded:
        """The same, on the device that is computed on, if it may be moved."""
        loaded = self.load(task, space)
        if self.may_move:
            loaded.model.to(compute_device())
        return loaded

    @property
    def may_move(self) -> bool:
        """Whether the model may be moved to a device: one that was placed or quantised may not."""
        options = self.saved.options or {}
        return not (options.get("device_map") or options.get("quantization"))


def fitted_fields(
    teacher: Teacher, task: Task, *, body: str, labelled: str, seed: int
) -> dict[str, Any]:
    """What decides a fitted teacher: its body, the labelled text, and how it is fitted."""
    length = ("epochs", "usual_steps", "max_steps", "patience")
    names = ("batch_size", "lr", "weight_decay", "warmup")
    return {
        "version": VERSIONS["teacher"],
        "body": body,
        "data": labelled,
        **identity_of(task),
        **task.feature_fields(held_out=False),
        **task.scoring,
        "seed": seed,
        **{name: getattr(teacher, name) for name in (*length, *names)},
        "min_epochs": teacher.min_epochs if teacher.usual_steps else None,
        "head": _head(teacher, task),
        **teacher.fingerprint_fields(),
    }


def _head(teacher: Teacher, task: Task) -> str:
    """Where a new head comes from; a probe weighs classes as the fit does."""
    if not takes_probe(task):
        return "random"
    weighs = teacher.head == "probe" and task.scoring.get("class_weights")
    return "weighted probe" if weighs else teacher.head


def ready_fields(teacher: Teacher, *, source: str) -> dict[str, Any]:
    """What decides a ready teacher's answers: its files, and how its outputs are named."""
    fields = {"version": 1, "ready": source, "labels": teacher.labels}
    return fields | teacher.fingerprint_fields()


def fit_settings(
    teacher: Teacher, examples: int, *, checkpoint_seconds: float = 30.0
) -> TrainSettings:
    """How long a teacher is fitted on so many examples, and how often it is looked at."""
    steps_per_epoch = -(-examples // teacher.batch_size)
    steps = max(1, round(teacher.epochs * steps_per_epoch))
    if teacher.usual_steps:
        steps = min(steps, max(teacher.usual_steps, round(teacher.min_epochs * steps_per_epoch)))
    steps = min(steps, teacher.max_steps or steps)
    return TrainSettings(
        steps=steps,
        batch_size=teacher.batch_size,
        precision=PRECISION,
        eval_every=max(1, min(steps_per_epoch, steps) // 2),
        patience=teacher.patience,
        checkpoint_seconds=checkpoint_seconds,
    )


def fit_teacher(
    teacher: Teacher,
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
    """Fit the body in `folder` on hard labels; save the best by validation under `out`.

    A head that starts from a linear probe is itself a candidate for the best.
    """
    torch.manual_seed(seed)  # the new head
    model = task.load_body(folder, space, key=teacher.key, trust_remote_code=trust_remote_code)
    tokenizer = task.load_tokenizer(folder, key=teacher.key, trust_remote_code=trust_remote_code)
    task.agree_on_padding(model, tokenizer, key=f"{teacher.key} = {folder}")
    job = TrainingJob(
        task=task,
        loss=HardLabelLoss(),
        examples=examples,
        validation=validation,
        store=None,
        make_optimizer=partial(
            torch.optim.AdamW, lr=teacher.lr, weight_decay=teacher.weight_decay, fused=True
        ),
        schedule=LinearLR(warmup=teacher.warmup),
        settings=fit_settings(teacher, len(examples), checkpoint_seconds=checkpoint_seconds),
        seed=seed,
        batch_key="teacher.batch_size",
        labels=space,
    )
    probe = None
    if teacher.head == "probe" and isinstance(task, SequenceTask) and takes_probe(task):
        probe = _probe(model, tokenizer, task, job, out)
    start = probe is not None
    report = learn(model, tokenizer, job, out=out, label="teacher", start_counts=start)
    if start and report and report["fit"]["best_step"] == 0:
        say("teacher: fine-tuning found nothing better than the probe, which is kept")
    return report | ({"probe": probe} if probe else {})


def _probe(
    model: Any, tokenizer: Any, task: SequenceTask, job: TrainingJob, out: Path
) -> dict[str, Any] | None:
    """Start the head from a linear probe; what became of it, also where a run is taken up again."""
    before = _kept_probe(out)
    if before and Checkpoints(out).newest():
        return before  # the checkpoint has its weights, moved on
    say("teacher: fitting a head to the body's features")
    began = time.monotonic()
    probe = start_head(
        model,
        tokenizer,
        task,
        job.labels,
        job.examples,
        job.validation,
        seed=job.seed,
        device=compute_device(),
        parts=NOWHERE if rank() else Parts(out),
    )
    if probe is None:
        say(
            f"teacher: its head starts from new weights: no linear layer of {type(model).__name__} "
            "gives its outputs"
        )
        if not rank():
            Parts(out).remove()
        return None
    probe["seconds"] = round(time.monotonic() - began, 1)
    say(
        f"teacher: a linear probe on {probe['examples']:,} examples has validation "
        f"{title(task.headline)} {probe['score']:.4f}, in {clock(probe['seconds'])}; fine-tuning "
        "goes on from there"
    )
    if not rank():
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / PROBE, sealed({"probe": probe, "place": place_of(out / PROBE)}))
        Parts(out).remove()
    return probe


def _kept_probe(out: Path) -> dict[str, Any] | None:
    """What a killed run wrote of its probe, if that is whole and this artifact's."""
    path = out / PROBE
    if not path.is_file():
        return None
    try:
        record = read_json(path)
        if is_sealed(record) and record.get("place") == place_of(path):
            return dict(record["probe"])
        fault = "altered, or of another artifact"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        fault = f"{type(error).__name__}: {brief(error)}"
    say(f"{path}: damaged: {fault}; the probe is fitted again")
    return None
