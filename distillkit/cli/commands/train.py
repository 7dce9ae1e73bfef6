"""`distillkit train`: teacher -> targets -> student (and control) -> evaluation -> report."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from distillkit.artifacts.workspace import Artifact
from distillkit.console.progress import rank, stdout
from distillkit.pipeline import run_folder as output
from distillkit.pipeline import summary
from distillkit.pipeline.inside import check_inside
from distillkit.pipeline.model_checks import check_shapes
from distillkit.pipeline.phases import roads
from distillkit.pipeline.reading import check_tokenizers
from distillkit.pipeline.road import Road
from distillkit.pipeline.roles import same_text
from distillkit.pipeline.worth import check_teacher
from distillkit.planning import opening
from distillkit.reporting.report import model_card, write_report
from distillkit.training.learning import MODEL, read_metrics

MAKES = ("teacher", "targets", "student", "control", "untrained")


def train(cfg: DictConfig) -> float:
    """Run the whole road; return the student's headline metric."""
    line = roads(cfg, makes=MAKES)
    road = line[-1]
    for phase in line:
        check_shapes(phase)
        check_tokenizers(phase)
        check_inside(phase)
    opening.show(line, str(cfg.run_name))
    for phase in line:
        check_teacher(phase, road)

    for phase in line:
        _cut_student(phase)
    for phase in line:
        _mend_store(phase)
        student = phase.trained(phase.student_role)
    control = road.trained(road.control_role) if road.control_role else None
    evaluation = road.evaluated(road.rows())

    results = evaluation.facts() | {
        "recipe": cfg.run_name,
        "overrides": output.overrides(),
        "run": _run(road, student, control),
        "layer_maps": {k: v for phase in line for k, v in _layer_maps(phase).items()},
        "phases": [_phase(phase) for phase in line if phase.phase],
    }
    if rank() == 0:
        title = f"{cfg.run_name}: {road.teacher.source_name} -> student"
        with output.new_report() as draft:
            _write(cfg, line, results, student, control, title=title, out=draft)
            output.copy_predictions(evaluation.path, draft)
        _show(results, title)
    return float(results["rows"]["student"][results["headline"]])


def _cut_student(road: Road) -> None:
    """Cut a student out of its teacher before that is asked: some cannot be cut.

    The evaluation has it anyway, as the student before training.
    """
    role = road.untrained_role
    if role and not road.before and not road.find(role):
        _ = road.teachers[0].model  # fitted, if it is to be, as an artifact of its own
        road.trained(role)


def _mend_store(road: Road) -> None:
    """Make a damaged target store again, though the student that it was for may be there."""
    is_own = road.keeps_targets and not road.given_store
    if is_own and road.workspace.is_damaged("targets", road.store_inputs()):
        _ = road.store


def _run(road: Road, student: Artifact, control: Artifact | None) -> dict[str, Any]:
    """The facts of the run that a reader of the report asks for."""
    facts = student.facts()
    counts = dict(road.labelled.facts()["counts"])
    if road.transfer:
        counts |= road.transfer.facts()["counts"]
    run: dict[str, Any] = {
        "command": summary.command("train"),
        **summary.parts(road),
        "rows": ", ".join(f"{n:,} {name}" for name, n in counts.items()),
        "seed": road.seed,
        "student steps": facts["fit"]["steps"],
        "student training seconds": round(facts["fit"]["seconds"], 1),
        "student weights sha256": facts["weights_sha256"],
    }
    if control:
        learnt = control.facts()
        run["control"] = (
            f"the same student and seed, {_steps_of(learnt['fit'])} over the "
            f"{learnt['examples']:,} labelled examples, hard labels only"
        )
        before = _steps_before(road)
        if before:
            run["control"] += f"; the student had {before:,} steps more, in phases on other text"
    return run


def _steps_of(fit: dict[str, Any]) -> str:
    """How long a model learnt, and whether it ended before its time."""
    taken = fit["steps"]
    planned = fit.get("planned_steps", taken)  # a student made before it was recorded
    if taken >= planned:
        return f"{taken:,} steps"
    return f"{taken:,} of {planned:,} steps (until validation had stalled)"


def _steps_before(road: Road) -> int:
    """The steps of earlier phases that a control does without: those on other text."""
    phase, total = road.before, 0
    counted = [] if road.task.packs else same_text(road)
    while phase is not None:
        if phase not in counted:
            total += int(phase.trained(phase.student_role).facts()["fit"]["steps"])
        phase = phase.before
    return total


def _layer_maps(road: Road) -> dict[str, str]:
    """Which layers a phase compared: term -> drawing."""
    maps = road.trained(road.student_role).facts().get("layer_maps", {})
    return {f"{road.phase}: {term}" if road.phase else term: drawn for term, drawn in maps.items()}


def _phase(road: Road) -> dict[str, Any]:
    """What one phase of several did."""
    fit = road.trained(road.student_role).facts()["fit"]
    return {
        "name": road.phase,
        "starts from": road.before.phase if road.before else "new weights",
        "loss": str(road.cfg.loss["_target_"]).rpartition(".")[2],
        "steps": fit["steps"],
        "seconds": round(fit["seconds"], 1),
        "validation": fit["best_score"],
    }


def _write(
    cfg: DictConfig,
    line: list[Road],
    results: dict[str, Any],
    student: Artifact,
    control: Artifact | None,
    *,
    title: str,
    out: Path,
) -> None:
    """Write the report, and a copy of the student, under `out`."""
    output.write_run(cfg, out)
    metrics = {
        phase.phase: read_metrics(phase.trained(phase.student_role).path) for phase in line[:-1]
    }
    metrics["student"] = read_metrics(student.path)
    if control:
        metrics["control"] = read_metrics(control.path)
    teacher = line[-1].find_teacher()
    output.write_metrics(
        out, metrics | ({"teacher": read_metrics(teacher.path)} if teacher else {})
    )
    write_report(
        results,
        title=title,
        metrics=metrics,
        teacher_validation=teacher.facts()["fit"]["best_score"] if teacher else None,
        out=out,
    )
    card = model_card(results, name=f"{cfg.run_name}-student", recipe=output.recipe())
    output.copy_model(student.path / MODEL, out / "student", card)


def _show(results: dict[str, Any], title: str) -> None:
    """Print the table, and where all of it is."""
    folder = output.run_folder()
    output.show(results, title)
    stdout().print(f"report: {output.relative(folder / 'report.md')}", soft_wrap=True)
    stdout().print(f"student: {output.relative(folder / 'student')}", soft_wrap=True)
