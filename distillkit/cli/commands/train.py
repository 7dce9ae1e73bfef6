"""`distillkit train`: teacher -> targets -> student (and control) -> evaluation -> report."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from distillkit.artifacts.workspace import Artifact, write_json
from distillkit.compression.vocabulary_facts import describe
from distillkit.config.overrides import plain
from distillkit.console.progress import rank, stdout
from distillkit.pipeline import account, run_folder, summary
from distillkit.pipeline.licenses import licenses
from distillkit.pipeline.model_checks import check_models
from distillkit.pipeline.objective import objective
from distillkit.pipeline.phases import runs
from distillkit.pipeline.run import Run
from distillkit.pipeline.worth import check_teacher
from distillkit.planning import opening
from distillkit.prediction.purpose import RECORD, record_of
from distillkit.reporting.model_card import model_card
from distillkit.reporting.run_report import PAGE, write_report
from distillkit.stages.student import ADAPTER
from distillkit.training.learning import MODEL, read_metrics
from distillkit.training.tracking import check_tracker, log_rows, log_scores, tracked

MAKES = ("teacher", "targets", "student", "control", "untrained", "compressed", "quantized")


def train(cfg: DictConfig) -> float | tuple[float, ...]:
    """Make all of a run; return what a sweeper goes by: see `sweep.objective`."""
    check_tracker(cfg.tracker)
    with tracked(cfg.tracker, str(cfg.run_name), run_folder.current(), run_folder.shown()):
        return _train(cfg)


def _train(cfg: DictConfig) -> float | tuple[float, ...]:
    phases = runs(cfg, makes=MAKES)
    run = phases[-1]
    for phase in phases:
        check_models(phase)
    of_sources = licenses([phase.context for phase in phases]) if rank() == 0 else []
    opening.show(phases, str(cfg.run_name))
    for phase in phases:
        check_teacher(phase, run)

    for phase in phases:
        _cut_student(phase)
    for phase in phases:
        _mend_store(phase)
        student = phase.students.obtain(phase.students.student)
    variant = run.students.control
    control = run.students.obtain(variant) if variant else None
    evaluation = run.evaluation.obtain(run.evaluation.rows())

    results = evaluation.facts() | {
        "recipe": cfg.run_name,
        "validation": student.facts()["fit"]["best_score"],
        "overrides": run_folder.overrides(),
        "run": _run(run, student, control),
        "layer_maps": {k: v for phase in phases for k, v in _layer_maps(phase).items()},
        "phases": [_phase(phase) for phase in phases if phase.context.phase],
        "stages": account.stages([phase.context for phase in phases]),
        "targets": account.target_store(run),
        "data": account.data(run),
        "published": account.published(cfg),
        "licenses": of_sources,
    }
    if run.compression.formats:
        results["compression"] = run.compression.facts()
        results["run"] |= _vocabularies(results["compression"])
    if rank() == 0:
        title = f"{cfg.run_name}: {run.context.teacher.source_name} -> student"
        with run_folder.new_report() as draft:
            _write(cfg, phases, results, student, control, title=title, out=draft)
            run_folder.copy_predictions(evaluation.path, draft)
        _show(results, title)
    fit, row = student.facts()["fit"], results["rows"]["student"]
    return objective(cfg, fit, row, command="train")


def _cut_student(run: Run) -> None:
    """Cut a student out of its teacher before that is asked: some cannot be cut.

    The evaluation has it anyway, as the student before training.
    """
    initial = run.students.initial
    if initial and not run.before and not run.students.find(initial):
        _ = run.teachers.members[0].model  # fitted, if it is to be, as an artifact of its own
        run.students.obtain(initial)


def _mend_store(run: Run) -> None:
    """Make a damaged target store again, though the student that it was for may be there."""
    context, store = run.context, run.target_store
    is_own = context.stores_targets and not context.given_store
    if is_own and context.workspace.is_damaged("targets", store.fingerprint_fields()):
        _ = store.folder


def _run(run: Run, student: Artifact, control: Artifact | None) -> dict[str, Any]:
    """The facts of the run that a reader of the report asks for."""
    facts = student.facts()
    counts = dict(run.text.labelled.facts()["counts"])
    if run.text.transfer:
        counts |= run.text.transfer.facts()["counts"]
    labels_text: dict[str, Any] = {
        "command": summary.command("train"),
        **summary.parts(run.context),
        "rows": ", ".join(f"{n:,} {name}" for name, n in counts.items()),
        "seed": run.context.seed,
        "student steps": facts["fit"]["steps"],
        "student training seconds": round(facts["fit"]["seconds"], 1),
        "student weights sha256": facts["weights_sha256"],
    }
    if control:
        learnt = control.facts()
        labels_text["control"] = (
            f"the same student and seed, {_steps_of(learnt['fit'])} over the "
            f"{learnt['examples']:,} labelled examples, hard labels only"
        )
        before = _steps_before(run)
        if before:
            labels_text["control"] += (
                f"; the student had {before:,} steps more, in phases on other text"
            )
    return labels_text


def _vocabularies(compressed: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """What pruning a vocabulary did, of the rows that it was done to."""
    return {
        f"vocabulary of {row}": describe(facts["vocabulary"])
        for row, facts in compressed.items()
        if "vocabulary" in facts
    }


def _steps_of(fit: dict[str, Any]) -> str:
    """How long a model learnt, and whether it ended before its time."""
    steps = fit["steps"]
    planned = fit.get("planned_steps", steps)  # a student made before it was recorded
    if steps >= planned:
        return f"{steps:,} steps"
    return f"{steps:,} of {planned:,} steps (until validation had stalled)"


def _steps_before(run: Run) -> int:
    """The steps of earlier phases that a control does without: those on other text."""
    phase, total = run.students.before, 0
    on_same_text = [] if run.context.task.packs else run.students.earlier_on_same_text()
    while phase is not None:
        if phase not in on_same_text:
            total += int(phase.obtain(phase.student).facts()["fit"]["steps"])
        phase = phase.before
    return total


def _layer_maps(run: Run) -> dict[str, str]:
    """Which layers a phase compared: term -> drawing."""
    phase = run.context.phase
    maps = run.students.obtain(run.students.student).facts().get("layer_maps", {})
    return {f"{phase}: {term}" if phase else term: drawing for term, drawing in maps.items()}


def _phase(run: Run) -> dict[str, Any]:
    """What one phase of several did."""
    fit = run.students.obtain(run.students.student).facts()["fit"]
    return {
        "name": run.context.phase,
        "starts from": run.before.context.phase if run.before else "new weights",
        "loss": str(run.context.cfg.loss["_target_"]).rpartition(".")[2],
        "steps": fit["steps"],
        "seconds": round(fit["seconds"], 1),
        "validation": fit["best_score"],
    }


def _write(
    cfg: DictConfig,
    phases: list[Run],
    results: dict[str, Any],
    student: Artifact,
    control: Artifact | None,
    *,
    title: str,
    out: Path,
) -> None:
    """Write the report, and a copy of the student, under `out`."""
    run_folder.write_run(cfg, out)
    metrics = {
        run.context.phase: read_metrics(run.students.obtain(run.students.student).path)
        for run in phases[:-1]
    }
    metrics["student"] = read_metrics(student.path)
    if control:
        metrics["control"] = read_metrics(control.path)
    teacher = phases[-1].teachers.find()
    every = metrics | ({"teacher": read_metrics(teacher.path)} if teacher else {})
    run_folder.write_metrics(out, every)
    for name, rows in every.items():  # of what was there already nothing is in the tracker yet
        log_rows(name, rows)
    log_scores(results["rows"])
    write_report(
        results,
        title=title,
        metrics=metrics,
        teacher_validation=teacher.facts()["fit"]["best_score"] if teacher else None,
        out=out,
    )
    card = model_card(results, name=f"{cfg.run_name}-student", recipe=run_folder.recipe())
    run_folder.copy_model(student.path / MODEL, out / "student", card)
    if (student.path / ADAPTER).is_dir():
        shutil.copytree(student.path / ADAPTER, out / "student-adapter")
    purpose = record_of(plain(cfg.task), plain(cfg.data))
    for name in ("student", *phases[-1].compression.copy(out, licenses=results["licenses"])):
        write_json(out / name / RECORD, purpose)


def _show(results: dict[str, Any], title: str) -> None:
    """Print the table, and where all of it is."""
    folder = run_folder.current()
    run_folder.show(results, title)
    stdout().print(f"report: {run_folder.relative(folder / PAGE)} (and report.md)", soft_wrap=True)
    for path in sorted(folder.glob("student*")):
        stdout().print(f"{path.name}: {run_folder.relative(path)}", soft_wrap=True)
