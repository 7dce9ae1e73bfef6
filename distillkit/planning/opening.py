"""One screen before the first step of `distillkit train`: what will be done, and how long it takes.

It is made of what the run makes anyway (text, tokens, the models' configs) and a short probe of the
machine.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from distillkit.console.progress import plan_stages, rank, say, several, warn, working
from distillkit.console.wording import brief
from distillkit.errors import DistillkitError
from distillkit.pipeline import summary
from distillkit.pipeline.run import Run
from distillkit.planning import artifact_status
from distillkit.planning.cost_model import Job, time_of
from distillkit.planning.estimator import CostEstimator
from distillkit.planning.tables import RunPlan
from distillkit.reporting.report import how_much_smaller

TO_MAKE = (artifact_status.MISSING, artifact_status.BEGUN)
PROBE_SECONDS = 0.1  # a rate; `plan` takes longer
MOST_COUNTED = 2_000_000  # rows, above which classes are not counted


def show(phases: Sequence[Run], name: str) -> None:
    """Print what the run, or each of its phases, will do; the first process speaks."""
    if rank():
        return
    run = phases[-1]
    if all(artifact_status.is_made(phase, evaluated=phase is run) for phase in phases):
        say(f"{name}: all is there already, in {run.context.workspace.root}")
        return
    plans: list[RunPlan | None] = []
    with working("looking at what is to be done"):
        for phase in phases:
            earlier = {artifact.detail for plan in plans if plan for artifact in plan.artifacts}
            plans.append(_plan(phase, is_last=phase is run, earlier=earlier))
        rows = [("data", _data(run)), *_classes(run)]
    artifacts = [artifact for plan in plans if plan for artifact in plan.artifacts]
    plan_stages(it.detail for it in artifacts if it.state in TO_MAKE)
    rows += [(part, _with_size(part, text, plans[-1])) for part, text in _models(run)]
    for phase, plan in zip(phases, plans, strict=True):
        context = phase.context
        label = context.phase or "training"
        rows.append((label, f"{_steps(plan)}{summary.settings(context.cfg.loss)}"))
        rows.append(("", f"{summary.parts(context)['optimizer']}"))
    rows.append(("expected", _expected(plans)))
    width = max(len(label) for label, _ in rows)
    say("\n".join([f"{name}:", *(f"  {label:<{width}}  {text}" for label, text in rows if text)]))
    for plan in plans:
        for problem in plan.problems() if plan else ():
            warn(f"may not fit: {problem}")


def _plan(run: Run, *, is_last: bool, earlier: Collection[str]) -> RunPlan | None:
    """The plan of a training; None where it cannot be told, which does not keep the run back.

    Of several processes none is told: the estimate is of one, and asking for its device would wait
    for the others.
    """
    if several():
        return None
    try:
        return CostEstimator(
            run,
            hardware=None,
            probe_seconds=PROBE_SECONDS,
            tells=False,
            is_last=is_last,
            earlier=earlier,
        ).plan()
    except DistillkitError:
        raise
    except Exception as error:  # a model that another's code describes; the run itself will say
        say(f"the time cannot be told before ({type(error).__name__}: {brief(error)})")
        return None


def _data(run: Run) -> str:
    counts = dict(run.text.labelled.facts()["counts"])
    if run.text.transfer:
        counts |= run.text.transfer.facts()["counts"]
    counts_text = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    return f"{counts_text} {run.context.data.rows}; {summary.sources(run.context)}"


def _classes(run: Run) -> list[tuple[str, str]]:
    """The labels of the training text with how often each stands there."""
    text = run.text
    names = text.corpus.labels.names
    is_sequence = run.context.task.family == "sequence"
    if not is_sequence or text.labelled.facts()["counts"]["train"] > MOST_COUNTED:
        return []
    labels = text.corpus.split("train").labels
    if labels is None or not len(labels):
        return []
    values = np.asarray(labels)
    if not names:
        span = f"{values.min():g} to {values.max():g}, mean {values.mean():.4g}"
        return [("label", span)] if np.issubdtype(values.dtype, np.floating) else []
    if values.ndim == 2:
        numbers = values.sum(axis=0)
    else:
        numbers = np.bincount(values[values >= 0].astype(np.int64), minlength=len(names))
    if len(numbers) != len(names):
        return []
    counted = summary.counts(names, map(int, numbers))
    return [("classes", f"{len(names):,} in training: {counted}")]


def _models(run: Run) -> list[tuple[str, str]]:
    parts = summary.parts(run.context)
    names = ("teacher", "targets", "student")
    rows = [(name, parts[name]) for name in names if parts[name] != "none"]
    if run.students.control:
        rows.append(
            ("control", "the same student on the hard labels alone; control=false skips it")
        )
    return rows


def _job(plan: RunPlan | None, name: str) -> Job | None:
    jobs = plan.jobs if plan else ()
    return next((job for job in jobs if job.name == name), None)


def _with_size(part: str, text: str, plan: RunPlan | None) -> str:
    if part == "targets" and plan and plan.store:
        return f"{text}; {plan.size_of_store}"
    teacher, student = _job(plan, "teacher"), _job(plan, "student")
    teacher = teacher or _job(plan, "targets") or _job(plan, "teacher in the loop")
    if part == "teacher" and teacher and teacher.shape:
        return f"{text}; {teacher.shape.parameters:,} parameters"
    if part == "student" and student and student.shape:
        size = f"{student.shape.parameters:,} parameters"
        if teacher and teacher.shape:
            size += f", {how_much_smaller(teacher.shape.parameters / student.shape.parameters)}"
        return f"{text}; {size}"
    return text


def _steps(plan: RunPlan | None) -> str:
    job = _job(plan, "student")
    return f"{job.label} of " if job else ""


def _expected(plans: Sequence[RunPlan | None]) -> str:
    """The time of what is to be made, and of each part of it."""
    if several():
        return "cannot be told of several processes; `distillkit plan` tells it of one"
    spent: dict[str, float] = {}
    for plan in plans:
        for job in plan.jobs if plan else ():
            if job.seconds is None:
                return "cannot be told"
            if not job.is_done:
                spent[job.name] = spent.get(job.name, 0.0) + job.seconds
    if not spent or None in plans:
        return "cannot be told"
    times = ", ".join(f"{name} {time_of(n)}" for name, n in spent.items() if n >= 1)
    place: Any = plans[-1].place if plans[-1] else ""
    total = sum(spent.values())
    text = f"{'about ' if total >= 1 else ''}{time_of(total)} of computing on {place}"
    return f"{text} ({times})" if times else text
