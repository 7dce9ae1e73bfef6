"""Whether a teacher is worth learning from: held against the commonest label, and a control.

The control is trained first for it: it needs no soft targets, and the run makes it anyway.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.console.progress import rank, say
from distillkit.console.wording import listed
from distillkit.errors import TrainingError
from distillkit.metrics.titles import title
from distillkit.models.precision import Precision
from distillkit.models.saved import SavedMembers, SavedModel
from distillkit.pipeline.obtain import obtain
from distillkit.pipeline.run import Run
from distillkit.stages import worth
from distillkit.stages.worth import Answers, Worth
from distillkit.tasks import HeldOut, SequenceTask
from distillkit.training.learning import MODEL
from distillkit.types import LabelSpace


def check_teacher(run: Run, last: Run | None = None) -> None:
    """Say, or raise `TrainingError`, where the teacher is no better than a model that needs none.

    `last` is the run's last phase, which has the control; None: no control is made or looked for.
    """
    context = run.context
    looks = context.teacher.check != "off" and bool(context.loss.needs_soft_targets)
    if not looks or context.task.family != "sequence":
        return
    if not run.teachers.is_there() and _has_targets(run):
        return  # its targets are there, and it is not
    fault = against_commonest(run)
    if fault is not None:
        _tell(run, fault)
        return
    variant = last.students.control if last else None
    if last is None or variant is None or not _same_labels(run, last):
        return
    control = last.students.obtain(variant) if "control" in last.context.makes else None
    control = control or last.students.find(variant)
    if control is not None:
        fault = against_control(run, control)
        if fault is not None:
            _tell(run, fault)


def _same_labels(run: Run, last: Run) -> bool:
    """Whether a phase and the last one learn the same labels of the same texts."""
    same_task = type(run.context.task) is type(last.context.task)
    return same_task and run.text.labelled.fingerprint == last.text.labelled.fingerprint


def _has_targets(run: Run) -> bool:
    """Whether the target store is there."""
    context, store = run.context, run.target_store
    if not context.stores_targets:
        return False
    return bool(
        context.given_store or context.workspace.find("targets", store.fingerprint_fields())
    )


def against_commonest(run: Run) -> str | None:
    """The fault of a teacher that tells no more than the labels' frequencies, or None."""
    task, teacher, held_out = _task(run), _teacher_answers(run), _held_out(run)
    baseline = worth.commonest(task, held_out)
    table = held_out.table
    if baseline is None or not teacher.has_positions_of(table.keys, table.word_index):
        return None
    result = worth.compare(task, teacher.logits, baseline, held_out)
    if not result.is_no_better or worth.informs(task, teacher.logits, baseline, held_out):
        return None
    if task.distribution == "real":
        return f"{_figures(result, 'always saying the mean')}; its values are no nearer than that"
    name = _always_named(task, baseline, run.text.corpus.labels)
    return f"{_figures(result, name)}; it has learnt nothing that a student could learn from it"


def _always_named(task: SequenceTask, constant: np.ndarray, labels: LabelSpace) -> str:
    """What the best answer [positions, classes] that reads no text is, in words."""
    if task.distribution != "bernoulli":
        return "always naming the commonest label"
    holds = [labels.names[i] for i in np.flatnonzero(task.predicted(constant[:1])[0])]
    return (
        f"always naming the same labels ({listed(holds, limit=4)})" if holds else "naming no label"
    )


def against_control(run: Run, control: Artifact) -> str | None:
    """The fault of a teacher that is behind the control beyond chance, or None."""
    teacher, held_out = _teacher_answers(run), _held_out(run)
    saved = SavedModel(str(control.path / MODEL), "student", None, run.context.trust_remote_code)
    control_answers = _answers(run, saved, control.fingerprint, run.context.trainer.precision)
    if not teacher.has_positions_of(control_answers.keys, control_answers.words):
        if not rank():
            say(
                "teacher: not held against the control, whose tokenizer keeps other words than "
                "the teacher's"
            )
        return None
    result = worth.compare(_task(run), teacher.logits, control_answers.logits, held_out)
    name = "the same student on hard labels alone (the control)"
    if result.is_worse:
        return f"{_figures(result, name)}; a student would learn worse from it than without"
    if result.is_no_better and not rank():
        say(f"teacher: {_figures(result, name)}, within chance; expect little of the distillation")
    return None


def _figures(result: Worth, label: str) -> str:
    sign = -1 if result.metric == "squared error" else 1
    own, baseline = (_short(sign * value) for value in (result.teacher, result.baseline))
    name = title(result.metric)
    examples = f"{result.examples:,} validation examples"
    return f"on {examples} its {name} is {own}, that of {label} {baseline}"


def _short(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1000 or not math.isfinite(value) else f"{value:.4g}"


def _tell(run: Run, message: str) -> None:
    """Say a teacher's fault and the ways out, or raise `TrainingError`, as `teacher.check` says."""
    teacher = run.context.teacher
    if teacher.is_ready:
        out = "take another (teacher.path=…), or see what its outputs mean (teacher.labels=[…])"
    else:
        out = (
            "fit it longer (teacher.epochs and teacher.min_epochs), at another rate "
            "(teacher.lr), or take another body (teacher.body=…)"
        )
        if teacher.head == "random":
            out = f"start its head from a probe of its body (teacher.head=probe), {out}"
    if teacher.check == "warn":
        if not rank():
            say(f"teacher: {message}; {out}")
        return
    raise TrainingError(
        f"teacher: {message}. {out[0].upper()}{out[1:]}; teacher.check=warn goes on all the same. "
        "What was made so far is kept"
    )


def _task(run: Run) -> SequenceTask:
    task = run.context.task
    assert isinstance(task, SequenceTask)
    return task


def _teacher_answers(run: Run) -> Answers:
    teachers = run.teachers
    digest = fingerprint(teachers.fingerprint_fields())
    return _answers(run, teachers.saved, digest, teachers.precision)


def _answers(run: Run, saved: SavedMembers, digest: str, precision: Precision) -> Answers:
    """A model's outputs on the validation split, from the workspace or made there."""

    def make(out: Path) -> dict[str, Any]:
        split = run.text.corpus.split("validation")
        labels = run.text.corpus.labels
        return worth.answer(saved, _task(run), labels, split, precision=precision, out=out)

    fields = worth.fingerprint_fields(
        digest, _task(run), labelled=run.text.labelled.fingerprint, precision=precision
    )
    return Answers.open(obtain(run.context, "answers", fields, make).path)


def _held_out(run: Run) -> HeldOut:
    first, split, corpus = run.teachers.members[0], "validation", run.text.corpus
    table = run.text.tokens(first.key, first.source, split)
    return HeldOut(table, corpus.labels, corpus.split(split))
